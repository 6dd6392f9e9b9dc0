/// @file
/// The steps of a chunk that know nothing of what its tokens write: the outer product of key and
/// value, or what the delta rule solves for.
#pragma once

#include <rondo/form/site.hpp>
#include <rondo/kernel/packing.hpp>
#include <rondo/kernel/pairs.hpp>

namespace rondo::inline RONDO_ISA::detail {

template <class L, class Weights>
struct chunk_steps {
    using A = typename L::value;

    /// Notes the chunk's tokens and takes their gates; false when it must be halved first. Rows are
    /// weighed at once where that can be.
    static bool enter(chunk<L>& c, site<A> const& where, head_state<A> const& state,
                      pass const& how, index begin, index count) noexcept {
        c.count = count;
        c.one_window = !(how.read && how.write);
        for (index t = 0; t < count; ++t) c.tokens[t] = how.token(begin + t, where.length);
        c.unweighed_keys = c.unweighed_queries = {};
        if constexpr (Weights::weighs_rows) {
            packing<L>::note_unweighed(c, where.key_side(c.call->k), where.query_side(c.call->q, 0),
                                       how);
        }
        auto gates = where.key_side(c.call->gate);
        index const* tokens = c.tokens;
        if constexpr (turns_rows<L>) {
            c.turns.hold(c.tokens, count);
            if (c.turns.widens_gates()) tokens = c.turns.widen(gates, tokens, count);
        }
        return Weights::load_gates(c, state, gates, tokens, how);
    }

    /// Finds and weighs readers [first, first + count) of the chunk, rows of queries or of keys: in
    /// whole packs, as right factors too, or as left factors alone.
    static void find_readers(chunk<L>& c, rows_by_token const& from, pass const& how, index first,
                             index count, bool in_packs = false) noexcept {
        if (c.unweighed_queries.data != nullptr) {
            c.reader_rows = packing<L>::take_weighed(c, c.queries());
            return;
        }
        changing_rows<L> const rows{from, c.queries(), Weights::query_factors(c).from(first)};
        c.reader_rows = packing<L>::find(c, rows, how, first, count, in_packs, {}, in_packs);
    }

    /// Notes the rows that the next chunk will read, or this head's share of them.
    static void look_ahead(chunk<L>& c, site<A> const& where, pass const& how,
                           index behind) noexcept {
        bool const alone = c.next_place < 0;
        heads_ahead const heads = alone ? heads_ahead{where.head} : c.ask;
        index const place = alone ? behind : c.next_place;
        index const count = std::clamp<index>(where.length - place, 0, c.count);
        index const first = heads.share(count), share = heads.share(count, 1) - first;
        for (index r = 0; r < share; ++r) {
            c.next_tokens[r] = how.token(place + first + r, where.length);
        }
        c.ahead.clear();
        index const together = heads.count > 1 ? 1 : share;
        for (index r = 0; r < share; r += together) {
            note_rows(c, where, how, heads, c.next_tokens + r, together);
        }
        c.ahead.close();
    }

    /// The values as the state behind the chunk has them.
    static matrix<A> weigh_values(chunk<L> const& c, A const* factors) noexcept {
        if (factors == nullptr) return c.values();
        matrix<A> const to{c.written, c.width};
        for (index j = 0; j < whole_tiles(c.count); ++j) {
            scale_row<L>(to.at(j), c.values().at(j), factors[j], c.width);
        }
        return to;
    }

    /// The outputs of query head g for the readers [first, first + count).
    static void read(chunk<L>& c, site<A> const& where, head_state<A> const& state, pass const& how,
                     index first, index count, index g) noexcept {
        if (how.write) score<L, Weights>(c, first, count, how.strict, c.score_rows());
        A const* const factors = Weights::read_factors(c, first);
        bool const directly = where.template leaves_packs<L>();
        A* rows[chunk<L>::most_readers];
        auto const to = where.query_side(c.call->o, g);
        for (index r = 0; r < whole_tiles(count); ++r) {
            bool const mine = directly && r < count;
            rows[r] =
                mine ? reinterpret_cast<A*>(to[c.tokens[first + r]].data) : c.out_rows().at(r);
        }
        auto const scale = L::broadcast(directly && how.finish ? c.call->scale : A(1));
        bool const add = directly && how.accumulate;
        index const left = directly ? c.call->width : c.width;
        for_tiles<L>(whole_tiles(count), c.width,
                     [&]<class Tile>(std::type_identity<Tile>, index row, index e) {
                         index const keys = how.write ? first + row + Tile::rows : 0;
                         Tile sum;
                         read_tile(c, factors, state, keys, row, e, sum);
                         A* own[Tile::rows];
                         std::copy_n(rows + row, Tile::rows, own);
                         auto const at = [=](int r, int p) { return own[r] + e + p * L::width; };
                         // Of a row of packs only the last may be short.
                         index const rest = std::min<index>(Tile::lanes, left - e);
                         auto const lanes = [rest](int p) {
                             return p + 1 < Tile::packs ? L::width : rest - p * L::width;
                         };
                         if (add) {
                             sum.each([=](typename L::pack& x, int r, int p) {
                                 x = x + L::load(at(r, p), lanes(p));
                             });
                         }
                         sum.each([=](typename L::pack& x, int r, int p) {
                             L::store(at(r, p), scale * x, lanes(p));
                         });
                     });
        if (directly) return;
        if (c.call->what.normalized) {
            sum_readers(c, factors, state, count, how.write ? first + count : 0);
        }
        where.template leave<L>(how, g, c.tokens + first, count, c.out_rows(), c.sums, c.partial);
    }

private:
    static void note_rows(chunk<L>& c, site<A> const& where, pass const& how,
                          heads_ahead const& heads, index const* tokens, index count) noexcept {
        problem<A> const& call = *c.call;
        auto const note = [&](tensor const& x, index channels, index group = 1) {
            rows_by_token const rows{x.at(where.batch, heads.first * group, where.first), x.time};
            c.ahead.add(rows, channels, tokens, count, x.head, heads.count * group);
        };
        if (how.write) {
            if (call.what.per_channel()) note(call.gate, call.channels());
            note(call.k, call.channels());
            note(call.v, call.width);
            if (!c.rest_to.empty()) note(c.rest_to, call.width);
        }
        if (!how.read) return;
        note(call.q, call.channels(), call.group());
        note(call.o, call.width, call.group());
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
