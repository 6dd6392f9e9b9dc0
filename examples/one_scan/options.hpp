// The command line: what may be said on it, and a sentence for what may not.
#pragma once

#include <algorithm>
#include <charconv>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace one_scan {

/// The command line makes no sense; the message is the whole sentence to show.
struct usage_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct options {
    std::vector<std::string> pictures;  // none: the astronaut beside this source
    std::string out = "one_scan.png";
    std::optional<int> patch;                 // pixels a side; none: the grid comes near 64 x 64
    std::optional<std::pair<int, int>> mark;  // row and column on the grid of patches
    std::optional<int> threads;               // none: all the machine has
    int rank = 2;                             // 3: a clip
    std::optional<int> frames;                // of a clip that is made from one picture
    bool help = false;
};

inline constexpr std::string_view help_text = R"(usage: one_scan [PICTURE] [options]
       one_scan --rank 3 [PICTURE...] [options]

Turns a picture (PNG, JPEG or PPM; the default is a portrait of an astronaut) into a grid of patch
tokens and mixes them: by LightNet's single additive scan, by the same with positions, by one
causal scan of a vector-decay operator, and by the four scans that such an operator needs to see a
picture from every side. Prints what each costs and how far it is from its quadratic definition,
and draws how strongly each patch influences the output at a marked patch.

With --rank 3 the tokens stand on a grid of frames, rows and columns: several pictures of one size
are the frames of a clip; from one a clip is made by a camera that moves over it from corner to
corner. The additive scan is still one, and the others miss as much as before.

options
  --rank N         2, a picture (the default), or 3, a clip
  --frames N       how many frames are made from one picture (default: 4)
  --patch N        patches of N x N pixels (default: the smallest N from 4 on that gives at most
                   4096 patches)
  --mark ROW,COL   the patch whose output is looked at, counted from 0 on the grid of patches, of a
                   clip in its middle frame (default: a little above and left of the middle)
  --out FILE       where the drawing goes (default: one_scan.png)
  --threads N      threads to use (default: all of the machine's)
  --help           this page

From picture to tokens, with nothing learned: each patch becomes its luminance and two colour
differences; an orthonormal cosine transform turns each of these into at most 4 x 4 coefficients;
every coefficient is centred and scaled by its spread over the picture, fine ones weighing less.
Four heads then project the coefficients with seeded random orthogonal matrices. Channel d of a
head asks 'how much of pattern d is in this patch?' (answer p_d), and 32 channels make
    queries and keys      q = k = exp(2 p), scaled to length 1, so that q.k is likeness
    additive logits       z = 3 p: a patch that shows pattern d clearly weighs more in channel d
    vector log decays     g = logsigmoid(x) / 16, x another projection, as GLA has it
    values                v, a projection of its own
All operators share q and v. The vector-decay operator reads k and g, LightNet reads z alone: its
keys are ones.

Positions: MD-LRPE turns queries and keys by their row and their column (and frame), so that channel
d of a pair of patches weighs cos(distance theta_d), theta_d from 1 to about 1 over the patches of a
side; MD-TPE spreads every value along its row and its column (and through the frames),
0.5 exp(-0.7 distance) each, in element-wise sweeps that are part of the time shown. Without
positions the additive scan takes the patches for a bag: shuffled, they would weigh the same.

exit codes: 0 done, 1 the picture cannot be used or an operator is not what its definition says,
2 the command line makes no sense
)";

inline int parse_number(std::string_view text, std::string_view option, int lowest, int highest) {
    int number = 0;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    bool const whole = error == std::errc{} && end == text.data() + text.size();
    if (!whole || number < lowest || number > highest) {
        throw usage_error(std::string(option) + " takes a whole number from " +
                          std::to_string(lowest) + " to " + std::to_string(highest) + ", not '" +
                          std::string(text) + "'");
    }
    return number;
}

inline std::pair<int, int> parse_mark(std::string_view text) {
    auto const comma = text.find(',');
    if (comma == std::string_view::npos) {
        throw usage_error("--mark takes ROW,COL, two whole numbers such as 29,30, not '" +
                          std::string(text) + "'");
    }
    constexpr int last = 1 << 20;
    return {parse_number(text.substr(0, comma), "the row of --mark", 0, last),
            parse_number(text.substr(comma + 1), "the column of --mark", 0, last)};
}

inline void parse_option(options& result, std::string_view name, std::string_view value) {
    if (name == "--patch") {
        result.patch = parse_number(value, name, 1, 4096);
    } else if (name == "--mark") {
        result.mark = parse_mark(value);
    } else if (name == "--rank") {
        result.rank = parse_number(value, name, 2, 3);
    } else if (name == "--frames") {
        result.frames = parse_number(value, name, 1, 64);
    } else if (name == "--threads") {
        result.threads = parse_number(value, name, 1, 1024);
    } else {
        if (value.empty()) throw usage_error("--out takes the name of a file");
        result.out = value;
    }
}

/// Refuses what makes no sense together.
inline void check_together(options const& all) {
    if (all.rank == 2 && all.pictures.size() > 1) {
        throw usage_error("one picture is read, '" + all.pictures[1] +
                          "' is one too many without --rank 3");
    }
    if (all.rank == 2 && all.frames) throw usage_error("--frames goes with --rank 3");
    if (all.frames && all.pictures.size() > 1) {
        throw usage_error("--frames makes a clip of one picture, here are " +
                          std::to_string(all.pictures.size()));
    }
}

/// `--name value` and `--name=value` both work; arguments without dashes are pictures.
inline options parse_options(std::vector<std::string_view> const& arguments) {
    constexpr std::string_view with_value[] = {"--patch", "--mark",   "--out",
                                               "--rank",  "--frames", "--threads"};
    options result;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        auto const word = arguments[i];
        if (word == "--help" || word == "-h") {
            result.help = true;
            return result;
        }
        if (word.empty() || word[0] != '-') {
            if (word.empty()) throw usage_error("a picture is the name of a file");
            result.pictures.emplace_back(word);
            continue;
        }
        auto const equals = word.find('=');
        auto const name = word.substr(0, equals);
        if (std::find(std::begin(with_value), std::end(with_value), name) == std::end(with_value)) {
            throw usage_error("there is no option '" + std::string(name) + "'");
        }
        if (equals != std::string_view::npos) {
            parse_option(result, name, word.substr(equals + 1));
        } else if (i + 1 < arguments.size()) {
            parse_option(result, name, arguments[++i]);
        } else {
            throw usage_error(std::string(name) + " takes a value");
        }
    }
    check_together(result);
    return result;
}

}  // namespace one_scan
