/// @file
/// How time is walked: passes over a sequence, piece by piece, the heads of a unit in turn.
#pragma once

#include <rondo/form/chunkwise.hpp>
#include <rondo/form/parts.hpp>
#include <rondo/form/recurrent.hpp>
#include <rondo/kernel/additive.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// The weights of a decay, by family.
template <class L, decay_kind Decay>
struct weights_of {
    using type = unweighted<L>;
};
template <class L>
struct weights_of<L, decay_kind::constant> {
    using type = per_token<L>;
};
template <class L>
struct weights_of<L, decay_kind::scalar> {
    using type = per_token<L>;
};
template <class L>
struct weights_of<L, decay_kind::vector> {
    using type = per_channel<L>;
};
template <class L>
struct weights_of<L, decay_kind::additive> {
    using type = additive_weights<L>;
};
template <class L>
struct weights_of<L, decay_kind::additive_scalar> {
    using type = additive_weights<L>;
};

/// The scratch of a unit: a chunk, and the states and partial sums of the heads that walk together.
template <class L, kernel_kind Kind>
class walker {
public:
    using A = typename L::value;
    using weights = typename weights_of<L, Kind.decay>::type;
    using form = chunkwise_form<L, weights, Kind.delta>;

    walker(arena& memory, problem<A> const& call, cut const& how)
        : walker(memory, call, how, call.what.one_window() ? 2 : 1, 3 + 2 * call.group(), 0) {}

    /// Elements of a head's state: what `stretches` holds for each.
    index state_size() const noexcept {
        return chunk_.depth * (chunk_.width + 1) + 2 * state_gates();
    }

    /// Computes at most cut.heads heads, for a part of their readers. `stretches`: the states of
    /// the sequence's stretches, [head, most_stretches], where others have summed them.
    void run(head_span const& heads, time_part const& part, A* stretches) noexcept {
        index const length = call_.length_of(heads.sequence), piece = cut_.piece;
        for (pass const& how : call_.passes) {
            for (index h = heads.first; h < heads.last; ++h) {
                begin(how, heads.sequence, h, h - heads.first);
            }
            if constexpr (Kind.window) {
                if (!how.read) {
                    sum_window(how, heads, stretches);
                    continue;
                }
                divide(heads.last - heads.first);
            }
            double const cost = how.write ? moving_cost(call_.what) : 0;
            index const from = part.begin(length, piece, cost);
            index const to = time_part{part.number + 1, part.count}.begin(length, piece, cost);
            // The state moves to where reading begins in the steps of the part that reads in front
            // of it: the same bits.
            if (how.write) walk(how.moving_ahead(), heads, 0, from, 0);
            walk(how, heads, from, to, 0);
            if (part.number + 1 < part.count) continue;
            for (index h = heads.first; h < heads.last; ++h) {
                end(how, heads.sequence, h, h - heads.first);
            }
        }
    }

    /// Sums stretch n of the heads into their states in `stretches`.
    void sum_stretch(head_span const& heads, index n, A* stretches) noexcept {
        sum_stretch(call_.passes.front(), heads, n, 0);
        for (index h = heads.first; h < heads.last; ++h) {
            std::copy_n(state(h - heads.first).s, state_size(),
                        stretches + (h * most_stretches + n) * state_size());
        }
    }

protected:
    /// `states` for each head: a window's stretches need one beside their sum. The last two: what
    /// is read ahead, as chunk::carve_ahead has it.
    walker(arena& memory, problem<A> const& call, cut const& how, index states, index rows_each,
           index more)
        : call_(call), cut_(how), chunk_(chunk<L>::carve(memory, call, how.piece)) {
        chunk_.ahead = chunk_.carve_ahead(memory, rows_each, more);
        bool const wide = call.o.kind != element_traits<A>::kind;
        index const readers = call.merges() ? how.heads * call.group() * call.length : 0;
        states_ = memory.template take<A>(how.heads * states * state_size());
        partial_rows_ = memory.template take<A>(wide ? readers * call.width : 0);
        partial_sums_ = memory.template take<A>(call.what.normalized ? readers : 0);
        keeps_rows_ = wide && readers > 0;
    }

    index state_gates() const noexcept {
        return call_.what.per_channel() ? chunk_.depth : padded<L>(1);
    }
    head_state<A> state_in(A* s) const noexcept {
        A* const normalizer = s + chunk_.depth * chunk_.width;
        A* const max = normalizer + chunk_.depth;
        return {s, normalizer, max, max + state_gates(), chunk_.width};
    }
    head_state<A> state(index slot) const noexcept {
        return state_in(states_ + slot * state_size());
    }

    site<A> place(index sequence, index head, index slot) const noexcept {
        site<A> where(call_, sequence, head);
        index const readers = call_.group() * call_.length * slot;
        if (keeps_rows_) where.partial_rows = partial_rows_ + readers * call_.width;
        where.partial_sums = partial_sums_ + readers;
        return where;
    }

