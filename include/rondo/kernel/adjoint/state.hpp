/// @file
/// The adjoint of the state, O_i += S^T read(i) q_i and S' = carry S + sum_j write(j) k_j v_j^T.
/// dS is a state of its own that walks from the chunk's end to its start:
///
///     dq_i += read(i) S dO_i,   dk_j += write(j) dS' v_j,   dv_j += dS'^T write(j) k_j,
///     dS = carry dS' + sum_i read(i) q_i dO_i^T
#pragma once

#include <rondo/kernel/adjoint/chunk.hpp>
#include <rondo/kernel/pairs.hpp>
#include <rondo/kernel/state.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// to(i, d) = sum_e rows(i, e) S(d, e) + extra(i) normalizer(d)
template <class L>
inline void read_transposed(chunk<L> const& c, matrix<typename L::value> rows,
                            typename L::value const* extra,
                            head_state<typename L::value> const& state,
                            matrix<typename L::value> to) noexcept {
    for (index i = 0; i < c.count; i += tile_rows) {
        for (index d = 0; d < c.depth; d += tile_rows) {
            dot_tile<L>({rows.at(i), rows.row_step}, {state.s + d * c.width, c.width}, c.width,
                        {to.at(i, d), to.row_step});
        }
    }
    if (!c.call->what.normalized) return;
    for (index i = 0; i < c.count; ++i) {
        auto const factor = L::broadcast(extra == nullptr ? 1 : extra[i]);
        for (index d = 0; d < c.depth; d += L::width) {
            auto const sum = L::fma(factor, L::load(state.normalizer + d), L::load(to.at(i, d)));
            L::store(to.at(i, d), sum);
        }
    }
}

/// dS = factor dS + sum_i read(i) q_i dO_i^T; the factors are a.carry when `moves` is set, else 1.
template <class L>
inline void differentiate_state(chunk<L> const& c, adjoint_chunk<L> const& a, bool moves,
                                matrix<typename L::value> read_queries,
                                head_state<typename L::value> const& d_state) noexcept {
    // The very product of the forward state, over other rows.
    chunk<L> readers = c;
    readers.v = a.d_num;
    readers.running = a.carry;
    if (moves) {
        write_state<L, per_channel<L>>(readers, read_queries, d_state);
    } else {
        write_state<L, unweighted<L>>(readers, read_queries, d_state);
    }
    if (!c.call->what.normalized) return;
    for (index d = 0; d < c.depth; d += L::width) {
        auto sum = L::load(d_state.normalizer + d);
        if (moves) sum = sum * L::load(a.carry + d);
        for (index i = 0; i < c.count; ++i) {
            sum = L::fma(L::broadcast(a.d_den[i]), L::load(read_queries.at(i, d)), sum);
        }
        L::store(d_state.normalizer + d, sum);
    }
}

/// S = factor S, row by row
template <class L>
inline void scale_state(chunk<L> const& c, typename L::value const* factors,
                        head_state<typename L::value> const& state) noexcept {
    for (index d = 0; d < c.depth; ++d) {
        if (factors[d] == 1) continue;
        state.normalizer[d] *= factors[d];
        auto const factor = L::broadcast(factors[d]);
        for (index e = 0; e < c.width; e += L::width) {
            auto* const at = state.s + d * c.width + e;
            L::store(at, factor * L::load(at));
        }
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
