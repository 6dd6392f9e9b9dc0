/// @file
/// What a chunk leaves behind: S = carry S + sum_j k_j v_j^T over its weighted keys.
#pragma once

#include <rondo/kernel/chunk.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// S = factors S, row by row.
template <class L>
inline void scale_state(chunk<L> const& c, typename L::value const* factors,
                        head_state<typename L::value> const& state) noexcept {
    for (index d = 0; d < c.depth; ++d) {
        if (factors[d] == 1) continue;
        state.normalizer[d] *= factors[d];
        auto const factor = L::broadcast(factors[d]);
        for (index e = 0; e < c.width; e += L::width) {
            auto* const at = state.s + d * state.row_step + e;
            L::store(at, factor * L::load(at));
        }
    }
}

/// S = carry S + sum_j k_j v_j^T over rows of keys and values.
template <class L>
inline void write_state(chunk<L>& c, matrix<typename L::value> keys,
                        matrix<typename L::value> values, typename L::value const* carry,
                        head_state<typename L::value> const& state) noexcept {
    index const count = whole_tiles(c.count);
    for_tiles<L>(c.depth, c.width, [&]<class Tile>(std::type_identity<Tile>, index d, index e) {
        // The chunk is summed by itself and then added: a long sequence of small terms would
        // otherwise round against the large state one by one.
        Tile sum;
        sum.clear();
        auto next = c.ahead.take(count / tile_rows);
        sum.add(keys.from(0, d).turned(), values.from(0, e), count,
                [&] { lines_ahead::ask(next); });
        matrix<typename L::value> const s{state.s + d * state.row_step + e, state.row_step};
        sum.add_scaled(carry + d, s);
        sum.store(s);
    });
}

/// The same for values of 1: the sum of the weighted keys.
template <class L>
inline void write_normalizer(chunk<L> const& c, matrix<typename L::value> keys,
                             head_state<typename L::value> const& state) noexcept {
    for (index d = 0; d < c.depth; d += L::width) {
        auto sum = L::broadcast(typename L::value(0));
        for (index j = 0; j < c.count; ++j) sum = sum + L::load(keys.at(j, d));
        auto* const at = state.normalizer + d;
        L::store(at, L::fma(L::load(c.carry + d), L::load(at), sum));
    }
}

}  // namespace rondo::inline RONDO_ISA::detail
