/// @file
/// How time is walked: passes over a sequence, piece by piece, the heads of a unit in turn.
#pragma once

#include <rondo/form/chunkwise.hpp>
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

/// How a call is cut: `piece` tokens at a time, `heads` heads side by side.
struct cut {
    form_kind form;
    index piece;
    index heads;
    // Sequences with fewer tokens are walked one by one, each as it would be in a call of its own.
    index recurrent_below = 0;
    index ask_heads = 1;  // whose rows are asked for together along a path
};

/// The scratch of a unit: a chunk, and the states and partial sums of the heads that walk together.
template <class L, decay_kind Decay>
class walker {
public:
    using A = typename L::value;
    using weights = typename weights_of<L, Decay>::type;

    walker(arena& memory, problem<A> const& call, cut const& how)
        : walker(memory, call, how, 3 + 2 * call.group(), 0, 2 + call.group()) {}

    /// Computes the heads [first, last) of one sequence, at most cut.heads of them.
    void run(index sequence, index first, index last) noexcept {
        for (pass const& how : call_.passes) {
            for (index h = first; h < last; ++h) begin(how, sequence, h, h - first);
            divide(how, last - first);
            index const length = call_.length_of(sequence);
            // Time outermost: with memory [batch, time, head, channel] a token's heads are
            // neighbours.
            for (index t = 0; t < length; t += cut_.piece) {
                index const count = std::min(cut_.piece, length - t);
                for (index h = first; h < last; ++h) {
                    index const side_by_side = how.order != nullptr ? cut_.ask_heads : 1;
                    chunk_.ask = heads_ahead::of(h, first, last, side_by_side);
                    chunk_.next_place = chunk_.ask.first == first ? t + cut_.piece : t;
                    advance(place(sequence, h, h - first), how, t, count, h - first);
                }
            }
            for (index h = first; h < last; ++h) end(how, sequence, h, h - first);
        }
    }

protected:
    /// The last three: what is read ahead, as chunk::carve_ahead has it.
    walker(arena& memory, problem<A> const& call, cut const& how, index rows_each, index more,
           index products)
        : call_(call), cut_(how), chunk_(chunk<L>::carve(memory, call, how.piece)) {
        chunk_.ahead = chunk_.carve_ahead(memory, rows_each, more, products);
        bool const several = std::any_of(call.passes.begin(), call.passes.end(),
                                         [](pass const& p) { return !p.finish; });
        bool const wide = call.o.kind != element_traits<A>::kind;
        index const readers = several ? how.heads * call.group() * call.length : 0;
        index const gates = call.what.per_channel() ? chunk_.depth : padded<L>(1);
        states_ = memory.template take<A>(how.heads * chunk_.depth * chunk_.width);
        normalizers_ = memory.template take<A>(how.heads * chunk_.depth);
        maxima_ = memory.template take<A>(how.heads * gates);
        sums_ = memory.template take<A>(how.heads * gates);
        partial_rows_ = memory.template take<A>(wide ? readers * call.width : 0);
        partial_sums_ = memory.template take<A>(call.what.normalized ? readers : 0);
        keeps_rows_ = wide && readers > 0;
    }

    head_state<A> state(index slot) const noexcept {
        index const gates = call_.what.per_channel() ? chunk_.depth : padded<L>(1);
        return {states_ + slot * chunk_.depth * chunk_.width, normalizers_ + slot * chunk_.depth,
                maxima_ + slot * gates, sums_ + slot * gates, chunk_.width};
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
            chunkwise_form<L, weights>::advance(chunk_, where, state(slot), how, t, count);
        }
    }

    /// Starts from the state handed in, or from nothing.
    void begin(pass const& how, index sequence, index head, index slot) noexcept {
        if (how.keep) return;
        head_state<A> const to = state(slot);
        index const gates = call_.what.per_channel() ? chunk_.depth : padded<L>(1);
        std::fill_n(to.s, chunk_.depth * chunk_.width, A(0));
        std::fill_n(to.normalizer, chunk_.depth, A(0));
        std::fill_n(to.max, gates, -std::numeric_limits<A>::infinity());
        std::fill_n(to.sum, gates, A(0));
        carried<A> const from = call_.part(call_.in, sequence, head);
        if (from.s == nullptr) return;
        for (index d = 0; d < call_.depth; ++d) {
            std::copy_n(from.s + d * call_.state_width, call_.width, to.s + d * to.row_step);
        }
        if (from.normalizer != nullptr) std::copy_n(from.normalizer, call_.depth, to.normalizer);
        if (from.max == nullptr) return;
        // One gate a token fills a pack with equal lanes.
        bool const single = call_.gate_width() == 1;
        for (index g = 0; g < (single ? gates : call_.depth); ++g) {
            to.max[g] = from.max[single ? 0 : g];
            to.sum[g] = from.sum[single ? 0 : g];
        }
    }

    /// A whole window is read by all in the same way: what they divide by is taken to the state.
    void divide(pass const& how, index heads) noexcept {
        chunk_.divided = how.read && !how.write;
        for (index h = 0; chunk_.divided && h < heads; ++h) weights::divide(chunk_, state(h));
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
    A *states_, *normalizers_, *maxima_, *sums_, *partial_rows_, *partial_sums_;
    bool keeps_rows_ = false;
};

}  // namespace rondo::inline RONDO_ISA::detail
