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
    template <class Rows>
    static bool load_gates(chunk<L>& c, head_state<A> const& state, Rows const& gate_row,
                           pass const& how) noexcept {
        if (!how.write) return invert_total(c, state);
        // A gate a token fills one pack with equal lanes: its channel stride is 0.
        index const channels = per_channel(c) ? c.call->depth : c.gates;
        for (index t = 0; t < c.count; ++t) {
            load_row<L>(c.gate_rows().at(t), gate_row(t), channels, c.gates);
        }
        if (how.read && c.count > 1 && !near_enough(c, state)) return false;
        for (index g = 0; g < c.gates; g += L::width) weigh(c, state, g);
        rescale(c, state);
        return true;
    }

    /// k_j exp(z_j - m)
    static void weigh_keys(chunk<L>& c) noexcept {
        for (index j = 0; j < c.count; ++j) multiply(c, c.keys().at(j), c.gate_rows().at(j));
    }

    /// q_i / D_i
    static void weigh_queries(chunk<L>& c, index tile) noexcept {
        for (index r = 0; r < tile_rows && tile + r < c.count; ++r) {
            multiply(c, c.raw_queries().at(r), inverse(c).at(tile + r));
        }
    }

private:
    static bool per_channel(chunk<L> const& c) noexcept { return c.call->what.per_channel(); }

    /// 1 / D_i; a row for each reader, or one for all when the window is the whole sequence.
    static matrix<A> inverse(chunk<L> const& c) noexcept {
        return {c.decayed, c.one_window ? 0 : c.gates};
    }

    /// No window, no weight: 0 instead of 1 / 0.
    static P inverted(P total) noexcept {
        P const zero = L::broadcast(A(0));
        return L::where_less(zero, total, L::broadcast(A(1)) / total, zero);
    }

    static bool invert_total(chunk<L>& c, head_state<A> const& state) noexcept {
        for (index g = 0; g < c.gates; g += L::width) {
            L::store(c.decayed + g, inverted(L::load(state.sum + g)));
        }
        return true;
    }

    static bool near_enough(chunk<L> const& c, head_state<A> const& state) noexcept {
        for (index g = 0; g < c.gates; g += L::width) {
            P highest = L::load(state.max + g), first = highest;
            for (index t = 0; t < c.count; ++t) {
                highest = L::max(highest, L::load(c.gate_rows().at(t, g)));
                first = L::where_less(L::broadcast(nothing), first, first, highest);
            }
            if (L::any_less(first + L::broadcast(limit), highest)) return false;
        }
        return true;
    }

    /// Turns one pack of logits into weights, and moves the state's maximum and sum past the chunk.
    static void weigh(chunk<L>& c, head_state<A> const& state, index g) noexcept {
        P const before = L::load(state.max + g);
        P highest = before;
        for (index t = 0; t < c.count; ++t) {
            highest = L::max(highest, L::load(c.gate_rows().at(t, g)));
        }
        P const none = L::broadcast(nothing);
        P const reference = L::where_less(none, highest, highest, L::broadcast(A(0)));
        P const carry = L::exp(before - reference);
        P const earlier = L::load(state.sum + g) * carry;
        P sum = L::broadcast(A(0));  // of this chunk alone: rounds against its own size
        for (index t = 0; t < c.count; ++t) {
            P const weight = L::exp(L::load(c.gate_rows().at(t, g)) - reference);
            sum = sum + weight;
            L::store(c.gate_rows().at(t, g), weight);
            if (!c.one_window) L::store(inverse(c).at(t, g), inverted(earlier + sum));
        }
        L::store(state.max + g, highest);
        L::store(state.sum + g, earlier + sum);
        L::store(c.running + g, carry);
    }

    /// Brings the state to the new maximum; most channels keep theirs.
    static void rescale(chunk<L>& c, head_state<A> const& state) noexcept {
        for (index d = 0; d < c.call->depth; ++d) {
            A const carry = c.running[per_channel(c) ? d : 0];
            if (carry == A(1)) continue;
            state.normalizer[d] *= carry;
            for (index e = 0; e < c.width; e += L::width) {
                A* const at = state.s + d * state.row_step + e;
                L::store(at, L::load(at) * L::broadcast(carry));
            }
        }
    }

    static void multiply(chunk<L> const& c, A* values, A const* factors) noexcept {
        index const step = per_channel(c) ? 1 : 0;
        for (index d = 0; d < c.depth; d += L::width) {
            L::store(values + d, L::load(values + d) * L::load(factors + step * d));
        }
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
