/// @file
/// The delta rule of one chunk by the WY representation (Yang et al. 2024, "Parallelizing Linear
/// Transformers with the Delta Rule over Sequence Length", section 3; with gates, "Gated Delta
/// Networks", section 3.3): what each token writes solves the unit lower triangular system
///
///     u_i = beta_i (v_i - read(i) S^T k_i - sum_(j < i) pair(i, j) (k_i . k_j) u_j),
///
/// tile by tile: earlier tiles by a product, the tile itself by substitution. u replaces v.
#pragma once

#include <rondo/kernel/pairs.hpp>

namespace rondo::inline RONDO_ISA::detail {

template <class L, class Weights>
inline void solve_tile(chunk<L>& c, index tile, head_state<typename L::value> const& state) {
    using A = typename L::value;
    std::copy_n(c.keys().at(tile), tile_rows * c.depth, c.query);
    Weights::weigh_queries(c, tile);
    Weights::pair(c, tile);
    read_tile<L>(c, Weights::state_queries(c), state.s, tile, c.out_rows());
    for (index r = 0; r < tile_rows; ++r) {
        A const* const weights = c.score_rows().at(r, tile);
        auto const beta = L::broadcast(c.beta[tile + r]);
        for (index e = 0; e < c.width; e += L::width) {
            auto rest = L::load(c.values().at(tile + r, e)) - L::load(c.out_rows().at(r, e));
            for (index j = 0; j < r; ++j) {
                rest = rest - L::broadcast(weights[j]) * L::load(c.values().at(tile + j, e));
            }
            L::store(c.values().at(tile + r, e), beta * rest);
        }
    }
}

}  // namespace rondo::inline RONDO_ISA::detail
