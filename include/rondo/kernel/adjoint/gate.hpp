/// @file
/// The gradients of log decays. With w the weights, every pair (i, j) and every hand-over of the
/// state counts in the gradient of each log decay between its two ends. Summed up, in a chunk of n
/// tokens,
///
///     d log f_t = <S_n, dS_n> + sum_(t <= s < n) (q_s . dq_s - k_s . dk_s),
///
/// where dq and dk are the whole gradients: terms of pairs with both ends behind t cancel.
///
/// Over a long sequence that sum would be the small difference of two large ones. Here it never
/// leaves the chunk: <S_n, dS_n>, all that reaches across the chunk's end, is computed anew from
/// the two states at every end, so that rounding does not grow with T.
#pragma once

#include <rondo/kernel/adjoint/state.hpp>
#include <rondo/kernel/weights.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// Calls body(i, rows, sums) with sum_d x(i + r, d) y(i + r, d) in lane r < rows, until all `count`
/// rows are done: a pack of rows together, as a row's lanes alone take longer to add up than its
/// products.
template <class L, class Body>
inline void sum_rows(index count, index columns, matrix<typename L::value> x,
                     matrix<typename L::value> y, Body const& body) noexcept {
    using P = typename L::pack;
    for (index i = 0; i < count; i += L::width) {
        index const rows = std::min<index>(L::width, count - i);
        P sums[L::width];
        for (index r = 0; r < L::width; ++r) {
            P sum = L::broadcast(typename L::value(0));
            for (index d = 0; r < rows && d < columns; d += L::width) {
                sum = L::fma(L::load(x.at(i + r, d)), L::load(y.at(i + r, d)), sum);
            }
            sums[r] = sum;
        }
        body(i, rows, L::sums(sums));
    }
}

/// terms(i) = term_of(known(i), x_i, y_i, factors(i)) by channel
template <class L, class TermOf>
inline void change_terms(adjoint_chunk<L>& a, index count, matrix<typename L::value> x,
                         matrix<typename L::value> y, matrix<typename L::value> factors,
                         TermOf const& term_of) noexcept {
    for (index i = 0; i < count; ++i) {
        for (index d = 0; d < a.depth; d += L::width) {
            L::store(a.gate_terms.at(i, d),
                     term_of(L::load(a.known_terms.at(i, d)), L::load(x.at(i, d)),
                             L::load(y.at(i, d)), L::load(factors.at(i, d))));
        }
    }
}

/// terms(i) += sign x_i * y_i, summed over the channels
template <class L>
inline void add_sums(adjoint_chunk<L>& a, index count, matrix<typename L::value> x,
                     matrix<typename L::value> y, typename L::value sign) noexcept {
    auto const factor = L::broadcast(sign);
    sum_rows<L>(count, a.depth, x, y, [&](index first, index rows, auto const& sums) {
        auto* const term = a.terms + first;
        L::store(term, L::fma(factor, sums, L::load(term, rows)), rows);
    });
}

/// Turns the terms into the gradients of the tokens' log decays. A decay of -inf is no place to
/// move from: its gradient is 0. `Lanes` are as many gates as lie side by side.
template <class Lanes, class L>
inline void sum_terms_of(chunk<L> const& c, adjoint_chunk<L>& a, index gate) noexcept {
    using A = typename L::value;
    auto const zero = Lanes::broadcast(A(0));
    bool const on_write = c.call->what.on_write;
    // One gate a token keeps its factors side by side; one a channel their products from the
    // chunk's start, of which only the first and the last factor can be zero.
    bool const rows = a.gates > 1;
    matrix<A> const factors{c.gate, rows ? c.gates : 1};
    auto sum = Lanes::load(a.from_end + gate);
    for (index t = c.count - 1; t >= 0; --t) {
        A* const term = a.gate_terms.at(t, gate);
        auto const before = sum;
        sum = sum + Lanes::load(term);
        bool const first = rows && !on_write && t == 0;
        auto const factor = Lanes::load(first ? c.entry + gate : factors.at(factor_of(c, t), gate));
        Lanes::store(term, Lanes::where_less(zero, factor, on_write ? before : sum, zero));
    }
}

template <class L>
inline void sum_terms(chunk<L> const& c, adjoint_chunk<L>& a) noexcept {
    if (a.gates == 1) return sum_terms_of<one_lane<typename L::value>>(c, a, 0);
    for (index gate = 0; gate < a.gates; gate += L::width) sum_terms_of<L>(c, a, gate);
}

}  // namespace rondo::inline RONDO_ISA::detail
