// One scan or four? A picture's patches, mixed by LightNet's single additive scan, without and with
// positions, and by the scans that an operator with multiplicative decay needs. `one_scan --help`
// says what is read and how it becomes tokens.
#include "clip.hpp"
#include "contender.hpp"
#include "definition.hpp"
#include "figure.hpp"
#include "influence.hpp"
#include "measure.hpp"
#include "options.hpp"
#include "patches.hpp"
#include "picture.hpp"
#include "positions.hpp"
#include "tokens.hpp"

#include <rondo/rondo.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace rd = rondo;
using namespace one_scan;

constexpr auto lightnet = rd::attention(rd::decay::additive, rd::bidirectional);
constexpr auto gla = rd::attention(rd::decay::vector, rd::causal);
constexpr auto four_scans = rd::multiscan(gla, rd::path::cross);

/// What the program shows is these operators; the rest of it prepares and draws.
std::vector<contender> make_contenders(tokens const& data, patch_grid const& patches, int threads) {
    auto const place = rd::exec::openmp.threads(threads);
    auto const view = [&](std::vector<float> const& memory) {
        return rd::bthd(memory.data(), 1, data.count, heads, channels);
    };
    auto const q = view(data.q), k = view(data.k), g = view(data.log_decay), z = view(data.logits);
    auto const scale = static_cast<float>(1 / std::sqrt(channels));

    std::vector<contender> result;
    result.push_back({"LightNet: additive decay, one scan",
                      "one additive scan",
                      "LightNet",
                      1,
                      [=](values v, outputs o) {
                          lightnet.forward(place, {q, rd::ones, v, z}, o, {.scale = scale});
                      },
                      {}});
    auto const placed = std::make_shared<positioned_scan>(data, patches, threads);
    result.push_back({"LightNet with MD-TPE and MD-LRPE, one scan",
                      "the same with positions",
                      "TPE and LRPE",
                      1,
                      [=](values v, outputs o) { placed->forward(q, v, o, scale); },
                      {}});
    result.push_back({"vector decay: one causal scan",
                      "one causal scan",
                      "vector decay",
                      1,
                      [=](values v, outputs o) {
                          gla.forward(place, {q, k, v, g}, o, {.scale = scale});
                      },
                      {}});
    result.push_back({"vector decay: four scans (rows, columns; both ways)",
                      "four scans",
                      "vector decay",
                      4,
                      [=](values v, outputs o) {
                          with_grid(patches, [&](auto image) {
                              four_scans.forward(place, image, {q, k, v, g}, o, {.scale = scale});
                          });
                      },
                      {}});
    return result;
}

/// Their definitions, in the same order.
void add_definitions(std::vector<contender>& contenders, tokens const& data,
                     patch_grid const& patches) {
    double const scale = 1 / std::sqrt(channels);
    std::vector<std::vector<double>> normalisers, encoded;
    for (int h = 0; h < heads; ++h) {
        normalisers.push_back(log_normaliser({data, h}));
        encoded.push_back(encoded_values({data, h}, patches));
    }
    contenders[0].define = [=](head_of const& head, int reader, double* out) {
        define_additive(head, normalisers[static_cast<std::size_t>(head.head)], reader, scale, out);
    };
    std::vector<std::vector<int>> const paths = {
        walk(patches, false, false), walk(patches, false, true), walk(patches, true, false),
        walk(patches, true, true)};
    auto const theta = lrpe_theta(patches);
    contenders[1].define = [=](head_of const& head, int reader, double* out) {
        auto const h = static_cast<std::size_t>(head.head);
        define_positioned(head, normalisers[h], encoded[h], patches, theta, reader, scale, out);
    };
    contenders[2].define = [=](head_of const& head, int reader, double* out) {
        define_decay(head, paths[0], reader, scale, out);
    };
    contenders[3].define = [=](head_of const& head, int reader, double* out) {
        for (auto const& path : paths) define_decay(head, path, reader, scale, out);
    };
}

/// The patch size asked for, or the smallest from 4 on that leaves at most 64 x 64 patches.
patch_grid choose_grid(clip const& film, options const& wanted) {
    picture const& frame = film.frames.front();
    int const side = std::min(frame.width, frame.height);
    if (wanted.patch && *wanted.patch > side) {
        throw usage_error("a patch of " + std::to_string(*wanted.patch) +
                          " pixels does not fit a picture of " + std::to_string(frame.width) +
                          " x " + std::to_string(frame.height));
    }
    int patch = wanted.patch.value_or(std::min(4, side));
    auto grid = lay_grid(film, patch);
    bool const free_to_choose = !wanted.patch;
    while (free_to_choose && patch < side && grid.tokens() > 64 * 64) {
        grid = lay_grid(film, ++patch);
    }
    constexpr int most = 1 << 16;
    if (grid.tokens() > most) {
        throw usage_error("there are " + std::to_string(grid.tokens()) +
                          " patches of this size, at most " + std::to_string(most) +
                          " are taken: choose a larger --patch");
    }
    return grid;
}

