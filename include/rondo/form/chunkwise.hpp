/// @file
/// The chunkwise form: all pairs within a chunk, a state between chunks (Hua et al. 2022; Sun et
/// al. 2023, section 2.1; Yang et al. 2023). The quadratic form is one chunk as long as
/// the sequence.
#pragma once

#include <rondo/form/chunk_steps.hpp>
#include <rondo/kernel/delta.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// With `Delta` the call says whether it has the delta rule.
template <class L, class Weights, bool Delta>
struct chunkwise_form : chunk_steps<L, Weights> {
    using A = typename L::value;
    using steps = chunk_steps<L, Weights>;

    static bool solves(problem<A> const& call) noexcept { return Delta && call.what.delta; }

    /// Takes the places [begin, begin + count) of a pass, at most c.rows of them.
    static void advance(chunk<L>& c, site<A> const& where, head_state<A> const& state,
                        pass const& how, index begin, index count) noexcept {
        advance(c, where, state, state, how, begin, count);
    }

    /// The same with another place for the state behind them; the one in front is left as it is.
    /// Of another kind of State all is written and nothing read.
    template <class State>
    static void advance(chunk<L>& c, site<A> const& where, State const& front, State const& to,
                        pass const& how, index begin, index count) noexcept {
        if (c.call->what.additive() && front.s != to.s) {
            std::copy_n(front.max, c.gates, to.max);
            std::copy_n(front.sum, c.gates, to.sum);
        }
        constexpr bool reads = std::is_same_v<State, head_state<A>>;
        State state = front;
        state.max = to.max;
        state.sum = to.sum;
        c.keeps_factors = false;
        if (!steps::enter(c, where, state, how, begin, count)) {
            index const half = count > tile_rows ? whole_tiles(count / 2) : count / 2;
            advance(c, where, front, to, how, begin, half);
            return advance(c, where, to, to, how, begin + half, count - half);
        }
        if constexpr (Weights::scales_state && !Weights::carries_keys && !reads) {
            // Nobody reads S in between: one pass over it does.
            scale_row<L>(c.carry, c.carry, c.entry, c.depth);
        } else if (Weights::scales_state && how.write) {
            state = enter_state<L>(c, state, to);
        }
        steps::look_ahead(c, where, how, begin + count);
        bool together = false;
        if constexpr (reads && turns_rows<L>) {
            together = how.write && how.read && count <= c.readers &&
                       packing<L>::share_turns(c, where.key_side(c.call->k),
                                               where.query_side(c.call->q, 0), how);
        }
        if (how.write) load_written(c, where, how, how.read, !reads, together);
        if constexpr (Delta) {
            if (how.write && solves(*c.call) && c.rest_from.empty()) {
                solve_written(c, where, how, state);
                leave_rest(c, where);
            }
        }
        if constexpr (reads) {
            for (index g = 0; how.read && g < c.call->group(); ++g) {
                for (index first = 0; first < count; first += c.readers) {
                    index const readers = std::min(c.readers, count - first);
                    auto const from = where.query_side(c.call->q, g);
                    if (g > 0 || !together) steps::find_readers(c, from, how, first, readers);
                    steps::read(c, where, state, how, first, readers, g);
                }
            }
        }
        if (!how.write) return;
        A const* const factors = Weights::write_factors(c);
        constexpr bool carries_keys = Weights::carries_keys;
        matrix<A> const values = steps::weigh_values(c, factors);
        auto const write = [&](auto const& keys) {
            write_state<L, carries_keys>(c, keys, values, c.carry, state, to);
        };
        if constexpr (!reads) {
            write(c.keys());
        } else if constexpr (turns_rows<L>) {
            together ? write(c.turned_keys()) : write(c.keys().turned());
        } else {
            write(c.keys().turned());
        }
        if (c.call->what.normalized) write_normalizer<L, carries_keys>(c, factors, state, to);
    }

