/// @file
/// How time is walked back. Forwards once for the states in front of the chunks, then backwards, a
/// chunk at a time, with the state's gradient. Of several parts of time each moves the state to its
/// end and the state's gradient to it, in the steps of the parts that these are from: the same
/// bits.
#pragma once

#include <rondo/form/adjoint.hpp>
#include <rondo/form/walk.hpp>
#include <rondo/form/wide_gradients.hpp>

#include <utility>

namespace rondo::inline RONDO_ISA::detail {

/// The scratch of one head of one sequence, and what is done in it.
///
/// Passes that hand a state on to each other are a chain: one pass, or with an additive decay the
/// one that writes the whole window and the one that reads it.
template <class L, kernel_kind Kind>
class adjoint_walker : walker<L, Kind> {
    using base = walker<L, Kind>;
    using base::call_;
    using base::chunk_;

public:
    using A = typename L::value;
    using weights = typename base::weights;
    using form = adjoint_form<L, weights, Kind.delta>;
    using steps = adjoint_steps<L>;

    /// `call` has the passes of the forward call, `longest` the tokens of its longest sequence, of
    /// which one of `parts` is walked at a time.
    adjoint_walker(arena& memory, adjoint_problem<A> const& call, cut const& how, index longest,
                   index parts)
        : base(memory, call.call, how, 1, steps::rows_ahead(call.call), padded<L>(call.call.depth)),
          mine_(call),
          wide_(memory, call, longest),
          a_(adjoint_chunk<L>::carve(memory, call, chunk_)),
          piece_(how.piece),
          every_(call.every) {
        // What a chain begins with is not stored, but loaded again where a state was read last.
        index stored = std::max<index>((chunks_of(longest) - 1) / every_, 1);
        if (parts > 1) stored = (longest / (every_ * piece_) + parts - 1) / parts + 1;
        stored_ = memory.template take<A>(stores_states() ? stored * state_size() : 0);
        between_ = memory.template take<A>(stores_states() ? (every_ - 1) * state_size() : 0);
        // On the way back S behind the last token is read by a window's readers, and with a
        // gradient handed in. Else its place is free: for chunks that are halved, none of which
        // only writes or only reads, or for dS itself.
        spare_ = base::states_;
        bool const halves = weights::scales_state, whole = call.call.what.one_window();
        bool const taken = halves || whole || !call.d_out.empty() || parts > 1;
        d_state_ = taken ? memory.template take<A>(state_size()) : base::states_;
        readings_ = memory.template take<A>(
            call.call.what.normalized ? 2 * call.call.group() * longest : 0);
    }

    /// Leaves the gradients of a part of one head of one sequence; that of a constant gate in
    /// `constant`.
    void run(index sequence, index head, time_part const& part, double* constant) noexcept {
        site<A> where(call_, sequence, head);
        index const unit = every_ * piece_;
        first_ = part.begin(where.length, unit, 0) / piece_;
        last_ = chunks_of(time_part{part.number + 1, part.count}.begin(where.length, unit, 0));
        leads_ = part.number == 0;
        if (first_ == last_ && !leads_) return;
        wide_.widen(mine_, where);
        a_.call = &mine_;
        fill<L>(a_.ones, A(1), a_.depth);
        fill<L>(a_.zeros, A(0), a_.gates > 1 ? a_.gates : 0);
        a_.constant = constant;
        add_ = {};
        where.readings = call_.what.normalized ? readings_ : nullptr;
        std::span<pass const> const passes = call_.passes;
        if (call_.what.normalized) take_readings(where);
        for (std::size_t end = passes.size(); end > 0;) {
            std::size_t const begin = chain_before(end);
            retreat_chain(where, passes.subspan(begin, end - begin));
            end = begin;
        }
        wide_.template narrow<L>(where);
    }

private:
    index chunks_of(index length) const noexcept { return (length + piece_ - 1) / piece_; }

    bool stores_states() const noexcept {
        bool const both = std::any_of(call_.passes.begin(), call_.passes.end(),
                                      [](pass const& p) { return p.read && p.write; });
        return both && mine_.needs_states();
    }

