/// @file
/// The adjoint of the delta rule (Yang et al. 2024). What is written solves
/// (1 / beta + A) u = v - read S^T k with A(i, j) = pair(i, j) (k_i . k_j), j < i, so its gradient
/// solves the transposed system, from the last token to the first:
///
///     du_i = (P^T dO + dS^T write k)_i - sum_(l > i) A(l, i) dv_l,   dv_i = beta_i du_i,
///     dbeta_i = du_i . (v_i - read S^T k_i - sum_(j < i) A(i, j) u_j).
///
/// All else is the adjoint of the outer update with values u, and with one more set of readers: the
/// keys, which see earlier tokens only and whose output has the gradient -dv.
#pragma once

#include <rondo/kernel/adjoint/chunk.hpp>
#include <rondo/kernel/weights.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// Turns d_v, the gradient by what is written, into that by the values, and leaves that by beta in
/// the place of beta. Tile by tile from the last: later tiles by a product, the tile itself by
/// substitution.
template <class L>
inline void solve_transposed(chunk<L>& c, adjoint_chunk<L>& a) noexcept {
    using P = typename L::pack;
    using A = typename L::value;
    matrix<A> const pairs{a.inner, a.columns}, d_u = a.value_gradients;
    index const rows = whole_tiles(c.count);
    for (index l = 0; l < rows; ++l) scale_row<L>(pairs.at(l), pairs.at(l), c.beta[l], a.columns);
    auto const take = [&]<class Tile>(std::type_identity<Tile>, index done, index e) {
        index const behind = rows - done, first = behind - Tile::rows;
        Tile sum;
        sum.clear();
        sum.add(pairs.from(behind, first).turned(), d_u.from(behind, e), done);
        P solved[Tile::rows][Tile::packs];
        sum.each_back([&solved, own = pairs.from(first, first), to = d_u.from(first, e)](
                          P& later, int r, int p) {
            P left = L::load(to.at(r, p * L::width)) - later;
            RONDO_UNROLL
            for (int l = 1; l < Tile::rows; ++l) {
                if (l > r) left = L::fma(L::broadcast(-*own.at(l, r)), solved[l][p], left);
            }
            L::store(to.at(r, p * L::width), solved[r][p] = left);
        });
    };
    for_tiles<L, true>(rows, c.width, take);
    for (index i = 0; i < c.count; ++i) {
        P dot = L::broadcast(A(0));
        for (index e = 0; e < c.width; e += L::width) {
            dot = L::fma(L::load(d_u.at(i, e)), L::load(c.rest_rows().at(i, e)), dot);
        }
        scale_row<L>(d_u.at(i), d_u.at(i), c.beta[i], c.width);
        c.beta[i] = L::sum(dot);
    }
}

}  // namespace rondo::inline RONDO_ISA::detail
