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
    write_state<L>(c, queries, a.output_gradients, carry, d_state, d_state);
    if (!c.call->what.normalized) return;
    for (index d = 0; d < c.depth; d += L::width) {
        auto sum = L::load(carry + d) * L::load(d_state.normalizer + d);
        for (index i = 0; i < c.count; ++i) {
            sum = L::fma(L::broadcast(a.d_den[i]), L::load(queries.at(i, d)), sum);
        }
        L::store(d_state.normalizer + d, sum);
    }
}

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

/// products(d) = sum_e S(d, e) dS(d, e): what the state in front of the chunk adds to the gradient
/// of every log decay before it. All channels into one when the gate has one.
template <class L>
inline void contract_states(chunk<L> const& c, index gates,
                            head_state<typename L::value> const& state,
                            head_state<typename L::value> const& d_state,
                            typename L::value* products) noexcept {
    bool const normalized = c.call->what.normalized;
    auto total = L::broadcast(typename L::value(0));
    sum_rows<L>(c.depth, c.width, {state.s, state.row_step}, {d_state.s, d_state.row_step},
                [&](index d, index, auto sums) {
                    if (normalized) {
                        auto const sum = L::load(state.normalizer + d);
                        sums = L::fma(sum, L::load(d_state.normalizer + d), sums);
                    }
                    if (gates > 1) return L::store(products + d, sums);
                    total = total + sums;
                });
    if (gates == 1) products[0] = L::sum(total);
}

}  // namespace rondo::inline RONDO_ISA::detail
