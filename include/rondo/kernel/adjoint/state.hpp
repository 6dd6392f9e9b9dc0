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

/// A state whose rows are those of S^T, [width, depth]: as dO S^T reads it.
template <class A>
struct turned_state : head_state<A> {};

template <class L>
inline void scale_state(chunk<L> const& c, typename L::value const* factors,
                        turned_state<typename L::value> const& state) noexcept {
    for (index e = 0; e < c.width; ++e) {
        scale_row<L>(state.rows().at(e), state.rows().at(e), factors, c.depth);
    }
    if (c.call->what.normalized) {
        scale_row<L>(state.normalizer, state.normalizer, factors, c.depth);
    }
}

/// What a chunk leaves behind, as the forward pass has it, turned.
template <class L, bool CarriesKeys = false>
inline void write_state(chunk<L>& c, matrix<typename L::value> keys,
                        matrix<typename L::value> values, typename L::value const* carry,
                        turned_state<typename L::value> const& state,
                        turned_state<typename L::value> const& to) noexcept {
    index const count = whole_tiles(c.count);
    for_tiles<L>(c.width, c.depth, [&]<class Tile>(std::type_identity<Tile>, index e, index d) {
        Tile sum;
        sum.clear();
        auto next = c.ahead.take(count / tile_rows);
        sum.add(values.from(0, e).turned(), keys.from(0, d), count,
                [&] { lines_ahead::ask(next); });
        typename L::pack factors[Tile::packs];
        RONDO_UNROLL
        for (int p = 0; p < Tile::packs; ++p) factors[p] = L::load(carry + d + p * L::width);
        sum.each([&, from = state.rows().from(e, d), out = to.rows().from(e, d)](
                     typename L::pack& x, int r, int p) {
            auto const s = L::load(from.at(r, p * L::width));
            L::store(out.at(r, p * L::width),
                     CarriesKeys ? factors[p] * (s + x) : L::fma(factors[p], s, x));
        });
    });
}

/// dS^T, turned once between two changes of dS.
template <class L>
inline matrix<typename L::value> turn_gradient(
    adjoint_chunk<L>& a, head_state<typename L::value> const& d_state) noexcept {
    if (!a.turned_is_new) {
        turn<L>({d_state.s, d_state.row_step}, a.depth, a.width, a.turned_gradient());
    }
    a.turned_is_new = true;
    return a.turned_gradient();
}

/// dS = factors dS
template <class L>
inline void scale_gradient(chunk<L> const& c, adjoint_chunk<L>& a, typename L::value const* factors,
                           head_state<typename L::value> const& d_state) noexcept {
    if (are_ones<L>(factors, c.depth)) return;
    scale_state<L>(c, factors, d_state);
    a.turned_is_new = false;
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
inline void differentiate_state(chunk<L>& c, adjoint_chunk<L>& a, matrix<typename L::value> queries,
                                typename L::value const* carry,
                                head_state<typename L::value> const& d_state) noexcept {
    write_state<L>(c, queries.turned(), a.output_gradients, carry, d_state, d_state);
    a.turned_is_new = false;
}

/// The same with a chunk's last readers, behind which it is brought to the reference in front of
/// the chunk, dS = entry (carry dS + sum_i q_i dO_i^T). dS^T and, of a `state` that is given,
///
///     a.from_front(d) = sum_e S(d, e) dS(d, e),
///
/// what the state adds to the gradient of every log decay before it, are taken
/// from what is in the first cache. All channels go into one when the gate has one.
template <class L>
inline void leave_state(chunk<L>& c, adjoint_chunk<L>& a, matrix<typename L::value> queries,
                        typename L::value const* carry, typename L::value const* entry,
                        head_state<typename L::value> const& d_state,
                        turned_state<typename L::value> const* state) noexcept {
    using P = typename L::pack;
    constexpr index side = std::max(tile_rows, L::width);
    bool const normalized = c.call->what.normalized, enters = entry != a.ones;
    bool const contracts = state != nullptr;
    matrix<typename L::value> const rows = d_state.rows(), turned = a.turned_gradient();
    matrix<typename L::value> const with = contracts ? state->rows() : turned;
    P const zero = L::broadcast(typename L::value(0));
    P total = zero;
    for (index first = 0; first < c.depth; first += side) {
        write_rows<L>(c, queries.turned(), a.output_gradients, carry, d_state, d_state, first,
                      first + side);
        for (index d = first; d < first + side; d += L::width) {
            P product = contracts && normalized
                            ? L::load(state->normalizer + d) * L::load(d_state.normalizer + d)
                            : zero;
            for (index e = 0; e < c.width; e += L::width) {
                P block[L::width];
                RONDO_UNROLL
                for (int i = 0; i < L::width; ++i) {
                    auto* const at = rows.at(d + i, e);
                    block[i] = L::load(at);
                    if (!enters) continue;
                    block[i] = L::broadcast(entry[d + i]) * block[i];
                    L::store(at, block[i]);
                }
                L::turn(block);
                RONDO_UNROLL
                for (int i = 0; i < L::width; ++i) {
                    L::store(turned.at(e + i, d), block[i]);
                    if (contracts) product = L::fma(L::load(with.at(e + i, d)), block[i], product);
                }
            }
            if (a.gates > 1) L::store(a.from_front + d, product);
            total = total + product;
        }
    }
    if (a.gates == 1) a.from_front[0] = L::sum(total);
    a.turned_is_new = true;
}

/// The same of the normalizer's gradient, before that of S.
template <class L>
inline void differentiate_normalizer(chunk<L> const& c, adjoint_chunk<L> const& a,
                                     matrix<typename L::value> queries,
                                     typename L::value const* carry, typename L::value const* entry,
                                     head_state<typename L::value> const& d_state) noexcept {
    for (index d = 0; c.call->what.normalized && d < c.depth; d += L::width) {
        auto sum = L::load(carry + d) * L::load(d_state.normalizer + d);
        for (index i = 0; i < c.count; ++i) {
            sum = L::fma(L::broadcast(a.d_den[i]), L::load(queries.at(i, d)), sum);
        }
        L::store(d_state.normalizer + d, L::load(entry + d) * sum);
    }
}

}  // namespace rondo::inline RONDO_ISA::detail
