/// @file
/// What readers see: the pairs within the chunk and the state in front of it.
#pragma once

#include <rondo/kernel/weights.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// scores(i, j) = x_i . y_j for the readers [first, first + count) of the chunk and the keys before
/// and among them, y given transposed. What lies behind a reader is left as it comes.
template <class L>
inline void multiply_pairs(matrix<typename L::value> x, matrix<typename L::value> turned,
                           index channels, index first, index count,
                           matrix<typename L::value> scores) noexcept {
    index const rows = whole_tiles(count);
    for_tiles<L>(rows, padded<L>(first + rows),
                 [&]<class Tile>(std::type_identity<Tile>, index r, index j) {
                     if (j >= first + r + Tile::rows) return;
                     Tile sum;
                     sum.clear();
                     sum.add(x.from(r), turned.from(0, j), channels);
                     sum.store(scores.from(r, j));
                 });
}

/// The weighted pairs of the readers with the chunk's keys.
template <class L, class Weights>
inline void score(chunk<L>& c, index first, index count, bool strict,
                  matrix<typename L::value> scores) noexcept {
    multiply_pairs<L>(c.reader_rows, c.turned_keys(), c.steps, first, count, scores);
    Weights::weigh_pairs(c, scores, first, count, strict);
}

/// Row r of a tile of q S at (row, e) = factors(r) (q_r S) + sum_(j < keys) scores(r, j) v(j)
template <class L, class Tile>
[[gnu::always_inline]] inline void add_pairs(chunk<L>& c, typename L::value const* factors,
                                             index keys, index row, index e, Tile& sum) noexcept {
    if (factors != nullptr) sum.scale(factors + row);
    sum.add(c.score_rows().from(row), c.values().from(0, e), keys);
}
/// The same, with q S taken from a state by rows.
template <class L, class Tile>
[[gnu::always_inline]] inline void read_tile(chunk<L>& c, typename L::value const* factors,
                                             head_state<typename L::value> const& state, index keys,
                                             index row, index e, Tile& sum) noexcept {
    struct product {
        matrix<typename L::value> left, right;
        index depth;
    };
    // Both products by one loop: compiled many times over, it is most of what a kernel is.
    product const both[] = {
        {c.reader_rows.from(row), {state.s + e, state.row_step}, c.steps},
        {c.score_rows().from(row), c.values().from(0, e), keys},
    };
    index const asks = c.steps / tile_rows;
    auto next = c.ahead.take(asks);
    auto const last = next + asks;
    sum.clear();
    for (int i = 0;;) {
        sum.add(both[i].left, both[i].right, both[i].depth, [&] {
            if (next != last) lines_ahead::ask(next);
        });
        if (++i == 2) break;
        if (factors != nullptr) sum.scale(factors + row);
    }
}

/// body(tile, t, e) with x_t S of all tokens whose rows x are given as columns, S by columns: the
/// products lie across and are turned while they are in registers. Past the last token a tile holds
/// what was in the columns. Tokens outermost: rows are then left whole.
template <class L, class Body>
inline void multiply_across(chunk<L>& c, matrix<typename L::value> state,
                            matrix<typename L::value> columns, Body const& body) noexcept {
    constexpr int side = std::max<int>(tile_rows, L::width);
    index const count = whole_tiles(c.count);
    for (index t = 0; t < count; t += L::width) {
        for (index e = 0; e < c.width; e += side) {
            tile<L, side, 1> sum;
            sum.clear();
            auto next = c.ahead.take(c.steps / tile_rows);
            sum.add(state.from(e), columns.from(0, t), c.steps, [&] { lines_ahead::ask(next); });
            auto turned = sum.turned();
            body(turned, t, e);
        }
    }
}

/// The denominators of the readers: the same sum with every value 1.
template <class L>
inline void sum_readers(chunk<L>& c, typename L::value const* factors,
                        head_state<typename L::value> const& state, index count,
                        index keys) noexcept {
    using A = typename L::value;
    for (index r = 0; r < count; ++r) {
        auto total = L::broadcast(A(0));
        for (index d = 0; d < c.depth; d += L::width) {
            total = L::fma(L::load(c.reader_rows.at(r, d)), L::load(state.normalizer + d), total);
        }
        if (factors != nullptr) total = total * L::broadcast(factors[r]);
        for (index j = 0; j < keys; j += L::width) total = total + L::load(c.score_rows().at(r, j));
        c.sums[r] = L::sum(total);
    }
}

}  // namespace rondo::inline RONDO_ISA::detail
