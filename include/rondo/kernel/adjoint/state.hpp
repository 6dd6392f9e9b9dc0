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

/// to(i, d) = sum_e rows(i, e) S(d, e) + extra(i) normalizer(d), the rows given transposed
template <class L>
inline void read_transposed(chunk<L>& c, adjoint_chunk<L>& a, matrix<typename L::value> turned,
                            typename L::value const* extra,
                            head_state<typename L::value> const& state,
                            matrix<typename L::value> to) noexcept {
    using A = typename L::value;
    // With lanes over tokens the state is read as it lies, and no lanes have to be added up.
    matrix<A> const s{state.s, state.row_step}, product{a.product, a.columns};
    for_tiles<L>(c.depth, padded<L>(c.count),
                 [&]<class Tile>(std::type_identity<Tile>, index d, index token) {
                     Tile sum;
                     sum.clear();
                     auto next = c.ahead.take(c.width / tile_rows);
                     sum.add(s.from(d), turned.from(0, token), c.width,
                             [&] { lines_ahead::ask(next); });
                     sum.store(product.from(d, token));
                 });
    turn<L>(product, c.depth, whole_tiles(c.count), to);
    if (!c.call->what.normalized) return;
    for (index i = 0; i < c.count; ++i) {
        auto const factor = L::broadcast(extra == nullptr ? 1 : extra[i]);
        for (index d = 0; d < c.depth; d += L::width) {
            auto const sum = L::fma(factor, L::load(state.normalizer + d), L::load(to.at(i, d)));
            L::store(to.at(i, d), sum);
        }
    }
}

/// dS = carry dS + sum_i q_i dO_i^T over the queries as the state meets them
template <class L>
inline void differentiate_state(chunk<L>& c, adjoint_chunk<L> const& a,
                                typename L::value const* carry,
                                head_state<typename L::value> const& d_state) noexcept {
    write_state<L>(c, c.queries(), a.output_gradients(), carry, d_state);
    if (!c.call->what.normalized) return;
    for (index d = 0; d < c.depth; d += L::width) {
        auto sum = L::load(carry + d) * L::load(d_state.normalizer + d);
        for (index i = 0; i < c.count; ++i) {
            sum = L::fma(L::broadcast(a.d_den[i]), L::load(c.queries().at(i, d)), sum);
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
