// How strongly every patch influences the output at one patch, asked of the operator itself.
#pragma once

#include "patches.hpp"
#include "tokens.hpp"

#include <rondo/rondo.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

namespace one_scan {

namespace rd = rondo;

/// The grid seen in blocks of `side` x `side` patches, one number a block.
struct influence_map {
    int rows = 0, cols = 0, side = 1;
    std::vector<double> share;  // of the whole influence on the reader; adds up to 1
};

/// One block a patch up to 4096 patches, larger ones beyond, so that the work stays bounded.
inline influence_map lay_blocks(patch_grid const& grid) {
    constexpr double most_work = 4096.0 * 4096.0;
    for (int side = 1;; ++side) {
        int const rows = (grid.rows + side - 1) / side, cols = (grid.cols + side - 1) / side;
        if (static_cast<double>(rows) * cols * grid.tokens() <= most_work || rows * cols == 1) {
            return {rows, cols, side,
                    std::vector<double>(static_cast<std::size_t>(rows) *
                                        static_cast<std::size_t>(cols))};
        }
    }
}

/// The output is linear in v. So v gets one channel a block, 1 on the block's tokens and 0
/// elsewhere, and the output at the reader is, channel by channel, the weight with which it hears
/// each block. `run(v, o)` is any operator; signs are dropped and heads added, and the sum over the
/// picture is made 1.
template <class Run>
influence_map influence(Run const& run, patch_grid const& grid, int reader) {
    constexpr int probes = 64;  // blocks asked in one run
    auto map = lay_blocks(grid);
    int const count = grid.tokens(), blocks = static_cast<int>(map.share.size());
    auto const row = static_cast<std::size_t>(heads) * probes;
    std::vector<float> v(static_cast<std::size_t>(count) * row), o(v.size());
    auto const v_view = rd::bthd(static_cast<float const*>(v.data()), 1, count, heads, probes);
    auto const o_view = rd::bthd(o.data(), 1, count, heads, probes);

    for (int first = 0; first < blocks; first += probes) {
        std::fill(v.begin(), v.end(), 0.0F);
        for (int t = 0; t < count; ++t) {
            int const block = t / grid.cols / map.side * map.cols + t % grid.cols / map.side;
            if (block < first || block >= first + probes) continue;
            for (int h = 0; h < heads; ++h) {
                v[static_cast<std::size_t>(t) * row +
                  static_cast<std::size_t>(h * probes + block - first)] = 1;
            }
        }
        run(v_view, o_view);
        for (int n = 0; n < std::min(probes, blocks - first); ++n) {
            for (int h = 0; h < heads; ++h) {
                map.share[static_cast<std::size_t>(first + n)] +=
                    std::abs(o[static_cast<std::size_t>(reader) * row +
                               static_cast<std::size_t>(h * probes + n)]);
            }
        }
    }
    double total = 0;
    for (double x : map.share) total += x;
    for (double& x : map.share) x = total > 0 ? x / total : 0;
    return map;
}

/// The fewest patches that together carry nine tenths of the influence.
inline int reach(influence_map const& map, patch_grid const& grid) {
    auto sorted = map.share;
    std::sort(sorted.rbegin(), sorted.rend());
    double sum = 0;
    int blocks = 0;
    while (blocks < static_cast<int>(sorted.size()) && sum < 0.9)
        sum += sorted[static_cast<std::size_t>(blocks++)];
    return std::min(blocks * map.side * map.side, grid.tokens());
}

}  // namespace one_scan
