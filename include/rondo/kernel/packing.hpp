/// @file
/// Rows of a chunk on their way into scratch: widened, mapped, turned, weighed, transposed.
///
/// Floor: a row is read once and written once. Turned packs cost 2 loads of a cosine and a sine,
/// 2 operations and a shuffle each; keys and queries that are packed together share the loads.
#pragma once

#include <rondo/kernel/weights.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// Rows of keys or queries, which are weighed on their way into scratch.
template <class L>
struct changing_rows {
    rows_by_token from;
    matrix<typename L::value> to;
    row_factors<L> factors;
};

template <class L>
class packing {
public:
    using A = typename L::value;

    /// Packs the rows of the chunk's tokens [first, first + count), zeros up to a whole tile.
    static void load(chunk<L> const& c, rows_by_token const& from, index first, index count,
                     index channels, matrix<A> to) noexcept {
        load_rows<L>(
            to.data, [&](index t) { return from[c.tokens[first + t]]; }, count, channels,
            to.row_step);
        clear_tail(count, to);
    }
    static void clear_tail(index count, matrix<A> to) noexcept {
        fill<L>(to.at(count), A(0), (whole_tiles(count) - count) * to.row_step);
    }

    /// Where rows of keys or queries are: as the user has them where nothing is to be done to them
    /// (products read a row of their left factor too rarely to pay for a copy), else in scratch.
    /// `across` takes their transpose, where it is wanted; `dense` rows are right factors.
    static matrix<A> find(chunk<L>& c, changing_rows<L> const& rows, pass const& how, index first,
                          index count, bool in_packs, matrix<A> across = {},
                          bool dense = false) noexcept {
        composition const& what = c.call->what;
        bool const whole = c.call->depth == (in_packs || what.normalized ? c.depth : c.steps);
        matrix<A> found;
        if (!turns_rows<L> && rows.factors.data == nullptr &&
            what.feature == feature_kind::identity && whole) {
            found = dense ? c.dense_in_place(rows.from, how, first, count, c.depth)
                          : c.in_place(rows.from, how, first, count);
        }
        if (found.data == nullptr) {
            if (pack(c, rows, how, first, count, across)) return rows.to;
            found = rows.to;
        }
        if (across.data != nullptr) turn<L>(found, whole_tiles(count), c.depth, across);
        return found;
    }

    /// Notes the rows of keys, and of queries where they are read, that can be weighed as they are.
    static void note_unweighed(chunk<L>& c, rows_by_token const& keys, rows_by_token const& queries,
                               pass const& how) noexcept {
        composition const& what = c.call->what;
        if (what.delta || !what.per_channel() || !how.write || !turns_packs(c)) return;
        bool const fits = c.count <= c.readers && c.call->group() == 1;
        if (how.read && !(fits && holds_lanes(c, queries))) return;
        if (!holds_lanes(c, keys)) return;
        c.unweighed_keys = c.rows_in_place(keys, how, 0);
        if (how.read) c.unweighed_queries = c.rows_in_place(queries, how, 0);
    }

    /// All rows of the chunk, that were weighed with its gates.
    static matrix<A> take_weighed(chunk<L> const& c, matrix<A> rows,
                                  matrix<A> across = {}) noexcept {
        clear_tail(c.count, rows);
        if (across.data != nullptr) turn<L>(rows, whole_tiles(c.count), c.depth, across);
        return rows;
    }

    /// Whether keys and queries may be packed together: both lie evenly, as packs that are turned
    /// one by one, and nothing else asks for rows of keys.
    static bool share_turns(chunk<L> const& c, rows_by_token const& keys,
                            rows_by_token const& queries, pass const& how) noexcept {
        composition const& what = c.call->what;
        return turns_packs(c) && c.unweighed_keys.data == nullptr && !what.delta &&
               !what.normalized && how.order == nullptr && holds_packs(c, keys) &&
               holds_packs(c, queries);
    }

    /// Packs the chunk's keys, as columns of `across` alone, and as many queries, as rows.
    static void pack_together(chunk<L> const& c, changing_rows<L> const& keys,
                              changing_rows<L> const& queries, matrix<A> across) noexcept {
        keys.factors.data == nullptr ? pack_across<false>(c, 0, c.count, across, keys, queries)
                                     : pack_across<true>(c, 0, c.count, across, keys, queries);
    }

private:
    static constexpr bool wide = L::width > 1;  // one lane has no neighbour to be turned with

    /// Whether every pack of a row is turned by itself, if at all.
    static bool turns_packs(chunk<L> const& c) noexcept {
        if constexpr (turns_rows<L>) return wide && c.turns.interleaved();
        return true;
    }

    /// Whether memory holds rows as whole packs of what is neither widened nor mapped.
    static bool holds_packs(chunk<L> const& c, rows_by_token const& from) noexcept {
        return c.call->what.feature == feature_kind::identity && c.call->depth == c.depth &&
               is_plain<A>(from.first);
    }

    /// The same, where the lanes of a last pack can be loaded alone.
    static bool holds_lanes(chunk<L> const& c, rows_by_token const& from) noexcept {
        return holds_packs(c, from) ||
               (L::masks && c.call->what.feature == feature_kind::identity &&
                is_plain<A>(from.first));
    }

