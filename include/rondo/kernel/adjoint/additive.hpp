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

    /// terms(i) += dD_i
    static void add_readers(chunk<L> const& c, adjoint_chunk<L>& a) noexcept {
        matrix<A> const inverse = additive_weights<L>::inverse(c);
        bool const rows = a.gates > 1;
        for (index i = 0; i < c.count; ++i) {
            A *const q = c.reader_rows.at(i), *const d_q = a.query_gradients.at(i);
            A* const term = a.gate_terms().at(i);
            auto sum = L::broadcast(A(0));
            for (index d = 0; d < c.depth; d += L::width) {
                auto const factor = L::load(inverse.at(i, rows ? d : 0));
                auto const product = L::load(q + d) * L::load(d_q + d) * factor;
                sum = sum + product;
                if (rows) L::store(term + d, L::load(term + d) - product);
            }
            if (!rows) term[0] -= L::sum(sum);
        }
    }

    /// terms(j) = dz_j; moves d_state.sum past the chunk.
    static void finish_gates(chunk<L> const& c, adjoint_chunk<L>& a, turned_state<A> const&,
                             head_state<A> const& d_state, bool writes) noexcept {
        bool const rows = a.gates > 1;
        for (index j = c.count - 1; j >= 0; --j) {
            A *const key = c.keys().at(j), *const d_k = a.key_gradients.at(j);
            A *const weights = c.gate_rows().at(j), *const term = a.gate_terms().at(j);
            auto sum = L::broadcast(A(0));
            for (index d = 0; writes && !rows && d < c.depth; d += L::width) {
                sum = L::fma(L::load(key + d), L::load(d_k + d), sum);
            }
            if (!rows) {
                d_state.sum[0] += term[0];
                term[0] = writes ? d_state.sum[0] * weights[0] + L::sum(sum) : d_state.sum[0];
            }
            for (index d = 0; rows && d < c.depth; d += L::width) {
                auto const behind = L::load(d_state.sum + d) + L::load(term + d);
                L::store(d_state.sum + d, behind);
                if (!writes) continue;
                auto const own = L::load(key + d) * L::load(d_k + d);
                L::store(term + d, L::fma(behind, L::load(weights + d), own));
            }
        }
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
