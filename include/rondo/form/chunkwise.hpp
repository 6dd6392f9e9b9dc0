/// @file
/// The chunkwise form: all pairs within a chunk, a state between chunks (Hua et al. 2022; Sun et
/// al. 2023, section 2.3; Yang et al. 2023, section 4). The quadratic form is one chunk as long as
/// the sequence.
#pragma once

#include <rondo/form/site.hpp>
#include <rondo/kernel/delta.hpp>
#include <rondo/kernel/state.hpp>

namespace rondo::inline RONDO_ISA::detail {

template <class L, class Weights>
struct chunkwise_form {
    using A = typename L::value;

    /// Takes the places [begin, begin + count) of a pass, at most c.rows of them.
    static void advance(chunk<L>& c, site<A> const& where, head_state<A> const& state,
                        pass const& how, index begin, index count) noexcept {
        c.count = count;
        c.one_window = !(how.read && how.write);
        auto const token = [&](index t) { return how.token(begin + t, where.length); };
        auto const gate_row = [&](index t) { return where.key_side(c.call->gate, token(t)); };
        if (!Weights::load_gates(c, state, gate_row, how)) {
            index const half =
                count > tile_rows ? (count / 2 + tile_rows - 1) / tile_rows * tile_rows : count / 2;
            advance(c, where, state, how, begin, half);
            return advance(c, where, state, how, begin + half, count - half);
        }
        if (how.write) load_written(c, where, token);
        if (how.read || c.call->what.delta) {
            for (index tile = 0; tile < count; tile += tile_rows) {
                Weights::enter_tile(c, tile);
                if (c.call->what.delta) solve_tile<L, Weights>(c, tile, state);
                for (index g = 0; how.read && g < c.call->group(); ++g) {
                    read(c, where, state, how, token, tile, g);
                }
                Weights::leave_tile(c, tile);
            }
        }
        if (!how.write) return;
        matrix<A> const keys = Weights::finish(c);
        write_state<L, Weights>(c, keys, state);
        if (c.call->what.normalized) write_normalizer<L, Weights>(c, keys, state);
    }

private:
    template <class Token>
    static void load_written(chunk<L>& c, site<A> const& where, Token const& token) noexcept {
        problem<A> const& call = *c.call;
        for (index t = 0; t < c.count; ++t) {
            A* const key = c.keys().at(t);
            load_row<L>(key, where.key_side(call.k, token(t)), call.depth, c.depth);
            apply_feature<L>(call.what.feature, key, call.depth, c.depth);
            load_row<L>(c.values().at(t), where.key_side(call.v, token(t)), call.width, c.width);
            if (call.what.delta) {
                row const beta = where.key_side(call.beta, token(t));
                c.beta[t] = load_element<A>(beta.data, beta.kind);
            }
        }
        index const rows = (c.count + tile_rows - 1) / tile_rows * tile_rows;
        fill<L>(c.keys().at(c.count), A(0), (rows - c.count) * c.depth);
        fill<L>(c.values().at(c.count), A(0), (rows - c.count) * c.width);
        fill<L>(c.beta + c.count, A(0), rows - c.count);
        Weights::weigh_keys(c);
    }

    /// The outputs of query head g for the tile's readers.
    template <class Token>
    static void read(chunk<L>& c, site<A> const& where, head_state<A> const& state, pass const& how,
                     Token const& token, index tile, index g) noexcept {
        problem<A> const& call = *c.call;
        index const readers = std::min<index>(tile_rows, c.count - tile);
        for (index r = 0; r < tile_rows; ++r) {
            A* const query = c.raw_queries().at(r);
            if (r < readers) {
                load_row<L>(query, where.query_side(call.q, g, token(tile + r)), call.depth,
                            c.depth);
                apply_feature<L>(call.what.feature, query, call.depth, c.depth);
            } else {
                fill<L>(query, A(0), c.depth);
            }
        }
        Weights::weigh_queries(c, tile);
        index const keys = how.write ? tile + tile_rows : 0;
        if (how.write) {
            Weights::pair(c, tile);
            if (how.strict) {
                for (index r = 0; r < tile_rows; ++r) *c.score_rows().at(r, tile + r) = A(0);
            }
        }
        read_tile<L>(c, Weights::state_queries(c), state.s, keys, c.out_rows());
        A sums[tile_rows] = {};
        if (call.what.normalized) {
            sum_tile<L>(c, Weights::state_queries(c), state.normalizer, keys, sums);
        }
        for (index r = 0; r < readers; ++r) {
            where.template leave<L>(how, g, token(tile + r), c.out_rows().at(r), sums[r],
                                    c.partial);
        }
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
