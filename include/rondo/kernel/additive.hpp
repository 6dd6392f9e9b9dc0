/// @file
/// The weights of the additive decays. With m the running maximum at the chunk's end (the whole
/// sequence's when bidirectional) and D_i = sum_(s <= i) exp(z_s - m),
///
///     pair(i, j) = exp(z_j - m) / D_i
///
/// splits into a factor of the key and one of the query, so that one exponential an entry is enough
/// and the pairs need no weights at all. The state is kept relative to m and rescaled when m rises.
///
/// A reader early in the chunk, whose own maximum lies far below m, would find its weights
/// underflown: such a chunk is refused, and the walk halves it until every reader's maximum is near
/// (one token is always near). Maxima rise rarely once a sequence has begun, so this costs nothing
/// where it matters.
#pragma once

#include <rondo/kernel/weights.hpp>

namespace rondo::inline RONDO_ISA::detail {

template <class L>
struct additive_weights : unweighted<L> {
    using A = typename L::value;
    using P = typename L::pack;
    /// How far a reader's maximum may lie below m: exp(-limit - 27) is still a normal number.
    static constexpr A limit = sizeof(A) == 4 ? A(60) : A(600);
    static constexpr A nothing = -std::numeric_limits<A>::infinity();

    /// Loads logits; false when the chunk spans too wide a range to share one reference.
    static bool load_gates(chunk<L>& c, head_state<A> const& state, rows_by_token const& gates,
                           index const* tokens, pass const& how) noexcept {
        if (!how.write) return c.divided || invert_total(c, state);
        // A gate a token fills one pack with equal lanes: its channel stride is 0.
        index const channels = per_channel(c) ? c.call->depth : c.gates;
        matrix<A> logits;
        bool const whole = tokens == c.tokens && channels == c.gates;
        if (whole) logits = c.in_place(gates, how, 0, c.count);
        if (logits.data == nullptr) {
            logits = c.gate_rows();
            for (index t = 0; t < c.count; ++t) {
                load_row<L>(logits.at(t), gates[tokens[t]], channels, c.gates);
            }
        }
        bool near = true;
        for (index g = 0; g < c.gates; g += L::width) {
            near = find_highest(c, state, logits, g) && near;
        }
        if ((how.read || how.ahead) && c.count > 1 && !near) return false;
        for (index g = 0; g < c.gates; g += L::width) {
            take_factors<L>(c, {c.gate_rows(), inverse(c), g},
                            [&](auto const& rows) { weigh(c, state, logits, g, rows); });
        }
        fill<L>(c.carry, A(1), c.depth);
        return true;
    }

    static constexpr bool scales_state = true, weighs_rows = true;

    /// q_i / D_i
    static row_factors<L> query_factors(chunk<L> const& c) noexcept {
        if (c.divided) return {};
        return {c.inverse, inverse(c).row_step, per_channel(c) ? 1 : 0};
    }
    /// k_j exp(z_j - m)
    static row_factors<L> key_factors(chunk<L> const& c) noexcept {
        return {c.gate, c.gates, per_channel(c) ? 1 : 0};
    }

    /// Divides the state by the sums, once for all readers of a whole window; their inverses stay
    /// in c.entry and for all readers in inverse(c).
    template <class State>
    static void divide(chunk<L>& c, State const& state) noexcept {
        invert_total(c, state);
        for (index d = 0; d < c.depth; d += L::width) {
            P const sum = per_channel(c) ? L::load(state.sum + d) : L::broadcast(state.sum[0]);
            L::store(c.entry + d, inverted(sum));
        }
        scale_state<L>(c, c.entry, state);
        fill<L>(state.sum, A(1), c.gates);
    }

