/// @file
/// The adjoint of the pairs within a chunk, P = w (Q K^T) and O = P V with w unfolded by the
/// families of weights:
///
///     dP = w (dO V^T),   dV = P^T dO,   dQ = dP K,   dK = dP^T Q
#pragma once

#include <rondo/kernel/adjoint/chunk.hpp>
#include <rondo/kernel/pairs.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// d_pairs of all readers, zero where a reader does not see the token.
template <class L, class Weights>
inline void differentiate_pairs(chunk<L>& c, adjoint_chunk<L>& a, bool strict) noexcept {
    matrix<typename L::value> const to = a.pair_gradients();
    multiply_pairs<L>(a.output_gradients(), a.turned_values(), a.width, 0, c.count, to);
    for (index i = 0; c.call->what.normalized && i < c.count; ++i) {
        auto const d_den = L::broadcast(a.d_den[i]);
        for (index j = 0; j < i + 1; j += L::width) {
            L::store(to.at(i, j), d_den + L::load(to.at(i, j)));
        }
    }
    Weights::weigh_pairs(c, to, 0, c.count);
    mask_pairs<L>(to, 0, c.count, strict);
}

/// to(i) = factors(i) to(i) + sum_(j <= i) pairs(i, j) from(j)
template <class L>
inline void add_rows(matrix<typename L::value> to, typename L::value const* factors,
                     matrix<typename L::value> pairs, matrix<typename L::value> from, index rows,
                     index keys, index columns) noexcept {
    for_tiles<L>(rows, columns, [&]<class Tile>(std::type_identity<Tile>, index i, index column) {
        Tile sum;
        sum.load(to.from(i, column));
        if (factors != nullptr) sum.scale(factors + i);
        sum.add(pairs.from(i), from.from(0, column), std::min<index>(keys, i + Tile::rows));
        sum.store(to.from(i, column));
    });
}

/// to(j) += sum_(i >= j) pairs(i, j) from(i)
template <class L>
inline void add_transposed(matrix<typename L::value> to, matrix<typename L::value> pairs,
                           matrix<typename L::value> from, index rows, index columns) noexcept {
    for_tiles<L>(rows, columns, [&]<class Tile>(std::type_identity<Tile>, index j, index column) {
        Tile sum;
        sum.load(to.from(j, column));
        sum.add(pairs.from(j, j).turned(), from.from(j, column), rows - j);
        sum.store(to.from(j, column));
    });
}

}  // namespace rondo::inline RONDO_ISA::detail
