/// @file
/// The adjoint of the state, O_i += S^T read(i) q_i and S' = carry S + sum_j write(j) k_j v_j^T.
/// dS is a state of its own that walks from the chunk's end to its start:
///
///     dq_i += read(i) S dO_i,   dk_j += write(j) dS' v_j,   dv_j += dS'^T write(j) k_j,
///     dS = carry dS' + sum_i read(i) q_i dO_i^T
///
/// Both lie by columns, as dq and dk read them; the products for dv lie across.
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

/// leave(sum_j k_j v_j^T, row, column) of the weighted keys and values, by columns, tile by tile.
template <class L, class Leave>
inline void sum_outer(chunk<L>& c, matrix<typename L::value> keys, matrix<typename L::value> values,
                      Leave const& leave) noexcept {
    index const count = whole_tiles(c.count);
    for_tiles<L>(c.width, c.depth, [&]<class Tile>(std::type_identity<Tile>, index e, index d) {
        Tile sum;
        sum.clear();
        auto next = c.ahead.take(count / tile_rows);
        sum.add(values.from(0, e).turned(), keys.from(0, d), count,
                [&] { lines_ahead::ask(next); });
        leave(sum, e, d);
    });
}

/// What a chunk leaves behind, as the forward pass has it, turned.
template <class L, bool CarriesKeys = false>
inline void write_state(chunk<L>& c, matrix<typename L::value> keys,
                        matrix<typename L::value> values, typename L::value const* carry,
                        turned_state<typename L::value> const& state,
                        turned_state<typename L::value> const& to) noexcept {
    sum_outer<L>(c, keys, values, [&]<class Tile>(Tile& sum, index e, index d) {
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

/// dS = factors dS
template <class L>
inline void scale_gradient(chunk<L> const& c, typename L::value const* factors,
                           turned_state<typename L::value> const& d_state) noexcept {
    if (!are_ones<L>(factors, c.depth)) scale_state<L>(c, factors, d_state);
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
                                turned_state<typename L::value> const& d_state) noexcept {
    write_state<L>(c, queries, a.output_gradients, carry, d_state, d_state);
}

/// The same with a chunk's last readers, behind which it is brought to the reference in front of
/// the chunk, dS = entry (carry dS + sum_i q_i dO_i^T). Of a `state` that is given,
///
///     a.from_front(d) = sum_e S(d, e) dS(d, e),
///
/// what the state adds to the gradient of every log decay before it, is taken from registers. All
/// channels go into one when the gate has one.
template <class L>
inline void leave_state(chunk<L>& c, adjoint_chunk<L>& a, matrix<typename L::value> queries,
                        typename L::value const* carry, typename L::value const* entry,
                        turned_state<typename L::value> const& d_state,
                        turned_state<typename L::value> const* state) noexcept {
    using P = typename L::pack;
    bool const contracts = state != nullptr;
    auto* const products = a.gates > 1 ? a.from_front : a.row[0];
    P const zero = L::broadcast(typename L::value(0));
    for (index d = 0; contracts && d < c.depth; d += L::width) {
        L::store(products + d, c.call->what.normalized ? L::load(state->normalizer + d) *
                                                             L::load(d_state.normalizer + d)
                                                       : zero);
    }
    sum_outer<L>(c, queries, a.output_gradients, [&]<class Tile>(Tile& sum, index e, index d) {
        P carried[Tile::packs], entered[Tile::packs], product[Tile::packs];
        RONDO_UNROLL
        for (int p = 0; p < Tile::packs; ++p) {
            carried[p] = L::load(carry + d + p * L::width);
            entered[p] = L::load(entry + d + p * L::width);
            product[p] = zero;
        }
        matrix<typename L::value> const to = d_state.rows().from(e, d);
        sum.each([&, to](P& x, int r, int p) {
            x = entered[p] * L::fma(carried[p], L::load(to.at(r, p * L::width)), x);
            L::store(to.at(r, p * L::width), x);
        });
        if (!contracts) return;
        sum.each([&, with = state->rows().from(e, d)](P& x, int r, int p) {
            product[p] = L::fma(L::load(with.at(r, p * L::width)), x, product[p]);
        });
        RONDO_UNROLL
        for (int p = 0; p < Tile::packs; ++p) {
            auto* const all = products + d + p * L::width;
            L::store(all, L::load(all) + product[p]);
        }
    });
    if (!contracts || a.gates > 1) return;
    P total = zero;
    for (index d = 0; d < c.depth; d += L::width) total = total + L::load(products + d);
    a.from_front[0] = L::sum(total);
}

/// The same of the normalizer's gradient, before that of S.
template <class L>
inline void differentiate_normalizer(chunk<L> const& c, adjoint_chunk<L> const& a,
                                     matrix<typename L::value> queries,
                                     typename L::value const* carry, typename L::value const* entry,
                                     turned_state<typename L::value> const& d_state) noexcept {
    for (index d = 0; c.call->what.normalized && d < c.depth; d += L::width) {
        auto sum = L::load(carry + d) * L::load(d_state.normalizer + d);
        for (index i = 0; i < c.count; ++i) {
            sum = L::fma(L::broadcast(a.d_den[i]), L::load(queries.at(i, d)), sum);
        }
        L::store(d_state.normalizer + d, L::load(entry + d) * sum);
    }
}

}  // namespace rondo::inline RONDO_ISA::detail