    // A stored state has no more than the operator carries.
    index normalizers() const noexcept { return call_.what.normalized ? chunk_.depth : 0; }
    index gates() const noexcept { return call_.what.additive() ? chunk_.gates : 0; }
    index state_size() const noexcept {
        return chunk_.depth * chunk_.width + normalizers() + 2 * gates();
    }
    head_state<A> state_at(A* memory) const noexcept {
        A* const normalizer = memory + chunk_.depth * chunk_.width;
        A* const max = normalizer + normalizers();
        return {memory, normalizer, max, max + gates(), chunk_.width};
    }
    /// The state in front of chunk c > 0, a multiple of every_.
    head_state<A> stored(index c) const noexcept {
        index const before = std::max<index>(first_ / every_, 1);
        return state_at(stored_ + (c / every_ - before) * state_size());
    }
    bool ends_early(site<A> const& where) const noexcept { return last_ < chunks_of(where.length); }
    void copy(head_state<A> const& from, head_state<A> const& to) const noexcept {
        std::copy_n(from.s, chunk_.depth * chunk_.width, to.s);
        std::copy_n(from.normalizer, normalizers(), to.normalizer);
        std::copy_n(from.max, gates(), to.max);
        std::copy_n(from.sum, gates(), to.sum);
    }

    std::size_t chain_before(std::size_t end) const noexcept {
        std::size_t begin = end - 1;
        while (call_.passes[begin].keep) --begin;
        return begin;
    }

    /// The denominators of all readers over all passes, and their outputs' products with d_o.
    void take_readings(site<A> const& where) noexcept {
        std::fill_n(readings_, 2 * call_.group() * where.length, A(0));
        for (pass const& how : call_.passes) {
            base::begin(how, where.sequence, where.head, 0);
            index const chunks = chunks_of(where.length);
            for (index c = 0; c < chunks; ++c) {
                index const begin = c * piece_, count = std::min(piece_, where.length - begin);
                base::form::advance(chunk_, where, base::state(0), how, begin, count);
            }
        }
    }

    void retreat_chain(site<A> const& where, std::span<pass const> chain) noexcept {
        // What the delta rule writes waits for the way back in rows of dv.
        chunk_.rest_from = {};
        chunk_.rest_to = mine_.keeps_written() && !add_.written ? mine_.d_v : tensor{};
        begin_state(where, base::state(0));
        for (pass const& how : chain) {
            if (how.write) sweep(where, how);
        }
        chunk_.rest_from = std::exchange(chunk_.rest_to, {});
        begin_gradient(where);
        for (std::size_t p = chain.size(); p > 0; --p) {
            pass const& how = chain[p - 1];
            if constexpr (Kind.window) {
                chunk_.divided = how.read;
                if (how.read) weights::divide(chunk_, form::by_columns(a_, base::state(0)));
            }
            rows_ = how.read ? matrix<A>{} : turn_gradient();
            for (index c = chunks_of(where.length) - 1; c >= last_; --c) {
                if (mine_.needs_state()) move(where, how, c);
            }
            for (index c = last_ - 1; c >= first_; --c) retreat(where, how, c);
            if constexpr (Kind.window) {
                if (how.read && weights::scales_state && mine_.needs_state()) undivide();
                chunk_.divided = false;
            }
            add_.queries = add_.queries || how.read;
            add_.written = add_.written || how.write;
        }
        if (leads_) end_gradient(where);
    }

    /// dS so far is that of the divided state, and so are the products that all readers add to dD.
    void undivide() noexcept {
        turned_state<A> const d_state = form::by_columns(a_, state_at(d_state_));
        if (mine_.wants_gate()) {
            contract(d_state);
            for (index g = 0; g < a_.gates; ++g)
                d_state.sum[g] = -a_.from_end[g] * chunk_.inverse[g];
        }
        scale_gradient<L>(chunk_, chunk_.entry, d_state);
    }

