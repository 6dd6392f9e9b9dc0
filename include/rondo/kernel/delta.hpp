/// @file
/// The delta rule of one chunk by the WY representation (Yang et al. 2024, "Parallelizing Linear
/// Transformers with the Delta Rule over Sequence Length"; with gates, "Gated Delta
/// Networks"): what each token writes solves the unit lower triangular system
///
///     u_i = beta_i (v_i - read(i) S^T k_i - sum_(j < i) pair(i, j) (k_i . k_j) u_j),
///
/// tile by tile: earlier tiles by a product, the tile itself by substitution. u replaces v.
#pragma once

#include <rondo/kernel/pairs.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// Rows of a tile, whose sums hold all but its own pairs, become what is written; c.rest takes it
/// before the factor beta, where that is wanted.
template <class L, class Tile>
[[gnu::always_inline]] inline void substitute(chunk<L>& c, index first, index row, index e,
                                              Tile& sum) noexcept {
    using P = typename L::pack;
    index const token = first + row;
    bool const keeps = c.rest != nullptr;
    auto const kept = keeps ? c.rest_rows().from(token, e) : matrix<typename L::value>{};
    P written[Tile::rows][Tile::packs];
    sum.each([&written, keeps, kept, beta = c.beta + token,
              scores = c.score_rows().from(row, token),
              values = c.values().from(token, e)](P& read, int r, int p) {
        P left = L::load(values.at(r, p * L::width)) - read;
        RONDO_UNROLL
        for (int j = 0; j < Tile::rows; ++j) {
            if (j < r) left = L::fma(L::broadcast(-*scores.at(r, j)), written[j][p], left);
        }
        if (keeps) L::store(kept.at(r, p * L::width), left);
        written[r][p] = L::broadcast(beta[r]) * left;
        L::store(values.at(r, p * L::width), written[r][p]);
    });
}

/// c.out(i) = x_i S of all readers, S by columns. Readers by columns are the chunk's keys, but
/// where they are `weighed` as such.
template <class L>
inline void read_across(chunk<L>& c, matrix<typename L::value> turned, bool weighed) noexcept {
    index const count = whole_tiles(c.count);
    auto const exchange = [&](matrix<typename L::value> rows) {
        if (weighed) turn<L>(rows, count, c.depth, c.turned_keys());
    };
    exchange(c.reader_rows);
    multiply_across<L>(c, turned, c.turned_keys(), [&](auto& sum, index t, index e) {
        sum.store(c.out_rows().from(t, e), count - t);
    });
    exchange(c.keys());
}

/// Turns the chunk's values into what is written, the weighted pairs of the keys with earlier keys
/// being in the scores of readers [first, first + count), the keys as readers in c.q, and what
/// these have of a `state` by columns in c.out.
template <class L, class State>
inline void solve(chunk<L>& c, typename L::value const* factors, State const& state, index first,
                  index count) noexcept {
    // The same tiles of rows for all columns, or the bits would tell how columns were shared out.
    for_tiles<L, true>(whole_tiles(count), c.width,
                       [&]<class Tile>(std::type_identity<Tile>, index row, index e) {
                           Tile sum;
                           if constexpr (std::is_same_v<State, head_state<typename L::value>>) {
                               read_tile(c, factors, state, first + row, row, e, sum);
                           } else {
                               sum.load(c.out_rows().from(row, e), Tile::rows);
                               add_pairs(c, factors, first + row, row, e, sum);
                           }
                           substitute<L>(c, first, row, e, sum);
                       });
}

}  // namespace rondo::inline RONDO_ISA::detail