    /// Adds the window of `from` to the window of `to`.
    static void merge(chunk<L> const& c, head_state<A> const& from,
                      head_state<A> const& to) noexcept {
        // One logit a head fills a pack, of which the recurrent form keeps the first lane.
        auto const load = [&](A const* x, index d) {
            return per_channel(c) ? L::load(x + d) : L::broadcast(*x);
        };
        for (index d = 0; d < c.depth; d += L::width) {
            P const mine = load(to.max, d), other = load(from.max, d);
            P const highest = L::max(mine, other);
            P const reference =
                L::where_less(L::broadcast(nothing), highest, highest, L::broadcast(A(0)));
            L::store(c.entry + d, L::exp(mine - reference));
            L::store(c.carry + d, L::exp(other - reference));
        }
        merge_states<L>(c, c.entry, c.carry, from, to);
        for (index g = 0; g < c.gates; g += L::width) {
            P const kept = L::load(c.entry + g) * load(to.sum, g);
            L::store(to.sum + g, L::fma(L::load(c.carry + g), load(from.sum, g), kept));
            L::store(to.max + g, L::max(load(to.max, g), load(from.max, g)));
        }
    }

    /// 1 / D_i; a row for each reader, or one for all when the window is the whole sequence.
    static matrix<A> inverse(chunk<L> const& c) noexcept {
        return {c.inverse, c.one_window ? 0 : c.gates};
    }

private:
    static bool per_channel(chunk<L> const& c) noexcept { return c.call->what.per_channel(); }

    /// No window, no weight: 0 instead of 1 / 0.
    static P inverted(P total) noexcept {
        P const zero = L::broadcast(A(0));
        return L::where_less(zero, total, L::inverse(total), zero);
    }

    static bool invert_total(chunk<L>& c, head_state<A> const& state) noexcept {
        for (index g = 0; g < c.gates; g += L::width) {
            L::store(c.inverse + g, inverted(L::load(state.sum + g)));
        }
        fill<L>(c.entry, A(1), c.depth);
        fill<L>(c.carry, A(1), c.depth);
        return true;
    }

    /// Leaves the maximum past the chunk in c.carry; whether all readers' maxima are near it.
    static bool find_highest(chunk<L> const& c, head_state<A> const& state, matrix<A> logits,
                             index g) noexcept {
        P const none = L::broadcast(nothing);
        P highest = L::max(L::load(state.max + g), L::load(logits.at(0, g))), first = highest;
        // Where nothing was written yet, the first window ends with the first weight.
        bool const begins = L::any_less(first, L::broadcast(std::numeric_limits<A>::lowest()));
        for (index t = 1; t < c.count; ++t) {
            highest = L::max(highest, L::load(logits.at(t, g)));
            if (begins) first = L::where_less(none, first, first, highest);
        }
        L::store(c.carry + g, highest);
        return !L::any_less(first + L::broadcast(limit), highest);
    }

    /// Turns one pack of logits into weights, or weighs rows, and moves the state's maximum and sum
    /// past the chunk.
    template <class Rows>
    static void weigh(chunk<L>& c, head_state<A> const& state, matrix<A> logits, index g,
                      Rows const& rows) noexcept {
        P const before = L::load(state.max + g), highest = L::load(c.carry + g);
        P const none = L::broadcast(nothing);
        P const reference = L::where_less(none, highest, highest, L::broadcast(A(0)));
        P const carry = L::exp(before - reference);
        P const earlier = L::load(state.sum + g) * carry;
        P sum = L::broadcast(A(0));  // of this chunk alone: rounds against its own size
        bool const inverts = !c.one_window;
        for (index t = 0, count = c.count; t < count; ++t) {
            P const weight = L::exp(L::load(logits.at(t, g)) - reference);
            sum = sum + weight;
            inverts ? rows.both(t, weight, inverted(earlier + sum)) : rows.key(t, weight);
        }
        L::store(state.max + g, highest);
        L::store(state.sum + g, earlier + sum);
        for (index d = g; d < (per_channel(c) ? g + L::width : c.depth); d += L::width) {
            L::store(c.entry + d, carry);
        }
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