/// In a clip a patch of the middle frame.
int choose_mark(patch_grid const& grid, options const& wanted) {
    int const rows = grid.rows_of_frame();
    auto const [row, col] = wanted.mark.value_or(std::pair(rows * 29 / 64, grid.cols * 30 / 64));
    if (row >= rows || col >= grid.cols) {
        throw usage_error("--mark " + std::to_string(row) + "," + std::to_string(col) +
                          " lies outside the grid of " + std::to_string(rows) + " x " +
                          std::to_string(grid.cols) + " patches");
    }
    return (grid.frames / 2 * rows + row) * grid.cols + col;
}

std::string default_picture() {
    auto const beside = std::filesystem::path(__FILE__).parent_path() / "astronaut.png";
    return std::filesystem::exists(beside) ? beside.string() : "examples/one_scan/astronaut.png";
}

/// The picture, or the clip that several are or that is made of one.
clip load(options const& wanted, std::vector<std::string> const& paths) {
    std::vector<picture> pictures;
    for (auto const& path : paths) pictures.push_back(load_picture(path));
    if (wanted.rank == 2) return {std::move(pictures), 2};
    if (pictures.size() > 1) return stack(std::move(pictures), paths);
    return move_over(pictures.front(), wanted.frames.value_or(4));
}

figure_map caption(contender const& it, double seconds, influence_map map, int reached) {
    char cost[80], heard[80];
    std::snprintf(cost, sizeof cost, "%s, %d scan%s, %.1f ms", it.note.c_str(), it.scans,
                  it.scans == 1 ? "" : "s", 1e3 * seconds);
    std::snprintf(heard, sizeof heard, "90%% comes from %d patch%s", reached,
                  reached == 1 ? "" : "es");
    return {it.title, {cost, heard}, std::move(map)};
}

void print_notes(int count, int readers) {
    std::puts(
        "\nratio: time over that of the single scan. error: largest difference from the\n"
        "definition, as a share of its largest value. reach: how many patches carry 90% of the\n"
        "influence on the marked one.");
    if (readers < count) {
        std::printf(
            "The definition (double, one thread) was evaluated for %d of %d readers, chosen at\n"
            "random; its times, marked ~, are scaled up from these.\n",
            readers, count);
    }
}

/// Compares every operator with its definition, prints the table, and returns the maps to draw.
std::vector<figure_map> compare_all(std::vector<contender> const& contenders, tokens const& data,
                                    patch_grid const& grid, int marked) {
    int const affordable = std::max(1, 64 * 4096 / std::max(64, data.count));
    auto const readers = choose_readers(data.count, affordable);
    auto const seconds = time_all(contenders, data);
    std::vector<table_row> rows, definitions;
    std::vector<figure_map> maps;
    for (std::size_t n = 0; n < contenders.size(); ++n) {
        auto const& it = contenders[n];
        auto const agreed = hold_against_definition(it, data, readers);
        if (!(agreed.error < 1e-4)) {
            throw std::runtime_error(it.name + " is not what its definition says");
        }
        auto map = influence(it.run, grid, marked);
        int const reached = reach(map, grid);
        rows.push_back({it.name, it.scans, seconds[n], agreed.error, reached});
        definitions.push_back({"the definition of: " + it.title, 0, agreed.seconds, 0, 0});
        maps.push_back(caption(it, seconds[n], std::move(map), reached));
    }
    rows.insert(rows.end(), definitions.begin(), definitions.end());
    print_table(rows, data.count);
    print_notes(data.count, static_cast<int>(readers.size()));
    return maps;
}

void run(options const& wanted) {
    auto const paths = wanted.pictures.empty() ? std::vector{default_picture()} : wanted.pictures;
    auto const film = load(wanted, paths);
    auto const grid = choose_grid(film, wanted);
    int const marked = choose_mark(grid, wanted);
    int const available = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    int const threads = wanted.threads.value_or(available);
    picture const& first = film.frames.front();
    auto const name = std::filesystem::path(paths.front()).filename().string();
    std::printf("%s: ", name.c_str());
    if (film.rank == 3) std::printf("%d frames of ", grid.frames);
    std::printf("%d x %d pixels\n", first.width, first.height);
    std::printf("%s patches of %d x %d = %d tokens, %d heads of %d channels, %d thread%s\n\n",
                extents_text(grid).c_str(), grid.patch, grid.patch, grid.tokens(), heads, channels,
                threads, threads == 1 ? "" : "s");

    auto const image = stack_frames(film, grid);
    auto const data = make_tokens(patch_features(image, grid));
    auto contenders = make_contenders(data, grid, threads);
    add_definitions(contenders, data, grid);
    auto maps = compare_all(contenders, data, grid, marked);
    // the table begins with the single scans, the drawing ends with them
    std::rotate(maps.begin(), maps.begin() + 2, maps.end());
    save_png(wanted.out, draw_figure(image, grid, marked, maps));
    std::printf("\nwritten: %s\n", wanted.out.c_str());
}

}  // namespace

int main(int count, char** arguments) {
    try {
        auto const wanted = parse_options({arguments + 1, arguments + count});
        if (wanted.help) {
            std::cout << help_text;
        } else {
            run(wanted);
        }
        return 0;
    } catch (usage_error const& error) {
        std::cerr << "one_scan: " << error.what() << " (one_scan --help shows what there is)\n";
        return 2;
    } catch (std::exception const& error) {
        std::cerr << "one_scan: " << error.what() << "\n";
        return 1;
    }
}
