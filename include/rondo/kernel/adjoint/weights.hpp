/// @file
/// The adjoint of the weights. With q' and k' the weighted rows, P and dP the weighted pairs and
/// their gradients,
///
///     dq'_i = read(i) S dO_i + sum_(j <= i) dP(i, j) k'_j
///     dk'_j = write(j) dS v_j + sum_(i >= j) dP(i, j) q'_i,
///
/// and factors of rows are taken off gradients as they were put on. What is left is the gradient of
/// the gates, in which factors of rows cancel: q' dq' = q dq.
#pragma once

#include <rondo/kernel/adjoint/gate.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// All decays that multiply.
template <class L, class Weights>
struct adjoint_weights {
    using A = typename L::value;
    using P = typename L::pack;

    /// A term of the gates' gradients when the gradient of a weighed query or, once those of all
    /// readers are summed, of a weighed key is known, with the factor that it was weighed by.
    static P query_term(P term, P query, P gradient, P) noexcept {
        return L::fma(query, gradient, term);
    }
    static P key_term(P term, P key, P gradient, P) noexcept { return term - key * gradient; }

    /// What the readers add to the gradients of the gates.
    static void add_readers(chunk<L> const& c, adjoint_chunk<L>& a) noexcept {
        if (!a.call->wants_gate()) return;
        if (a.gates == 1) return add_sums<L>(a, c.count, c.reader_rows, a.query_gradients, A(1));
        change_terms<L>(a, c.count, c.reader_rows, a.query_gradients, c.gate_rows(), query_term);
    }
    /// Whether terms of keys need those of all readers, which sum_readers then sums.
    static constexpr bool sums_readers = false;
    static void sum_readers(chunk<L> const&, adjoint_chunk<L>&, head_state<A> const&) noexcept {}

    /// What the written side adds.
    static void add_written(chunk<L> const& c, adjoint_chunk<L>& a) noexcept {
        if (!a.call->wants_gate()) return;
        if (a.gates == 1) return add_sums<L>(a, c.count, c.keys(), a.key_gradients, A(-1));
        change_terms<L>(a, c.count, c.keys(), a.key_gradients, c.gate_rows(), key_term);
    }
    /// The gradients of the chunk's gates, all terms known. <S, dS> at the end of the chunk before
    /// it follows from the states in front of it.
    static void finish_gates(chunk<L> const& c, adjoint_chunk<L>& a) noexcept {
        if (!a.call->wants_gate()) return;
        sum_terms<L>(c, a);
        std::swap(a.from_end, a.from_front);
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
