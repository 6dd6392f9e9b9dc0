/// @file
/// The adjoint of the state, O_i += S^T read(i) q_i and S' = carry S + sum_j write(j) k_j v_j^T.
/// dS is a state of its own that walks from the chunk's end to its start:
///
///     dq_i += read(i) S dO_i,   dk_j += write(j) dS' v_j,   dv_j += dS'^T write(j) k_j,
///     dS = carry dS' + sum_i read(i) q_i dO_i^T
#pragma once

#include <rondo/kernel/adjoint/chunk.hpp>
#include <rondo/kernel/state.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// A state transposed, [width, depth], in scratch that the next one takes.
template <class L>
inline matrix<typename L::value> turn_state(adjoint_chunk<L> const& a,
                                            head_state<typename L::value> const& state) noexcept {
    turn<L>({state.s, state.row_step}, a.depth, a.width, a.turned_state());
    return a.turned_state();
}

/// to(i, d) += factors(i) extra(i) normalizer(d): what rows have of the state's normalizer
template <class L>
inline void add_normalizer(chunk<L> const& c, typename L::value const* factors,
                           typename L::value const* extra, typename L::value const* normalizer,
                           matrix<typename L::value> to) noexcept {
    using A = typename L::value;
    for (index i = 0; c.call->what.normalized && i < c.count; ++i) {
        A const product =
            (factors == nullptr ? A(1) : factors[i]) * (extra == nullptr ? 1 : extra[i]);
        auto const factor = L::broadcast(product);
        for (index d = 0; d < c.depth; d += L::width) {
            L::store(to.at(i, d), L::fma(factor, L::load(normalizer + d), L::load(to.at(i, d))));
        }
    }
}

/// dS = carry dS + sum_i q_i dO_i^T over the queries as the state meets them
template <class L>
inline void differentiate_state(chunk<L>& c, adjoint_chunk<L> const& a,
                                matrix<typename L::value> queries, typename L::value const* carry,
                                head_state<typename L::value> const& d_state) noexcept {
    write_state<L>(c, queries.turned(), a.output_gradients, carry, d_state, d_state);
    if (!c.call->what.normalized) return;
    for (index d = 0; d < c.depth; d += L::width) {
        auto sum = L::load(carry + d) * L::load(d_state.normalizer + d);
        for (index i = 0; i < c.count; ++i) {
            sum = L::fma(L::broadcast(a.d_den[i]), L::load(queries.at(i, d)), sum);
        }
        L::store(d_state.normalizer + d, sum);
    }
}

/// products(d) = sum_e S(d, e) dS(d, e): what the state in front of the chunk adds to the gradient
/// of every log decay before it. All channels into one when the gate has one.
template <class L>
inline void contract_states(chunk<L> const& c, index gates,
                            head_state<typename L::value> const& state,
                            head_state<typename L::value> const& d_state,
                            typename L::value* products) noexcept {
    using A = typename L::value;
    fill<L>(products, A(0), gates);
    for (index d = 0; d < c.call->depth; ++d) {
        auto sum = L::broadcast(A(0));
        for (index e = 0; e < c.width; e += L::width) {
            index const at = d * c.width + e;
            sum = L::fma(L::load(state.s + at), L::load(d_state.s + at), sum);
        }
        A const normalizers =
            c.call->what.normalized ? state.normalizer[d] * d_state.normalizer[d] : A(0);
        products[gates == 1 ? 0 : d] += L::sum(sum) + normalizers;
    }
}

}  // namespace rondo::inline RONDO_ISA::detail
