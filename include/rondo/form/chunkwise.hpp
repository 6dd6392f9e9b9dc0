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
        for (index t = 0; t < count; ++t) c.tokens[t] = how.token(begin + t, where.length);
        auto const gates = where.key_side(c.call->gate);
        auto const gate_row = [&](index t) { return gates[c.tokens[t]]; };
        if (!Weights::load_gates(c, state, gate_row, how)) {
            index const half =
                count > tile_rows ? (count / 2 + tile_rows - 1) / tile_rows * tile_rows : count / 2;
            advance(c, where, state, how, begin, half);
            return advance(c, where, state, how, begin + half, count - half);
        }
        if (how.write) load_written(c, where);
        if (how.read || c.call->what.delta) {
            for (index tile = 0; tile < count; tile += tile_rows) {
                look_ahead(c, where, how, (c.next_head < 0 ? begin + count : c.next_place) + tile);
                Weights::enter_tile(c, tile);
                if (c.call->what.delta) solve_tile<L, Weights>(c, tile, state);
                for (index g = 0; how.read && g < c.call->group(); ++g) {
                    read(c, where, state, how, tile, g);
                }
                Weights::leave_tile(c, tile);
            }
        }
        if (!how.write) return;
        matrix<A> const keys = Weights::finish(c);
        write_state<L, Weights>(c, keys, state);
        if (c.call->what.normalized) write_normalizer<L, Weights>(c, keys, state);
    }

    /// Loads keys, values and strengths of the chunk's tokens, and weighs the keys.
    static void load_written(chunk<L>& c, site<A> const& where) noexcept {
        problem<A> const& call = *c.call;
        load_rows(c, where.key_side(call.k), 0, c.count, call.depth, c.keys());
        apply(c, c.count, c.keys());
        load_rows(c, where.key_side(call.v), 0, c.count, call.width, c.values());
        auto const beta = where.key_side(call.beta);
        for (index t = 0; call.what.delta && t < c.count; ++t) {
            c.beta[t] = load_element<A>(beta[c.tokens[t]].data, call.beta.kind);
        }
        index const rows = (c.count + tile_rows - 1) / tile_rows * tile_rows;
        fill<L>(c.keys().at(c.count), A(0), (rows - c.count) * c.depth);
        fill<L>(c.values().at(c.count), A(0), (rows - c.count) * c.width);
        fill<L>(c.beta + c.count, A(0), rows - c.count);
        Weights::weigh_keys(c);
    }

    /// Packs the rows of the chunk's tokens [begin, begin + count).
    static void load_rows(chunk<L> const& c, rows_by_token const& from, index begin, index count,
                          index channels, matrix<A> to) noexcept {
        for (index t = 0; t < count; ++t) {
            load_row<L>(to.at(t), from[c.tokens[begin + t]], channels, to.row_step);
        }
    }

    /// Maps rows of keys or queries.
    static void apply(chunk<L> const& c, index count, matrix<A> rows) noexcept {
        feature_kind const feature = c.call->what.feature;
        if (feature == feature_kind::identity) return;
        for (index t = 0; t < count; ++t) {
            apply_feature<L>(feature, rows.at(t), c.call->depth, c.depth);
        }
    }

private:
    /// Notes the rows that the next chunk will read at its tile.
    static void look_ahead(chunk<L>& c, site<A> where, pass const& how, index begin) noexcept {
        problem<A> const& call = *c.call;
        if (c.next_head >= 0) where.head = c.next_head;
        c.ahead.clear();
        index const count = std::min<index>(tile_rows, where.length - begin);
        auto const note = [&](rows_by_token const& rows, index channels) {
            for (index r = 0; r < count; ++r) {
                c.ahead.add(rows[how.token(begin + r, where.length)], channels);
            }
        };
        if (how.write) {
            note(where.key_side(call.k), call.depth);
            note(where.key_side(call.v), call.width);
            if (call.what.per_channel()) note(where.key_side(call.gate), call.depth);
        }
        for (index g = 0; how.read && g < call.group(); ++g) {
            note(where.query_side(call.q, g), call.depth);
            note(where.query_side(call.o, g), call.width);
        }
    }

    /// The outputs of query head g for the tile's readers.
    static void read(chunk<L>& c, site<A> const& where, head_state<A> const& state, pass const& how,
                     index tile, index g) noexcept {
        problem<A> const& call = *c.call;
        index const readers = std::min<index>(tile_rows, c.count - tile);
        load_rows(c, where.query_side(call.q, g), tile, readers, call.depth, c.raw_queries());
        apply(c, readers, c.raw_queries());
        fill<L>(c.raw_queries().at(readers), A(0), (tile_rows - readers) * c.depth);
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
        where.template leave<L>(how, g, c.tokens + tile, readers, c.out_rows(), sums, c.partial);
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