    void advance(site<A> const& where, pass const& how, index t, index count, index slot) noexcept {
        if (cut_.form == form_kind::recurrent || where.length < cut_.recurrent_below) {
            recurrent_form<L>::advance(chunk_, where, state(slot), how, t, count);
        } else {
            form::advance(chunk_, where, state(slot), how, t, count);
        }
    }

    /// Takes the places [begin, end) of a pass with the states of the slots from `slot` on.
    void walk(pass const& how, head_span const& heads, index begin, index end,
              index slot) noexcept {
        auto const [sequence, first, last] = heads;
        // Time outermost: with memory [batch, time, head, channel] a token's heads are neighbours.
        for (index t = begin; t < end; t += cut_.piece) {
            index const count = std::min(cut_.piece, end - t);
            for (index h = first; h < last; ++h) {
                index const side_by_side = how.order != nullptr ? cut_.ask_heads : 1;
                chunk_.ask = heads_ahead::of(h, first, last, side_by_side);
                chunk_.next_place = chunk_.ask.first == first ? t + cut_.piece : t;
                advance(place(sequence, h, h - first), how, t, count, slot + h - first);
            }
        }
    }

    /// Sums a stretch into the states of the slots from `slot` on.
    void sum_stretch(pass const& how, head_span const& heads, index n, index slot) noexcept {
        index const length = call_.length_of(heads.sequence);
        index const stretch = stretch_of(length, cut_.piece);
        for (index h = 0; h < heads.last - heads.first; ++h) clear(state(slot + h));
        walk(how, heads, std::min(n * stretch, length), std::min((n + 1) * stretch, length), slot);
    }

    /// Leaves the sum of all stretches in the states, which hold nothing yet.
    void sum_window(pass const& how, head_span const& heads, A* stretches) noexcept {
        index const length = call_.length_of(heads.sequence);
        index const stretch = stretch_of(length, cut_.piece);
        bool const alone = stretches == nullptr;
        if (alone) sum_stretch(how, heads, 0, 0);
        for (index n = alone ? 1 : 0; n * stretch < length; ++n) {
            if (alone) sum_stretch(how, heads, n, cut_.heads);
            for (index h = heads.first; h < heads.last; ++h) {
                index const slot = h - heads.first;
                weights::merge(chunk_,
                               alone
                                   ? state(cut_.heads + slot)
                                   : state_in(stretches + (h * most_stretches + n) * state_size()),
                               state(slot));
            }
        }
    }

    void clear(head_state<A> const& to) const noexcept {
        std::fill_n(to.s, chunk_.depth * chunk_.width, A(0));
        std::fill_n(to.normalizer, chunk_.depth, A(0));
        std::fill_n(to.max, state_gates(), -std::numeric_limits<A>::infinity());
        std::fill_n(to.sum, state_gates(), A(0));
    }

    /// Starts from the state handed in, or from nothing.
    void begin(pass const& how, index sequence, index head, index slot) noexcept {
        if (how.keep) return;
        head_state<A> const to = state(slot);
        clear(to);
        carried<A> const from = call_.part(call_.in, sequence, head);
        if (from.s == nullptr) return;
        for (index d = 0; d < call_.depth; ++d) {
            std::copy_n(from.s + d * call_.state_width, call_.width, to.s + d * to.row_step);
        }
        load_sums(from, to);
    }
    /// What was handed in beside S.
    void load_sums(carried<A> const& from, head_state<A> const& to) const noexcept {
        if (from.normalizer != nullptr) std::copy_n(from.normalizer, call_.depth, to.normalizer);
        if (from.max == nullptr) return;
        // One gate a token fills a pack with equal lanes.
        bool const single = call_.gate_width() == 1;
        for (index g = 0; g < (single ? state_gates() : call_.depth); ++g) {
            to.max[g] = from.max[single ? 0 : g];
            to.sum[g] = from.sum[single ? 0 : g];
        }
    }

    /// A whole window is read by all in the same way: what they divide by is taken to the state.
    void divide(index heads) noexcept {
        chunk_.divided = true;
        for (index h = 0; h < heads; ++h) weights::divide(chunk_, state(h));
    }

    void end(pass const& how, index sequence, index head, index slot) noexcept {
        if (!how.write) return;
        carried<A> const to = call_.part(call_.out, sequence, head);
        if (to.s == nullptr) return;
        head_state<A> const from = state(slot);
        for (index d = 0; d < call_.depth; ++d) {
            std::copy_n(from.s + d * from.row_step, call_.width, to.s + d * call_.state_width);
        }
        if (to.normalizer != nullptr) std::copy_n(from.normalizer, call_.depth, to.normalizer);
        if (to.max == nullptr) return;
        std::copy_n(from.max, call_.gate_width(), to.max);
        std::copy_n(from.sum, call_.gate_width(), to.sum);
    }

    problem<A> const& call_;
    cut cut_;
    chunk<L> chunk_;
    A *states_, *partial_rows_, *partial_sums_;
    bool keeps_rows_ = false;
};

}  // namespace rondo::inline RONDO_ISA::detail
