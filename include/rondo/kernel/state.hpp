/// @file
/// What a chunk leaves behind: S = carry S + sum_j k_j v_j^T over its weighted keys.
#pragma once

#include <rondo/kernel/weights.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// Updates the state, `keys` decayed to the chunk's end.
template <class L, class Weights>
inline void write_state(chunk<L> const& c, matrix<typename L::value> keys,
                        head_state<typename L::value> const& state) noexcept {
    using A = typename L::value;
    // Element (d, j) of the keys' transpose: a tile's rows are four neighbouring channels.
    for (index d = 0; d < c.depth; d += tile_rows) {
        for_panels<L>(c.width, [&]<int Packs>(index e, std::integral_constant<int, Packs>) {
            typename L::pack acc[tile_rows][Packs];
            A* const s = state.s + d * c.width + e;
            RONDO_UNROLL
            for (int r = 0; r < tile_rows; ++r) {
                RONDO_UNROLL
                for (int p = 0; p < Packs; ++p) acc[r][p] = L::broadcast(A(0));
            }
            // The chunk is summed by itself and then added: a long sequence of small terms would
            // otherwise round against the large state one by one.
            multiply_add<L>(acc, {keys.at(0, d), 1, keys.row_step}, {c.v + e, c.width}, c.count);
            RONDO_UNROLL
            for (int r = 0; r < tile_rows; ++r) {
                auto const carry = L::broadcast(Weights::carry(c, d + r));
                RONDO_UNROLL
                for (int p = 0; p < Packs; ++p) {
                    A* const at = s + r * c.width + p * L::width;
                    L::store(at, L::fma(carry, L::load(at), acc[r][p]));
                }
            }
        });
    }
}

/// The same for a value of 1: the sum of the weighted keys.
template <class L, class Weights>
inline void write_normalizer(chunk<L> const& c, matrix<typename L::value> keys,
                             head_state<typename L::value> const& state) noexcept {
    for (index d = 0; d < c.depth; d += L::width) {
        typename L::value carry[L::width];
        for (index lane = 0; lane < L::width; ++lane) carry[lane] = Weights::carry(c, d + lane);
        auto sum = L::broadcast(typename L::value(0));
        for (index j = 0; j < c.count; ++j) sum = sum + L::load(keys.at(j, d));
        L::store(state.normalizer + d, L::fma(L::load(carry), L::load(state.normalizer + d), sum));
    }
}

}  // namespace rondo::inline RONDO_ISA::detail
