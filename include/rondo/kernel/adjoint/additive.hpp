/// @file
/// The adjoint of the additive decays. With k' = k exp(z - m), q' = q / D and the running maximum m
/// taken as a fixed reference, which the output does not depend on,
///
///     dq_i = dq'_i / D_i,   dk_j = dk'_j exp(z_j - m),   dD_i = -(q'_i dq'_i) / D_i,
///     dz_j = k'_j dk'_j + exp(z_j - m) sum_(i >= j) dD_i.
///
/// The sum walks from right to left in the place of the state's `sum`, and is brought to the
/// reference of an earlier chunk by the same factor as S. The last factor of each is taken off with
/// those of the rows. A token with z = -inf has weight 0, and
/// so has its gradient. Chunks that the forward pass halves are halved here too.
#pragma once

#include <rondo/kernel/additive.hpp>
#include <rondo/kernel/adjoint/weights.hpp>

namespace rondo::inline RONDO_ISA::detail {

template <class L>
struct adjoint_weights<L, additive_weights<L>> {
    using A = typename L::value;
    using P = typename L::pack;

    static P query_term(P term, P query, P gradient, P inverse) noexcept {
        return term - query * gradient * inverse;
    }
    static P key_term(P behind, P key, P gradient, P weight) noexcept {
        return L::fma(behind, weight, key * gradient);
    }

    /// terms(i) += dD_i
    static void add_readers(chunk<L> const& c, adjoint_chunk<L>& a) noexcept {
        matrix<A> const inverse = additive_weights<L>::inverse(c);
        if (a.gates > 1) {
            return change_terms<L>(a, c.count, c.reader_rows, a.query_gradients, inverse,
                                   query_term);
        }
        sum_each(a, c.count, c.reader_rows, a.query_gradients,
                 [&](index i, A known, A sum) { return known - sum * *inverse.at(i); });
    }

    static constexpr bool sums_readers = true;
    /// terms(j) = sum_(i >= j) dD_i, which moves on in d_state.sum.
    static void sum_readers(chunk<L> const& c, adjoint_chunk<L>& a,
                            head_state<A> const& d_state) noexcept {
        if (a.gates == 1) return sum_behind<one_lane<A>>(c, a, d_state.sum, 0);
        for (index d = 0; d < c.depth; d += L::width) sum_behind<L>(c, a, d_state.sum + d, d);
    }

    /// terms(j) = dz_j
    static void add_written(chunk<L> const& c, adjoint_chunk<L>& a) noexcept {
        matrix<A> const weights = c.gate_rows();
        if (a.gates > 1) {
            return change_terms<L>(a, c.count, c.keys(), a.key_gradients, weights, key_term);
        }
        sum_each(a, c.count, c.keys(), a.key_gradients,
                 [&](index j, A known, A sum) { return known * *weights.at(j) + sum; });
    }
    static void finish_gates(chunk<L> const&, adjoint_chunk<L>&) noexcept {}

private:
    /// terms(i) = body(i, known(i), sum_d x(i, d) y(i, d)), one term a token
    template <class Body>
    static void sum_each(adjoint_chunk<L>& a, index count, matrix<A> x, matrix<A> y,
                         Body const& body) noexcept {
        sum_rows<L>(count, a.depth, x, y, [&](index first, index rows, P const& sums) {
            A lanes[L::width];
            L::store(lanes, sums);
            for (index i = first; i < first + rows; ++i) {
                a.terms[i] = body(i, *a.known_terms.at(i), lanes[i - first]);
            }
        });
    }

    template <class Lanes>
    static void sum_behind(chunk<L> const& c, adjoint_chunk<L>& a, A* total, index gate) noexcept {
        auto sum = Lanes::load(total);
        for (index j = c.count - 1; j >= 0; --j) {
            A* const term = a.gate_terms.at(j, gate);
            sum = sum + Lanes::load(term);
            Lanes::store(term, sum);
        }
        Lanes::store(total, sum);
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