    /// dS by rows, where S was: a pass that only writes leaves dS as it is and reads no S.
    matrix<A> turn_gradient() noexcept {
        matrix<A> const rows = base::state(0).rows();
        turn<L>({d_state_, chunk_.depth}, chunk_.width, chunk_.depth, rows);
        return rows;
    }

    /// As forward begins, in the layout of the sweep.
    void begin_state(site<A> const& where, head_state<A> const& to) noexcept {
        std::fill_n(to.s, chunk_.depth * chunk_.width, A(0));
        std::fill_n(to.normalizer, normalizers(), A(0));
        std::fill_n(to.max, gates(), -std::numeric_limits<A>::infinity());
        std::fill_n(to.sum, gates(), A(0));
        carried<A> const from = call_.part(call_.in, where.sequence, where.head);
        if (from.s == nullptr) return;
        load_columns(from.s, to);
        base::load_sums(from, to);
    }
    void load_columns(A const* from, head_state<A> const& to) const noexcept {
        for (index d = 0; d < call_.depth; ++d) {
            for (index e = 0; e < call_.width; ++e) {
                to.s[d + e * chunk_.depth] = from[d * call_.width + e];
            }
        }
    }

    /// Leaves the state behind the part in state(0), on the way those in front of its chunks.
    void sweep(site<A> const& where, pass const& how) noexcept {
        bool const store = how.read && how.write && stores_states();
        bool const contracts = mine_.wants_gate() && (!mine_.d_out.empty() || ends_early(where));
        bool const needs_last = !how.read || !chunk_.rest_to.empty() || contracts;
        if (!store && !needs_last) return;
        auto const before = [&](index c) {
            bool const kept = store && c % every_ == 0 && c > 0 && c >= first_ && c < last_;
            return kept ? stored(c) : base::state(0);
        };
        for (index c = 0; c < last_; ++c) {
            index const begin = c * piece_, count = std::min(piece_, where.length - begin);
            if (c + 1 < last_ || needs_last) {
                form::write_only(chunk_, a_, where, how, before(c), before(c + 1), begin, count);
            }
        }
    }

    /// The state in front of chunk c, chunks being asked for from the last to the first.
    head_state<A> state_before(site<A> const& where, pass const& how, index c) noexcept {
        index const first = c / every_ * every_;
        // What the chain begins with takes the place of the first state stored, read by then.
        head_state<A> const front = stored(std::max(first, every_));
        auto const state = [&](index i) {
            return i == first ? front : state_at(between_ + (i - first - 1) * state_size());
        };
        if (is_first_asked(c)) {
            if (first == 0) begin_state(where, front);
            for (index i = first; i < c; ++i) {
                form::write_only(chunk_, a_, where, how, state(i), state(i + 1), i * piece_,
                                 piece_);
            }
        }
        return state(c);
    }
    /// Whether c is the last of the chunks that share a stored state.
    bool is_first_asked(index c) const noexcept { return (c + 1) % every_ == 0 || c + 1 == last_; }

    void retreat(site<A> const& where, pass const& how, index c) noexcept {
        // A pass that only writes shares one reference, the last, in all its chunks.
        bool const inside = how.read && how.write && stores_states();
        head_state<A> const state = inside ? state_before(where, how, c) : base::state(0);
        index const begin = c * piece_;
        for (index end = std::min(begin + piece_, where.length); end > begin;) {
            end = retreat_piece(where, how, state, begin, end);
        }
    }

    /// dS in front of chunk c, behind the part; what the gates need of it in front of the last one.
    void move(site<A> const& where, pass const& how, index c) noexcept {
        index const begin = c * piece_;
        for (index end = std::min(begin + piece_, where.length); end > begin;) {
            index first = begin;
            for (;; first += (end - first + 1) / 2) {  // halved as in retreat_piece
                form one(chunk_, a_, where, how, base::state(0), state_at(d_state_), rows_, add_);
                look_back(where, how, first, false);
                bool const ends = c == last_ && first == begin && mine_.wants_gate();
                if (one.move(first, end - first, ends)) break;
            }
            end = first;
        }
    }