    /// Loads keys, values and strengths of the chunk's tokens and weighs the keys; in the place of
    /// values what the delta rule writes, where that is known. `paired` when readers follow, those
    /// of the first query head `together` with the keys, whose rows are then left as columns alone:
    /// what they share is in registers once, and the first cache holds less. Where values are
    /// `left` factors only they may stay in the user's rows, and keys are right ones.
    static void load_written(chunk<L>& c, site<A> const& where, pass const& how, bool paired,
                             bool left, bool together = false) noexcept {
        problem<A> const& call = *c.call;
        bool const delta = solves(call), solved = Delta && !c.rest_from.empty();
        tensor const& v = solved ? c.rest_from : call.v;
        changing_rows<L> const keys{
            where.key_side(call.k), {c.k, c.depth}, Weights::key_factors(c)};
        matrix<A> const across = paired || delta ? c.turned_keys() : matrix<A>{};
        if (c.unweighed_keys.data != nullptr) {
            c.key_rows = packing<L>::take_weighed(c, keys.to, across);
        } else if (!together) {
            c.key_rows = packing<L>::find(c, keys, how, 0, c.count, true, across, left);
        }
        if constexpr (turns_rows<L>) {
            if (together) {
                changing_rows<L> const readers{where.query_side(call.q, 0), c.queries(),
                                               Weights::query_factors(c)};
                c.reader_rows = readers.to;
                packing<L>::pack_together(c, keys, readers, across);
            }
        }
        c.value_rows = {c.v, c.width};
        bool const whole = !delta && call.width == c.width;
        matrix<A> own;
        if (whole && left) {
            own = c.in_place(where.key_side(v), how, 0, c.count);
        } else if (whole) {
            own = c.dense_in_place(where.key_side(v), how, 0, c.count, c.width);
            // Read once for four readers: packs that straddle lines cost more than a copy.
            auto const place = reinterpret_cast<std::uintptr_t>(own.data);
            if (place % sizeof(typename L::pack) != 0) own = {};
        }
        if (own.data != nullptr) {
            c.value_rows = own;
        } else {
            packing<L>::load(c, where.key_side(v), 0, c.count, call.width, c.values());
        }
        if (delta) {
            auto const beta = where.key_side(call.beta);
            for (index t = 0; t < c.count; ++t) {
                c.beta[t] = load_element<A>(beta[c.tokens[t]].data, call.beta.kind);
            }
            fill<L>(c.beta + c.count, A(0), whole_tiles(c.count) - c.count);
        }
        for (index t = 0; solved && t < whole_tiles(c.count); ++t) {
            scale_row<L>(c.values().at(t), c.values().at(t), c.beta[t], c.width);
        }
    }

    /// The weighted pairs of the keys [first, first + count) with the keys before them.
    static void score_keys(chunk<L>& c, site<A> const& where, pass const& how, index first,
                           index count) noexcept {
        steps::find_readers(c, where.key_side(c.call->k), how, first, count);
        score<L, Weights>(c, first, count, true, c.score_rows());
    }

    /// Turns values into what the delta rule writes. Of a state by columns the chunk is one block
    /// of readers.
    template <class State>
    static void solve_written(chunk<L>& c, site<A> const& where, pass const& how,
                              State const& state) noexcept {
        for (index first = 0; first < c.count; first += c.readers) {
            index const count = std::min(c.readers, c.count - first);
            score_keys(c, where, how, first, count);
            if constexpr (!std::is_same_v<State, head_state<A>>) {
                read_across<L>(c, state.rows(), Weights::query_factors(c).data != nullptr);
            }
            solve<L>(c, Weights::read_factors(c, first), state, first, count);
        }
    }

private:
    static void leave_rest(chunk<L> const& c, site<A> const& where) noexcept {
        for (index t = 0; !c.rest_to.empty() && t < c.count; ++t) {
            store_row<L>(where.key_side(c.rest_to, c.tokens[t]), c.rest_rows().at(t),
                         c.call->width);
        }
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
