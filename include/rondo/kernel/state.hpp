/// @file
/// What a chunk leaves behind: S = carry S + sum_j k_j v_j^T over its weighted keys.
#pragma once

#include <rondo/kernel/chunk.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// S = factors S, row by row.
template <class L>
inline void scale_state(chunk<L> const& c, typename L::value const* factors,
                        head_state<typename L::value> const& state) noexcept {
    bool const normalized = c.call->what.normalized;
    for (index d = 0; d < c.depth; ++d) {
        if (factors[d] == 1) continue;
        if (normalized) state.normalizer[d] *= factors[d];
        auto const factor = L::broadcast(factors[d]);
        for (index e = 0; e < c.width; e += L::width) {
            auto* const at = state.s + d * state.row_step + e;
            L::store(at, factor * L::load(at));
        }
    }
}

/// T = kept T + added S, row by row: the sums of two stretches of time become one.
template <class L>
inline void merge_states(chunk<L> const& c, typename L::value const* kept,
                         typename L::value const* added, head_state<typename L::value> const& from,
                         head_state<typename L::value> const& to) noexcept {
    for (index d = 0; d < c.depth; ++d) {
        auto const mine = L::broadcast(kept[d]), other = L::broadcast(added[d]);
        for (index e = 0; e < c.width; e += L::width) {
            auto* const at = to.s + d * to.row_step + e;
            L::store(at,
                     L::fma(mine, L::load(at), other * L::load(from.s + d * from.row_step + e)));
        }
        to.normalizer[d] = kept[d] * to.normalizer[d] + added[d] * from.normalizer[d];
    }
}

template <class L>
inline bool are_ones(typename L::value const* factors, index count) noexcept {
    auto const one = L::broadcast(typename L::value(1));
    bool all = true;
    for (index d = 0; d < count; d += L::width) {
        auto const factor = L::load(factors + d);
        all = all && !L::any_less(factor, one) && !L::any_less(one, factor);
    }
    return all;
}

/// S brought to the chunk's reference by c.entry, in the place of `to`, or, as most chunks leave it
/// where it is, S itself.
template <class L, class State>
inline State enter_state(chunk<L> const& c, State const& state, State const& to) noexcept {
    if (are_ones<L>(c.entry, c.depth)) return state;
    if (state.s != to.s) {
        std::copy_n(state.s, c.depth * c.width, to.s);
        if (c.call->what.normalized) std::copy_n(state.normalizer, c.depth, to.normalizer);
    }
    scale_state<L>(c, c.entry, to);
    return to;
}

/// T = carry S + sum_j k_j v_j^T over keys and rows of values, or carry (S + sum_j k_j v_j^T), rows
/// [first, last) of it. T may be S. Keys are given as the left factor, one below the other in its
/// columns.
template <class L, bool CarriesKeys = false, class Keys>
inline void write_rows(chunk<L>& c, Keys keys, matrix<typename L::value> values,
                       typename L::value const* carry, head_state<typename L::value> const& state,
                       head_state<typename L::value> const& to, index first, index last) noexcept {
    index const count = whole_tiles(c.count);
    for_tiles<L>(
        last - first, c.width, [&]<class Tile>(std::type_identity<Tile>, index r0, index e) {
            // The chunk is summed by itself and then added: a long sequence of small terms would
            // otherwise round against the large state one by one.
            index const d = first + r0;
            Tile sum;
            sum.clear();
            auto next = c.ahead.take(count / tile_rows);
            sum.add(keys.from(d), values.from(0, e), count, [&] { lines_ahead::ask(next); });
            sum.each([from = state.rows().from(d, e), out = to.rows().from(d, e),
                      factors = carry + d](typename L::pack& x, int r, int p) {
                auto const s = L::load(from.at(r, p * L::width));
                auto const factor = L::broadcast(factors[r]);
                L::store(out.at(r, p * L::width),
                         CarriesKeys ? factor * (s + x) : L::fma(factor, s, x));
            });
        });
}
template <class L, bool CarriesKeys = false, class Keys>
inline void write_state(chunk<L>& c, Keys keys, matrix<typename L::value> values,
                        typename L::value const* carry, head_state<typename L::value> const& state,
                        head_state<typename L::value> const& to) noexcept {
    index const rows = state.s == to.s ? c.steps : c.depth;  // the others are zero, and stay so
    write_rows<L, CarriesKeys>(c, keys, values, carry, state, to, 0, rows);
}

/// The same for values of 1: the sum of the weighted keys.
template <class L, bool CarriesKeys = false>
inline void write_normalizer(chunk<L> const& c, typename L::value const* factors,
                             head_state<typename L::value> const& state,
                             head_state<typename L::value> const& to) noexcept {
    auto const one = L::broadcast(typename L::value(1));
    for (index d = 0; d < c.depth; d += L::width) {
        auto sum = L::broadcast(typename L::value(0));
        for (index j = 0; j < c.count; ++j) {
            auto const factor = factors == nullptr ? one : L::broadcast(factors[j]);
            sum = L::fma(factor, L::load(c.keys().at(j, d)), sum);
        }
        auto const s = L::load(state.normalizer + d), factor = L::load(c.carry + d);
        L::store(to.normalizer + d, CarriesKeys ? factor * (s + sum) : L::fma(factor, s, sum));
    }
}

}  // namespace rondo::inline RONDO_ISA::detail