    /// Takes as many of the last tokens of [begin, end) as share a reference; returns their first.
    index retreat_piece(site<A> const& where, pass const& how, head_state<A> const& state,
                        index begin, index end) noexcept {
        head_state<A> const d_state = state_at(d_state_);
        for (index first = begin;;) {
            head_state<A> const before = first == begin ? state : state_at(spare_);
            if (first > begin) {
                form::write_only(chunk_, a_, where, how, state, before, begin, first - begin);
            }
            form one(chunk_, a_, where, how, before, d_state, rows_, add_);
            look_back(where, how, first, true);
            if (one.retreat(first, end - first)) return first;
            first += (end - first + 1) / 2;
        }
    }

    /// Asks for what the places in front of `end` need; `all` but to move.
    void look_back(site<A> const& where, pass const& how, index end, bool all) noexcept {
        chunk_.ahead.clear();
        steps::look_back(chunk_, mine_, where, how, end, std::min(end, piece_), all);
        index const next = (end - 1) / piece_;
        bool const stores = all && how.read && how.write && stores_states();
        if (stores && next >= std::max(every_, first_) && (next + 1) % every_ == 0) {
            auto const* const state = reinterpret_cast<std::byte const*>(stored(next).s);
            chunk_.ahead.add(state, chunk_.depth * chunk_.width * index(sizeof(A)));
        }
        chunk_.ahead.close();
    }

    /// dS behind the last token: as handed in, or zero.
    void begin_gradient(site<A> const& where) noexcept {
        head_state<A> const to = state_at(d_state_);
        std::fill_n(d_state_, state_size(), A(0));
        std::fill_n(a_.from_end, a_.gates, A(0));
        carried<A> const from = call_.part(mine_.d_out, where.sequence, where.head);
        if (from.s == nullptr) return;
        load_columns(from.s, to);
        if (from.normalizer != nullptr) std::copy_n(from.normalizer, call_.depth, to.normalizer);
        if (from.sum != nullptr) std::copy_n(from.sum, call_.gate_width(), to.sum);
        if (mine_.wants_gate() && !ends_early(where)) contract(to);
    }

    /// <S, dS> behind the last token.
    void contract(head_state<A> const& d_state) noexcept {
        head_state<A> const state = base::state(0);
        for (index d = 0; d < call_.depth; ++d) {
            A sum = call_.what.normalized ? state.normalizer[d] * d_state.normalizer[d] : A(0);
            for (index e = 0; e < call_.width; ++e) {
                sum += state.s[d + e * chunk_.depth] * d_state.s[d + e * chunk_.depth];
            }
            a_.from_end[a_.gates > 1 ? d : 0] += sum;
        }
    }

    void end_gradient(site<A> const& where) noexcept {
        carried<A> const to = call_.part(mine_.d_in, where.sequence, where.head);
        if (to.s == nullptr) return;
        head_state<A> const from = state_at(d_state_);
        for (index d = 0; d < call_.depth; ++d) {
            for (index e = 0; e < call_.width; ++e) {
                to.s[d * call_.width + e] = from.s[d + e * chunk_.depth];
            }
        }
        if (to.normalizer != nullptr) std::copy_n(from.normalizer, call_.depth, to.normalizer);
        if (to.max != nullptr) std::fill_n(to.max, call_.gate_width(), A(0));
        if (to.sum != nullptr) std::copy_n(from.sum, call_.gate_width(), to.sum);
    }

    adjoint_problem<A> mine_;  // its gradients as this head leaves them
    wide_gradients<A> wide_;
    adjoint_chunk<L> a_;
    index piece_, every_;
    index first_ = 0, last_ = 0;  // the chunks of the part
    bool leads_ = true;           // whether it leaves dS in front of the first token
    A *stored_, *between_, *spare_, *d_state_, *readings_;
    matrix<A> rows_{};
    typename form::begun add_;
};

}  // namespace rondo::inline RONDO_ISA::detail
