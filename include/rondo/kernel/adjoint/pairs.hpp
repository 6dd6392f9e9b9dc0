/// @file
/// The adjoint of the pairs within a chunk, P = w (Q K^T) and O = P V with w unfolded by the
/// families of weights:
///
///     dP = w (dO V^T),   dV = P^T dO,   dQ = dP K,   dK = dP^T Q
#pragma once

#include <rondo/kernel/adjoint/chunk.hpp>
#include <rondo/kernel/pairs.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// sum = factors x by, a product with a state
template <class L, class Tile>
[[gnu::always_inline]] inline void multiply_state(chunk<L>& c, matrix<typename L::value> x,
                                                  matrix<typename L::value> by, index channels,
                                                  typename L::value const* factors, index row,
                                                  Tile& sum) noexcept {
    sum.clear();
    auto next = c.ahead.take(channels / tile_rows);
    sum.add(x, by, channels, [&] { lines_ahead::ask(next); });
    if (factors != nullptr) sum.scale(factors + row);
}

/// d_pairs of all readers, zero where a reader does not see the token.
template <class L, class Weights>
inline void differentiate_pairs(chunk<L>& c, adjoint_chunk<L>& a, bool strict) noexcept {
    matrix<typename L::value> const to = a.pair_gradients();
    multiply_pairs<L>(a.output_gradients, a.turned_values(), a.width, 0, c.count, to);
    for (index i = 0; c.call->what.normalized && i < c.count; ++i) {
        auto const d_den = L::broadcast(a.d_den[i]);
        for (index j = 0; j < i + 1; j += L::width) {
            L::store(to.at(i, j), d_den + L::load(to.at(i, j)));
        }
    }
    Weights::weigh_pairs(c, to, 0, c.count, strict);
}

/// to(i) = factors(i) x(i) by + sum_(j <= i) pairs(i, j) from(j), the pairs if there are any
template <class L>
inline void gather(chunk<L>& c, matrix<typename L::value> x, matrix<typename L::value> by,
                   index channels, typename L::value const* factors,
                   matrix<typename L::value> pairs, matrix<typename L::value> from, index columns,
                   matrix<typename L::value> to) noexcept {
    index const rows = whole_tiles(c.count);
    for_tiles<L>(rows, columns, [&]<class Tile>(std::type_identity<Tile>, index i, index column) {
        Tile sum;
        multiply_state<L>(c, x.from(i), by.from(0, column), channels, factors, i, sum);
        if (pairs.data != nullptr) {
            index const keys = std::min<index>(rows, i + Tile::rows);
            sum.add(pairs.from(i), from.from(0, column), keys);
        }
        sum.store(to.from(i, column));
    });
}

/// to(j) = factors(j) x(j) by + sum_(i >= j) pairs(i, j) from(i), the pairs if there are any, and
/// the first term times `carry` by column if that is given. With no x what is in `to` takes the
/// place of the first term.
template <class L>
inline void scatter(chunk<L>& c, matrix<typename L::value> x, matrix<typename L::value> by,
                    index channels, typename L::value const* factors,
                    typename L::value const* carry, matrix<typename L::value> pairs,
                    matrix<typename L::value> from, index columns,
                    matrix<typename L::value> to) noexcept {
    index const rows = whole_tiles(c.count);
    for_tiles<L>(rows, columns, [&]<class Tile>(std::type_identity<Tile>, index j, index column) {
        Tile sum;
        if (x.data == nullptr) {
            sum.load(to.from(j, column));
        } else {
            multiply_state<L>(c, x.from(j), by.from(0, column), channels, factors, j, sum);
            if (carry != nullptr) {
                sum.each([&](typename L::pack& term, int, int p) {
                    term = term * L::load(carry + column + p * L::width);
                });
            }
        }
        if (pairs.data != nullptr) {
            sum.add(pairs.from(j, j).turned(), from.from(j, column), rows - j);
        }
        sum.store(to.from(j, column));
    });
}

}  // namespace rondo::inline RONDO_ISA::detail
