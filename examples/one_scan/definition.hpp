// The operators by their definition: for every reader a sum over all tokens, in double, O(T^2).
//
//     o_i = scale * sum_j sum_d w_d(i, j) q_i[d] k_j[d] v_j
//
// Nothing here comes from the library and nothing is clever: the scans are measured against it.
#pragma once

#include "tokens.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

namespace one_scan {

/// One head of the tokens: the numbers of token t and channel d.
struct head_of {
    tokens const& all;
    int head;

    std::size_t at(int t, int d) const {
        return (static_cast<std::size_t>(t) * heads + static_cast<std::size_t>(head)) * channels +
               static_cast<std::size_t>(d);
    }
    double q(int t, int d) const { return all.q[at(t, d)]; }
    double k(int t, int d) const { return all.k[at(t, d)]; }
    double v(int t, int e) const { return all.v[at(t, e)]; }
    double log_decay(int t, int d) const { return all.log_decay[at(t, d)]; }
    double logit(int t, int d) const { return all.logits[at(t, d)]; }
};

/// Adds `weight` v_j to one output row of `channels` numbers.
inline void add_value(head_of const& head, int j, double weight, double* out) {
    for (int e = 0; e < channels; ++e) out[e] += weight * head.v(j, e);
}

/// log sum_s exp(z_s[d]) of one head, s over the whole picture.
inline std::vector<double> log_normaliser(head_of const& head) {
    std::vector<double> result(channels);
    for (int d = 0; d < channels; ++d) {
        double highest = -INFINITY, total = 0;
        for (int s = 0; s < head.all.count; ++s) highest = std::max(highest, head.logit(s, d));
        for (int s = 0; s < head.all.count; ++s) total += std::exp(head.logit(s, d) - highest);
        result[static_cast<std::size_t>(d)] = highest + std::log(total);
    }
    return result;
}

/// w_d(i, j) = exp(z_j[d]) / sum_s exp(z_s[d]), s and j over the whole picture; k_j = 1.
inline void define_additive(head_of const& head, std::vector<double> const& normaliser, int reader,
                            double scale, double* out) {
    for (int j = 0; j < head.all.count; ++j) {
        double score = 0;
        for (int d = 0; d < channels; ++d) {
            score += head.q(reader, d) *
                     std::exp(head.logit(j, d) - normaliser[static_cast<std::size_t>(d)]);
        }
        add_value(head, j, scale * score, out);
    }
}

/// The values of one head by MD-TPE: the sum over the axes of a weighted sum along the line.
inline std::vector<double> encoded_values(head_of const& head, patch_grid const& grid) {
    std::vector<double> result(static_cast<std::size_t>(head.all.count) * channels);
    std::array<int, 3> const extents = grid.extents();
    for (int t = 0; t < head.all.count; ++t) {
        for (int axis = grid.first_axis(), step; axis < 3; ++axis) {
            auto const a = static_cast<std::size_t>(axis);
            step = axis == 2 ? 1 : axis == 1 ? extents[2] : extents[2] * extents[1];
            int const here = grid.place(t)[a];
            for (int there = 0; there < extents[a]; ++there) {
                double const apart = std::abs(there - here);
                double const weight = tpe_b * std::exp(apart * tpe_log_lambda);
                for (int e = 0; e < channels; ++e) {
                    result[static_cast<std::size_t>(t * channels + e)] +=
                        weight * head.v(t + (there - here) * step, e);
                }
            }
        }
    }
    return result;
}

/// define_additive with positions: the score of channel d has the factor cos((s_i - s_j) theta_d),
/// s the place along one axis: each has its run of channels, the first axis the first one.
inline void define_positioned(head_of const& head, std::vector<double> const& normaliser,
                              std::vector<double> const& encoded, patch_grid const& grid,
                              std::vector<float> const& theta, int reader, double scale,
                              double* out) {
    int const run = static_cast<int>(theta.size());
    for (int j = 0; j < head.all.count; ++j) {
        auto const mine = grid.place(reader), other = grid.place(j);
        double score = 0;
        for (int d = 0; d < channels; ++d) {
            auto const axis = static_cast<std::size_t>(grid.first_axis() + d / run);
            int const apart = mine[axis] - other[axis];
            double const angle = theta[static_cast<std::size_t>(d % run)];
            score += head.q(reader, d) * std::cos(apart * angle) *
                     std::exp(head.logit(j, d) - normaliser[static_cast<std::size_t>(d)]);
        }
        for (int e = 0; e < channels; ++e) {
            out[e] += scale * score * encoded[static_cast<std::size_t>(j * channels + e)];
        }
    }
}

/// w_d(i, j) = exp(sum of the log decays after j up to i), from the reader i back along `path`.
inline void define_decay(head_of const& head, std::vector<int> const& path, int reader,
                         double scale, double* out) {
    auto place = std::find(path.begin(), path.end(), reader) - path.begin();
    double decayed[channels] = {};
    for (; place >= 0; --place) {
        int const j = path[static_cast<std::size_t>(place)];
        double score = 0;
        for (int d = 0; d < channels; ++d) {
            score += head.q(reader, d) * std::exp(decayed[d]) * head.k(j, d);
            decayed[d] += head.log_decay(j, d);
        }
        add_value(head, j, scale * score, out);
    }
}

/// The order in which a scan visits the grid: the last axis fastest or the first, forwards or
/// backwards.
inline std::vector<int> walk(patch_grid const& grid, bool by_columns, bool backwards) {
    std::vector<int> path(static_cast<std::size_t>(grid.tokens()));
    auto const [frames, rows, cols] = grid.extents();
    for (int n = 0; n < grid.tokens(); ++n) {
        int const row = n / frames % rows, col = n / (frames * rows);
        int const column = (n % frames * rows + row) * cols + col;
        path[static_cast<std::size_t>(n)] = by_columns ? column : n;
    }
    if (backwards) std::reverse(path.begin(), path.end());
    return path;
}

/// Readers drawn without return, in order; all of them where there are few.
inline std::vector<int> choose_readers(int count, int wanted) {
    std::vector<int> readers(static_cast<std::size_t>(count));
    std::iota(readers.begin(), readers.end(), 0);
    std::mt19937_64 bits(7);
    for (int n = 0; n < std::min(wanted, count); ++n) {
        auto const other = n + static_cast<int>(bits() % static_cast<std::uint64_t>(count - n));
        std::swap(readers[static_cast<std::size_t>(n)], readers[static_cast<std::size_t>(other)]);
    }
    readers.resize(static_cast<std::size_t>(std::min(wanted, count)));
    std::sort(readers.begin(), readers.end());
    return readers;
}

}  // namespace one_scan