    /// Packs rows of keys or queries, maps, turns and weighs them; whether `across` has been seen
    /// to on the way.
    static bool pack(chunk<L>& c, changing_rows<L> const& rows, pass const& how, index first,
                     index count, matrix<A> across) noexcept {
        matrix<A> const to = rows.to;
        bool const weighed = rows.factors.data != nullptr;
        // Turned or weighed on the way, where memory holds whole packs: one write and read less.
        bool const whole = count > 0 && holds_packs(c, rows.from);
        auto const row = [&](index t) { return place_of(c, rows, first + t); };
        if constexpr (turns_rows<L>) {
            if (whole && turns_packs(c)) {
                if (how.order != nullptr) across = {};  // across only what lies evenly
                weighed ? pack_turned<true>(c, rows, first, count, across)
                        : pack_turned<false>(c, rows, first, count, across);
                return across.data != nullptr;
            }
            if (!whole) load_mapped(c, rows, first, count);
            auto const packed = [&](index t) { return to.at(t); };
            whole ? c.turns.turn(first, count, row, to) : c.turns.turn(first, count, packed, to);
            clear_tail(count, to);
        } else if (whole && weighed) {
            for (index t = 0; t < count; ++t) {
                scale_row<L>(to.at(t), row(t), rows.factors.from(t).data, c.depth,
                             rows.factors.step);
            }
            clear_tail(count, to);
            return false;
        } else {
            load_mapped(c, rows, first, count);
        }
        rows.factors.apply(to, count, c.depth);
        return false;
    }

    static void load_mapped(chunk<L> const& c, changing_rows<L> const& rows, index first,
                            index count) noexcept {
        index const channels = c.call->channels();
        load(c, rows.from, first, count, channels, rows.to);
        for (index t = 0; t < count; ++t) {
            apply_feature<L>(c.call->what.feature, rows.to.at(t), channels, c.depth);
        }
    }

    static typename L::pack turned(typename L::pack x, A const* by, A const* again) noexcept {
        if constexpr (wide) x = turn_neighbours<L, false>(x, by, again);
        return x;
    }

    static A const* place_of(chunk<L> const& c, changing_rows<L> const& rows, index r) noexcept {
        return reinterpret_cast<A const*>(rows.from[c.tokens[r]].data);
    }

    /// Packs that memory holds whole, turned one by one.
    template <bool Weighed>
    static void pack_turned(chunk<L> const& c, changing_rows<L> const& rows, index first,
                            index count, matrix<A> across) noexcept {
        if (across.data != nullptr) {
            return pack_across<Weighed>(c, first, count, across, rows);
        }
        for (index r = 0; r < count; ++r) {
            A const* const from = place_of(c, rows, first + r);
            A const *const turns = c.turns.at(first + r), *const again = another(turns);
            row_factors<L> const factors = rows.factors.from(r);
            write_row<L>(rows.to.at(r), c.depth, [&](index d) {
                auto x = turned(L::load(from + d), turns + d, again + d);
                if constexpr (Weighed) x = x * L::load(factors.data + factors.step * d);
                return x;
            });
        }
        clear_tail(count, rows.to);
    }

    /// The same across, and as rows too; of two, which share their turns, the first across alone
    /// and the second as rows.
    template <bool Weighed, class... Rows>
    static void pack_across(chunk<L> const& c, index first, index count, matrix<A> across,
                            Rows const&... rows) noexcept {
        index const next = first + (count > 1 ? 1 : 0);
        turn<L>(count, c.depth, across, [&](index r, index d) {
            A const* const turns = c.turns.at(first + r) + d;
            packs_down<Weighed, sizeof...(Rows)> packs{turns, another(turns), c.depth, {}};
            int i = 0;
            auto const enter = [&](changing_rows<L> const& x) {
                A const* const from = place_of(c, x, first);
                index const step = place_of(c, x, next) - from;
                row_factors<L> const factors = x.factors.from(r);
                A const* const factor = Weighed ? factors.data + factors.step * d : nullptr;
                packs.sides[i++] = {from + r * step + d, factor, x.to.at(r, d), step,
                                    factors.row_step};
            };
            (enter(rows), ...);
            return packs;
        });
        (clear_tail(count, rows.to), ...);
    }

    /// Goes down rows at one channel, packs it, and gives the first side's pack.
    template <bool Weighed, std::size_t Sides>
    struct packs_down {
        struct side {
            A const *from, *factors;
            A* to;
            index step, factor_step;
        };
        A const *turns, *again;
        index row;
        side sides[Sides];

        [[gnu::always_inline]] typename L::pack operator()() noexcept {
            typename L::pack x[Sides];
            RONDO_UNROLL
            for (std::size_t i = 0; i < Sides; ++i) {
                x[i] = turned(L::load(sides[i].from), turns, again);
                if constexpr (Weighed) x[i] = x[i] * L::load(sides[i].factors);
            }
            RONDO_UNROLL
            for (std::size_t i = 0; i < Sides; ++i) {
                side& s = sides[i];
                s.from = another(s.from + s.step);
                if (Sides == 1 || i > 0) {
                    L::store(s.to, x[i]);
                    s.to = another(s.to + row);
                }
                if constexpr (Weighed) s.factors = another(s.factors + s.factor_step);
            }
            turns = another(turns + row);
            again = another(again + row);
            return x[0];
        }
    };
};

}  // namespace rondo::inline RONDO_ISA::detail
