/// @file
/// The adjoint of the pairs within a chunk, P = w (Q K^T) and O = P V with w unfolded by the
/// families of weights:
///
///     dP = w (dO V^T),   dV = P^T dO,   dQ = dP K,   dK = dP^T Q
#pragma once

#include <rondo/kernel/adjoint/chunk.hpp>
#include <rondo/kernel/pairs.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// Rows times a state, or none; what each row and, where it is given, each column has of them.
template <class A>
struct with_state {
    matrix<A> x, by;
    index channels;
    A const *factors, *carry;
};

/// sum = factors x by carry, the tile at (row, column)
template <class L, class Tile>
[[gnu::always_inline]] inline void multiply_state(chunk<L>& c,
                                                  with_state<typename L::value> const& of,
                                                  index row, index column, Tile& sum) noexcept {
    sum.clear();
    auto next = c.ahead.take(of.channels / tile_rows);
    sum.add(of.x.from(row), of.by.from(0, column), of.channels, [&] { lines_ahead::ask(next); });
    if (of.factors != nullptr) sum.scale(of.factors + row);
    if (of.carry == nullptr) return;
    sum.each([&](typename L::pack& term, int, int p) {
        term = term * L::load(of.carry + column + p * L::width);
    });
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

/// to(i) = (x by)(i) + sum_(j <= i) pairs(i, j) from(j), the pairs if there are any
template <class L, class Rows>
inline void gather(chunk<L>& c, with_state<typename L::value> const& state,
                   matrix<typename L::value> pairs, matrix<typename L::value> from, index columns,
                   Rows const& to) noexcept {
    index const rows = whole_tiles(c.count);
    for_tiles<L>(rows, columns, [&]<class Tile>(std::type_identity<Tile>, index i, index column) {
        Tile sum;
        multiply_state<L>(c, state, i, column, sum);
        if (pairs.data != nullptr) {
            index const keys = std::min<index>(rows, i + Tile::rows);
            sum.add(pairs.from(i), from.from(0, column), keys);
        }
        to.leave(sum, i, column);
    });
}

/// to(j) = (x by)(j) + sum_(i >= j) pairs(i, j) from(i), the pairs if there are any. With no x what
/// is in `to` takes the place of the first term.
template <class L, class Rows>
inline void scatter(chunk<L>& c, with_state<typename L::value> const& state,
                    matrix<typename L::value> pairs, matrix<typename L::value> from, index columns,
                    Rows const& to) noexcept {
    index const rows = whole_tiles(c.count);
    for_tiles<L>(rows, columns, [&]<class Tile>(std::type_identity<Tile>, index j, index column) {
        Tile sum;
        if (state.x.data == nullptr) {
            to.load(sum, j, column);
        } else {
            multiply_state<L>(c, state, j, column, sum);
        }
        if (pairs.data != nullptr) {
            sum.add(pairs.from(j, j).turned(), from.from(j, column), rows - j);
        }
        to.leave(sum, j, column);
    });
}

/// to(j) = factors(j) (dS^T x_j) + sum_(i >= j) pairs(i, j) from(i), dS and the rows x by columns.
template <class L, class Rows>
inline void scatter_across(chunk<L>& c, matrix<typename L::value> d_state,
                           matrix<typename L::value> columns, typename L::value const* factors,
                           matrix<typename L::value> pairs, matrix<typename L::value> from,
                           Rows const& to) noexcept {
    index const rows = whole_tiles(c.count);
    multiply_across<L>(c, d_state, columns, [&](auto& sum, index j, index column) {
        if (factors != nullptr) sum.scale(factors + j);
        if (pairs.data != nullptr) {  // of readers in front, in whole tiles, the pairs are zero
            index const first = j / tile_rows * tile_rows;
            sum.add(pairs.from(first, j).turned(), from.from(first, column), rows - first);
        }
        to.leave(sum, j, column);
    });
}

}  // namespace rondo::inline RONDO_ISA::detail
