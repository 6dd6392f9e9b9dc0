/// @file
/// The adjoint of the additive decays. With k' = k exp(z - m), q' = q / D and the running maximum m
/// taken as a fixed reference, which the output does not depend on,
///
///     dq_i = dq'_i / D_i,   dk_j = dk'_j exp(z_j - m),   dD_i = -(q'_i dq'_i) / D_i,
///     dz_j = k'_j dk'_j + exp(z_j - m) sum_(i >= j) dD_i.
///
/// The sum walks from right to left in the place of the state's `sum`, and is brought to the
/// reference of an earlier chunk by the same factor as S. A token with z = -inf has weight 0, and
/// so has its gradient. Chunks that the forward pass halves are halved here too.
#pragma once

#include <rondo/kernel/additive.hpp>
#include <rondo/kernel/adjoint/weights.hpp>

namespace rondo::inline RONDO_ISA::detail {

template <class L>
struct adjoint_weights<L, additive_weights<L>> : adjoint_weights<L, unweighted<L>> {
    using A = typename L::value;
    static constexpr bool rescales = true;

    static void weigh_written(chunk<L>& c, adjoint_chunk<L>& a,
                              [[maybe_unused]] bool gradients) noexcept {
        for (index d = 0; d < c.depth; ++d) a.carry[d] = c.running[a.gates == 1 ? 0 : d];
    }
    /// Weighing happened in place.
    static void weigh_readers(chunk<L> const& c, adjoint_chunk<L>& a, index tile, index) noexcept {
        std::copy_n(c.raw_queries().data, tile_rows * c.depth, a.queries().at(tile));
    }

    /// terms(i) += dD_i; turns dq' into dq.
    static void add_readers(chunk<L> const& c, adjoint_chunk<L>& a) noexcept {
        matrix<A> const inverse{c.decayed, c.one_window ? 0 : c.gates};
        for (index i = 0; i < c.count; ++i) {
            A const* const q = a.queries().at(i);
            A* const d_q = a.query_gradients().at(i);
            for (index d = 0; d < c.depth; ++d) {
                index const gate = a.gates == 1 ? 0 : d;
                A const factor = *inverse.at(i, gate);
                d_q[d] *= factor;
                *a.gate_terms().at(i, gate) -= q[d] * d_q[d];
            }
        }
    }

    /// terms(j) = dz_j; turns dk' into dk, and moves d_state.sum past the chunk.
    static void finish_gates(chunk<L> const& c, adjoint_chunk<L>& a, head_state<A> const& d_state,
                             bool writes) noexcept {
        for (index j = c.count - 1; j >= 0; --j) {
            A* const term = a.gate_terms().at(j);
            for (index gate = 0; gate < a.gates; ++gate) {
                d_state.sum[gate] += term[gate];
                term[gate] = d_state.sum[gate];
            }
            if (writes) finish_token(c, a, j);
        }
    }

private:
    static void finish_token(chunk<L> const& c, adjoint_chunk<L>& a, index j) noexcept {
        A const *const weights = c.gate_rows().at(j), *const key = c.keys().at(j);
        A *const d_k = a.key_gradients().at(j), *const d_z = a.gate_terms().at(j);
        for (index gate = 0; gate < a.gates; ++gate) d_z[gate] *= weights[gate];
        for (index d = 0; d < c.depth; ++d) {
            index const gate = a.gates == 1 ? 0 : d;
            d_z[gate] += key[d] * d_k[d];
            d_k[d] *= weights[gate];
        }
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
