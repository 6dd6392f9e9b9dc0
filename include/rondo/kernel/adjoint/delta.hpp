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

namespace rondo::inline RONDO_ISA::detail {

/// to = to - factor * from, over a row of values
template <class L>
inline void subtract_row(typename L::value* to, typename L::value factor,
                         typename L::value const* from, index width) noexcept {
    auto const minus = L::broadcast(-factor);
    for (index e = 0; e < width; e += L::width) {
        L::store(to + e, L::fma(minus, L::load(from + e), L::load(to + e)));
    }
}

/// Turns d_v, the gradient by what is written, into that by the values, and leaves that by beta in
/// the place of beta.
template <class L>
inline void solve_transposed(chunk<L>& c, adjoint_chunk<L>& a) noexcept {
    using A = typename L::value;
    for (index i = c.count - 1; i >= 0; --i) {
        A* const d_v = a.value_gradients.at(i);
        for (index l = i + 1; l < c.count; ++l) {
            subtract_row<L>(d_v, a.inner[l * a.columns + i], a.value_gradients.at(l), c.width);
        }
        auto dot = L::broadcast(A(0));
        for (index e = 0; e < c.width; e += L::width) {
            dot = L::fma(L::load(d_v + e), L::load(a.rest_rows().at(i, e)), dot);
        }
        for (index e = 0; e < c.width; ++e) d_v[e] *= c.beta[i];
        c.beta[i] = L::sum(dot);
    }
}

}  // namespace rondo::inline RONDO_ISA::detail
