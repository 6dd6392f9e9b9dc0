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

    /// What the readers add to the gradients of the gates.
    static void add_readers(chunk<L> const& c, adjoint_chunk<L>& a) noexcept {
        if (!a.call->wants_gate()) return;
        add_terms<L>(a, c.count, c.reader_rows, a.query_gradients, A(1));
    }
    /// The gradients of the chunk's gates, all readers and the written side known. <S, dS> at the
    /// end of the chunk before it follows from the states in front of it.
    static void finish_gates(chunk<L> const& c, adjoint_chunk<L>& a, turned_state<A> const& state,
                             head_state<A> const& d_state, bool) noexcept {
        if (!a.call->wants_gate()) return;
        add_terms<L>(a, c.count, c.keys(), a.key_gradients, A(-1));
        sum_terms<L>(c, a);
        contract_states<L>(c, a, state, d_state);
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
