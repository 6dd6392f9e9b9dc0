// From pixels to one row of numbers a patch: what each patch looks like, with nothing learned.
#pragma once

#include "clip.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

namespace one_scan {

/// The grid of patches laid over a picture; pixels right and below that fill no patch are left out.
/// The frames of a clip stand one under the other, `rows` counts the rows of all of them.
struct patch_grid {
    int rows = 0, cols = 0, patch = 0;
    int frames = 1, rank = 2;
    int tokens() const { return rows * cols; }
    int rows_of_frame() const { return rows / frames; }

    /// Frame, row and column of a token.
    std::array<int, 3> place(int token) const {
        int const row = token / cols;
        return {row / rows_of_frame(), row % rows_of_frame(), token % cols};
    }
    /// Their extents.
    std::array<int, 3> extents() const { return {frames, rows_of_frame(), cols}; }
    /// The first axis that there is: 0 for a clip, 1 for a picture.
    int first_axis() const { return 3 - rank; }
};

/// "4 x 24 x 24" or "64 x 64"
inline std::string extents_text(patch_grid const& grid) {
    std::string text;
    auto const extents = grid.extents();
    for (int axis = grid.first_axis(); axis < 3; ++axis) {
        text += (text.empty() ? "" : " x ") + std::to_string(extents[std::size_t(axis)]);
    }
    return text;
}

/// A table of `rows` tokens by `cols` features.
struct table {
    int rows = 0, cols = 0;
    std::vector<double> values;

    table(int row_count, int col_count)
        : rows(row_count),
          cols(col_count),
          values(static_cast<std::size_t>(row_count) * static_cast<std::size_t>(col_count)) {}
    double* row(int i) { return values.data() + static_cast<std::ptrdiff_t>(i) * cols; }
    double const* row(int i) const { return values.data() + static_cast<std::ptrdiff_t>(i) * cols; }
};

inline patch_grid lay_grid(clip const& film, int patch) {
    picture const& frame = film.frames.front();
    int const frames = static_cast<int>(film.frames.size());
    return {frames * (frame.height / patch), frame.width / patch, patch, frames, film.rank};
}

/// The frames under each other, each cut to whole patches.
inline picture stack_frames(clip const& film, patch_grid const& grid) {
    picture result{grid.cols * grid.patch, grid.rows * grid.patch, {}};
    for (auto const& frame : film.frames) {
        for (int y = 0; y < grid.rows_of_frame() * grid.patch; ++y) {
            auto const row = frame.rgb.begin() + static_cast<std::ptrdiff_t>(y) * frame.width * 3;
            result.rgb.insert(result.rgb.end(), row, row + result.width * 3);
        }
    }
    return result;
}

/// Frequencies kept along each side of a patch: finer ones than these hardly matter to the eye.
inline int kept_frequencies(int patch) { return std::min(patch, 4); }

/// The orthonormal cosine transform: sqrt(2/n) cos(pi (2 i + 1) u / (2 n)), row 0 over sqrt(2).
inline table cosine_basis(int patch) {
    table basis(kept_frequencies(patch), patch);
    for (int u = 0; u < basis.rows; ++u) {
        double const norm = std::sqrt((u == 0 ? 1.0 : 2.0) / patch);
        for (int i = 0; i < patch; ++i) {
            basis.row(u)[i] = norm * std::cos(std::numbers::pi * (2 * i + 1) * u / (2.0 * patch));
        }
    }
    return basis;
}

/// Luminance and two colour differences (ITU-R BT.601), each about 0 to 1.
inline double colour_plane(picture const& image, int y, int x, int plane) {
    double const red = image.at(y, x, 0) / 255, green = image.at(y, x, 1) / 255,
                 blue = image.at(y, x, 2) / 255;
    double const luminance = 0.299 * red + 0.587 * green + 0.114 * blue;
    return plane == 0   ? luminance
           : plane == 1 ? 0.564 * (blue - luminance)
                        : 0.713 * (red - luminance);
}

/// The coefficients of one plane of one patch, transformed along x and then along y.
inline void transform_patch(picture const& image, table const& basis, int top, int left, int plane,
                            double* out) {
    int const kept = basis.rows, patch = basis.cols;
    std::fill(out, out + kept * kept, 0.0);
    for (int y = 0; y < patch; ++y) {
        double along_x[4] = {};
        for (int x = 0; x < patch; ++x) {
            double const value = colour_plane(image, top + y, left + x, plane);
            for (int u = 0; u < kept; ++u) along_x[u] += basis.row(u)[x] * value;
        }
        for (int w = 0; w < kept; ++w) {
            for (int u = 0; u < kept; ++u) out[w * kept + u] += basis.row(w)[y] * along_x[u];
        }
    }
}

/// Centres every column and divides it by its spread: luminance would drown the colours otherwise.
inline void standardise(table& features) {
    for (int f = 0; f < features.cols; ++f) {
        double sum = 0, square = 0;
        for (int i = 0; i < features.rows; ++i) sum += features.row(i)[f];
        double const mean = sum / features.rows;
        for (int i = 0; i < features.rows; ++i) square += std::pow(features.row(i)[f] - mean, 2);
        double const spread = std::sqrt(square / features.rows);
        // rounding noise of a column that is constant must not be blown up into a feature
        double const scale = spread > 1e-9 ? 1 / spread : 0;
        for (int i = 0; i < features.rows; ++i)
            features.row(i)[f] = (features.row(i)[f] - mean) * scale;
    }
}

/// Fine frequencies weigh less, as they do to the eye; without this, the grain of the film decides.
inline void weigh_frequencies(table& features, int kept) {
    for (int i = 0; i < features.rows; ++i) {
        for (int f = 0; f < features.cols; ++f) {
            int const u = f % kept, w = f / kept % kept;
            features.row(i)[f] *= std::pow(1.0 + u + w, -1.5);
        }
    }
}

/// x / sqrt(m / 4 + |x|^2), m the mean of |x|^2: loud patches become alike, quiet ones stay quiet.
inline void soften_lengths(table& features) {
    double total = 0;
    for (double x : features.values) total += x * x;
    double const floor = std::max(total / features.rows / 4, 1e-12);
    for (int i = 0; i < features.rows; ++i) {
        double square = 0;
        for (int f = 0; f < features.cols; ++f) square += std::pow(features.row(i)[f], 2);
        double const scale = 1 / std::sqrt(floor + square);
        for (int f = 0; f < features.cols; ++f) features.row(i)[f] *= scale;
    }
}

/// One row a patch, in raster order; 3 kept^2 columns.
inline table patch_features(picture const& image, patch_grid const& grid) {
    auto const basis = cosine_basis(grid.patch);
    int const kept = basis.rows, plane_size = kept * kept;
    table features(grid.tokens(), 3 * plane_size);
    for (int t = 0; t < grid.tokens(); ++t) {
        int const top = t / grid.cols * grid.patch, left = t % grid.cols * grid.patch;
        for (int plane = 0; plane < 3; ++plane) {
            transform_patch(image, basis, top, left, plane, features.row(t) + plane * plane_size);
        }
    }
    standardise(features);
    weigh_frequencies(features, kept);
    soften_lengths(features);
    return features;
}

}  // namespace one_scan
