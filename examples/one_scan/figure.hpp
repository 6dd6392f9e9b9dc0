// The drawing: the picture with its marked patch, and beside it each operator's map of influence.
#pragma once

#include "canvas.hpp"
#include "influence.hpp"
#include "lettering.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

namespace one_scan {

/// One map with what is written over and under it.
struct figure_map {
    std::string title;
    std::array<std::string, 2> notes;
    influence_map map;
};

/// A fit of degree 6 (within 6/255) of matplotlib's magma, in which equal steps look equal.
inline colour heat(double t) {
    static constexpr double c[7][3] = {
        {-0.00207, -0.00069, -0.00955},  {0.25049, 0.69446, 2.49529},
        {8.34590, -3.59603, 0.32906},    {-27.66697, 14.25385, -13.64658},
        {52.17068, -27.94458, 12.88109}, {-50.75857, 29.05388, 4.26994},
        {18.66425, -11.49003, -5.57077}};
    t = std::clamp(t, 0.0, 1.0);
    std::array<double, 3> part{};
    for (int power = 6; power >= 0; --power) {
        for (std::size_t k = 0; k < 3; ++k) part[k] = part[k] * t + c[power][k];
    }
    return {part[0], part[1], part[2]};
}

/// A logarithmic scale from a hundredth of an even share to the largest share in any map.
struct log_scale {
    double low, high;
    double operator()(double share) const {
        return share <= low ? 0 : std::log(share / low) / std::log(high / low);
    }
};

inline log_scale common_scale(std::vector<figure_map> const& maps, patch_grid const& grid) {
    double highest = 0;
    for (auto const& m : maps) {
        double const block = *std::max_element(m.map.share.begin(), m.map.share.end());
        highest = std::max(highest, block / (m.map.side * m.map.side));
    }
    double const low = 0.01 / grid.tokens();
    return {low, std::max(highest, 10 * low)};
}

/// The colours used on the sheet.
namespace ink {
inline constexpr colour paper{1, 1, 1}, text{0.13, 0.13, 0.16}, note{0.36, 0.36, 0.42},
    mark{0.25, 0.95, 1}, dark{0, 0, 0};
}

/// The mean colour of a square of the picture `step` pixels wide, between pixels where it is small.
inline colour sample(picture const& image, double x, double y, double step) {
    int const points = std::clamp(static_cast<int>(std::ceil(step)) + 1, 2, 12);
    std::array<double, 3> sum{};
    for (int n = 0; n < points * points; ++n) {
        double const sx = x + step * (n % points + 0.5) / points - 0.5,
                     sy = y + step * (n / points + 0.5) / points - 0.5;
        int const x0 = static_cast<int>(std::floor(sx)), y0 = static_cast<int>(std::floor(sy));
        for (int corner = 0; corner < 4; ++corner) {
            int const right = corner % 2, below = corner / 2;
            double const weight = (right ? sx - x0 : 1 - sx + x0) * (below ? sy - y0 : 1 - sy + y0);
            int const cx = std::clamp(x0 + right, 0, image.width - 1),
                      cy = std::clamp(y0 + below, 0, image.height - 1);
            for (int k = 0; k < 3; ++k)
                sum[static_cast<std::size_t>(k)] += weight * image.at(cy, cx, k);
        }
    }
    double const scale = 1 / (255.0 * points * points);
    return {sum[0] * scale, sum[1] * scale, sum[2] * scale};
}

inline void draw_picture(canvas& sheet, picture const& image, patch_grid const& grid, box panel) {
    double const step = static_cast<double>(grid.cols * grid.patch) / panel.width;
    for (int y = 0; y < panel.height; ++y) {
        for (int x = 0; x < panel.width; ++x) {
            sheet.blend(panel.x + x, panel.y + y, sample(image, x * step, y * step, step));
        }
    }
}

inline void draw_map(canvas& sheet, influence_map const& map, patch_grid const& grid,
                     log_scale scale, box panel) {
    double const patches = map.side * map.side;
    for (int y = 0; y < panel.height; ++y) {
        for (int x = 0; x < panel.width; ++x) {
            int const row = y * grid.rows / panel.height / map.side,
                      col = x * grid.cols / panel.width / map.side;
            double const share =
                map.share[static_cast<std::size_t>(row * map.cols + col)] / patches;
            sheet.blend(panel.x + x, panel.y + y, heat(scale(share)));
        }
    }
}

/// Lines between the frames of a clip.
inline void draw_cuts(canvas& sheet, patch_grid const& grid, box panel) {
    for (int frame = 1; frame < grid.frames; ++frame) {
        int const y = panel.y + frame * panel.height / grid.frames;
        sheet.fill({panel.x, y - 2, panel.width, 4}, ink::paper);
    }
}

/// A bright frame between two dark ones around the marked patch: seen on any ground.
inline void draw_mark(canvas& sheet, patch_grid const& grid, int reader, box panel) {
    int const row = reader / grid.cols, col = reader % grid.cols;
    int const left = col * panel.width / grid.cols, top = row * panel.height / grid.rows;
    box const patch{panel.x + left - 3, panel.y + top - 3,
                    (col + 1) * panel.width / grid.cols - left + 6,
                    (row + 1) * panel.height / grid.rows - top + 6};
    sheet.frame(patch, 4, ink::dark);
    box const inner{patch.x - 1, patch.y - 1, patch.width + 2, patch.height + 2};
    sheet.frame(inner, 2, ink::mark);
}

/// "10 %", "0.001 %"
inline std::string percent(double share) {
    char text[32];
    std::snprintf(text, sizeof text, "%.*f%%",
                  std::max(0, -2 - static_cast<int>(std::floor(std::log10(share) + 1e-9))),
                  100 * share);
    return text;
}

inline void tick(canvas& sheet, box bar, double place, std::string const& label) {
    double const x = bar.x + place * bar.width;
    sheet.stroke({{{x, bar.bottom() + 0.0}, {x, bar.bottom() + 7.0}}}, 2, ink::note);
    write(sheet, label, {x, bar.bottom() + 14.0}, 15, ink::note, 0.5);
}

/// The colour bar, ticks at powers of ten and one where every patch would have an even share.
inline void draw_scale(canvas& sheet, log_scale scale, patch_grid const& grid, box bar) {
    for (int x = 0; x < bar.width; ++x) {
        sheet.fill({bar.x + x, bar.y, 1, bar.height}, heat((x + 0.5) / bar.width));
    }
    double const even = scale(1.0 / grid.tokens());
    for (int power = -12; power <= 0; ++power) {
        double const share = std::pow(10.0, power), place = scale(share);
        if (share < scale.low || share > scale.high) continue;
        tick(sheet, bar, place, percent(share));
    }
    double const x = bar.x + even * bar.width;
    sheet.stroke({{{x, bar.y - 9.0}, {x, bar.y - 2.0}}}, 2, ink::note);
    write(sheet, "an even share", {std::min(x, bar.right() - 70.0), bar.y - 29.0}, 15, ink::note,
          0.5);
    double const end = bar.x - 24.0;
    write(sheet, "one patch's share of the influence", {end, bar.y + 1.0}, 17, ink::text, 1);
}

/// The first panel, in the middle of its column, in the shape of the grid.
inline box first_panel(patch_grid const& grid, int margin, int column) {
    int const longest = std::max(grid.rows_of_frame(), grid.cols);
    double const cell =
        longest <= column ? column / longest : static_cast<double>(column) / longest;
    int const width = std::max(1, static_cast<int>(cell * grid.cols));
    int const height = std::max(1, static_cast<int>(cell * grid.rows));
    return {margin + (column - width) / 2, 142, width, height};
}

/// The title above a panel and up to two lines below it.
inline void write_notes(canvas& sheet, box panel, std::string const& title,
                        std::array<std::string, 2> const& notes) {
    double const middle = panel.x + panel.width / 2.0;
    write(sheet, title, {middle, panel.y - 38.0}, 22, ink::text, 0.5);
    for (std::size_t n = 0; n < notes.size(); ++n) {
        double const y = panel.bottom() + 18.0 + 30.0 * static_cast<double>(n);
        write(sheet, notes[n], {middle, y}, 17, ink::note, 0.5);
    }
}

inline picture draw_figure(picture const& image, patch_grid const& grid, int reader,
                           std::vector<figure_map> const& maps) {
    constexpr int margin = 40, gap = 32, column = 384;
    auto panel = first_panel(grid, margin, column);
    int const width = 2 * margin + column + static_cast<int>(maps.size()) * (column + gap);
    canvas sheet(width, panel.bottom() + 192, ink::paper);
    write(sheet, "How strongly each patch influences the output at the marked patch",
          {width / 2.0, 36}, 28, ink::text, 0.5);

    draw_picture(sheet, image, grid, panel);
    draw_cuts(sheet, grid, panel);
    draw_mark(sheet, grid, reader, panel);
    bool const film = grid.rank == 3;
    std::array<std::string, 2> const notes{extents_text(grid) + " patches of " +
                                               std::to_string(grid.patch) + " x " +
                                               std::to_string(grid.patch) + " pixels",
                                           film ? "frames from top to bottom" : ""};
    write_notes(sheet, panel, film ? "the clip" : "the picture", notes);

    auto const scale = common_scale(maps, grid);
    for (auto const& m : maps) {
        panel.x += column + gap;
        draw_map(sheet, m.map, grid, scale, panel);
        draw_cuts(sheet, grid, panel);
        draw_mark(sheet, grid, reader, panel);
        write_notes(sheet, panel, m.title, m.notes);
    }
    int const left = margin + column + gap;
    draw_scale(sheet, scale, grid, {left, panel.bottom() + 130, width - margin - left, 18});
    return sheet.finished();
}

}  // namespace one_scan
