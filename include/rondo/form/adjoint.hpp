/// @file
/// The adjoint of one chunk, from its end to its start. All pairs within it, and the two states
/// that meet in front of it: S, as the forward pass left it there, and dS, which comes from behind.
#pragma once

#include <rondo/form/adjoint_steps.hpp>
#include <rondo/form/chunkwise.hpp>
#include <rondo/kernel/adjoint/additive.hpp>
#include <rondo/kernel/adjoint/delta.hpp>
#include <rondo/kernel/adjoint/pairs.hpp>
#include <rondo/kernel/adjoint/rows.hpp>

#include <numeric>

namespace rondo::inline RONDO_ISA::detail {

template <class L, class Weights, bool Delta>
class adjoint_form {
public:
    using A = typename L::value;
    using form = chunkwise_form<L, Weights, Delta>;
    using adjoint = adjoint_weights<L, Weights>;
    using steps = adjoint_steps<L>;

    /// Which gradients earlier passes have left something in.
    struct begun {
        bool queries = false, written = false;
    };

    /// S and dS lie by columns, and dS, where it stays as it is, by `rows` too.
    adjoint_form(chunk<L>& c, adjoint_chunk<L>& a, site<A> const& where, pass const& how,
                 head_state<A> const& state, head_state<A> const& d_state, matrix<A> rows,
                 begun add) noexcept
        : c_(c),
          a_(a),
          where_(where),
          how_(how),
          state_(state),
          turned_{by_columns(a, state)},
          d_state_{by_columns(a, d_state)},
          rows_(rows),
          add_(add) {}

    /// The same state by columns.
    static turned_state<A> by_columns(adjoint_chunk<L> const& a,
                                      head_state<A> const& state) noexcept {
        turned_state<A> result{state};
        result.row_step = a.depth;
        return result;
    }

    /// Moves a state past the places [begin, begin + count) of a pass without reading anything.
    static void write_only(chunk<L>& c, adjoint_chunk<L> const& a, site<A> const& where, pass how,
                           head_state<A> const& state, head_state<A> const& to, index begin,
                           index count) noexcept {
        how.read = false;
        form::advance(c, where, by_columns(a, state), by_columns(a, to), how, begin, count);
    }

    /// Takes the places [begin, begin + count) of a pass; false, and nothing done, when the chunk
    /// must be halved first. Leaves dS in front of the chunk.
    bool retreat(index begin, index count) noexcept {
        c_.keeps_factors = true;
        if (!form::enter(c_, where_, state_, how_, begin, count)) return false;
        entry_ = a_.ones;
        if (Weights::scales_state && how_.write) enter();
        if (how_.write) {
            begin_terms();
            begin_written();
            if (Weights::carries_keys) move_gradient();
        }
        for (index g = 0; how_.read && g < c_.call->group(); ++g) read(g);
        if (!needs().needs_state()) return true;
        if (!how_.read) differentiate_unread();
        if constexpr (Delta) {
            if (how_.write && solves()) read_by_keys();
        }
        if (how_.write && !moved_) move_gradient();
        if (how_.write && !keys_are_left_) adjoint::add_written(c_, a_);
        adjoint::finish_gates(c_, a_);
        if (how_.write) leave_written();
        if (how_.write && Weights::scales_state) enter_gradient();
        return true;
    }

    /// Leaves dS in front of these places as retreat does, and no other gradient; with `ends` what
    /// is left of it that the gates in front of them need, S being the state there.
    bool move(index begin, index count, bool ends) noexcept {
        c_.keeps_factors = true;
        if (!form::enter(c_, where_, state_, how_, begin, count)) return false;
        entry_ = a_.ones;
        if (Weights::scales_state) enter();
        if (Weights::carries_keys) move_gradient();
        for (index g = 0; g < c_.call->group(); ++g) {
            form::find_readers(c_, where_.query_side(c_.call->q, g), how_, 0, c_.count, true);
            steps::load_output_gradients(c_, a_, where_, how_, g);
            pass_readers(g + 1 == c_.call->group(), ends);
        }
        if (ends) std::swap(a_.from_end, a_.from_front);
        return true;
    }

private:
    adjoint_problem<A> const& needs() const noexcept { return *a_.call; }
    bool solves() const noexcept { return form::solves(*c_.call); }

    /// Products with S and with dS take the chunk's entry on. The delta rule's solve needs S
    /// itself.
    void enter() noexcept {
        if (solves()) {
            enter_state<L>(c_, turned_, turned_);
        } else if (!are_ones<L>(c_.entry, c_.depth)) {
            entry_ = c_.entry;
        }
    }

    /// dS in front of what the chunk's carry did to S, and, where it did that to keys, to them.
    void move_gradient() noexcept {
        if (needs().needs_state()) scale_gradient<L>(c_, c_.carry, d_state_);
        moved_ = true;
    }

    /// dS in front of what the chunk's entry did to S.
    void enter_gradient() noexcept {
        if (solves() || !how_.read) scale_gradient<L>(c_, c_.entry, d_state_);
        if (!c_.call->what.additive()) return;
        for (index d = 0; d < a_.gates; ++d) d_state_.sum[d] *= c_.entry[d];
    }

    /// Loads the written side.
    void begin_written() noexcept {
        bool const across = rows_.data == nullptr;
        form::load_written(c_, where_, how_, across, !solves());
        if constexpr (Delta) {
            if (solves()) solve();
        }
        a_.key_gradients = {a_.d_k, c_.depth};
        a_.value_gradients = {a_.d_v, c_.width};
        if (a_.in_place.k && !add_.written) {
            a_.key_gradients = c_.rows_in_place(where_.key_side(needs().d_k), how_, 0);
            keys_are_left_ = Weights::weighs_rows;
        }
        if (a_.in_place.v && !add_.written) {
            a_.value_gradients = c_.rows_in_place(where_.key_side(needs().d_v), how_, 0);
        }
    }

    /// No term of the gates' gradients is known yet, but with no readers here what all have added.
    /// By channel whoever is first does not add.
    void begin_terms() noexcept {
        a_.gate_terms = {a_.terms, a_.gates};
        if (a_.in_place.gate && !add_.written) {
            a_.gate_terms = c_.rows_in_place(where_.key_side(needs().d_gate), how_, 0);
        }
        a_.known_terms = {how_.read ? a_.zeros : d_state_.sum, 0};
        if (!how_.read || (a_.gates > 1 && needs().needs_queries())) return;
        a_.known_terms = a_.gate_terms;
        for (index t = 0; t < c_.count; ++t) fill<L>(a_.gate_terms.at(t), A(0), a_.gates);
    }

    /// Rows of gradients that may be the user's own, of which there are no more than tokens.
    template <bool Keys>
    gradient_rows<L, Weights, Keys> rows_of(matrix<A> to, A const* buffer) const noexcept {
        return {to, to.data == buffer ? whole_tiles(c_.count) : c_.count};
    }

    /// What a pass writes that has no readers of its own.
    void differentiate_unread() noexcept {
        differentiate_values(true, false);
        differentiate_keys(true, false);
    }

    /// Computes what the delta rule writes, or takes it as the sweep left it; the pairs among keys
    /// stay in a.inner.
    void solve() noexcept {
        std::swap(c_.scores, a_.inner);
        if (c_.rest_from.empty()) {
            form::solve_written(c_, where_, how_, turned_);
        } else {
            form::score_keys(c_, where_, how_, 0, c_.count);
        }
        std::swap(c_.scores, a_.inner);
    }

    /// Query head g: its own gradient, and what it adds to all others.
    void read(index g) noexcept {
        problem<A> const& call = *c_.call;
        auto const from = where_.query_side(call.q, g);
        form::find_readers(c_, from, how_, 0, c_.count, true);
        steps::load_output_gradients(c_, a_, where_, how_, g);
        if (how_.write) {
            score<L, Weights>(c_, 0, c_.count, how_.strict, c_.score_rows());
            differentiate_values(g == 0, true);
        }
        row_factors<L> const factors = Weights::query_factors(c_);
        auto const to = where_.query_side(needs().d_q, g);
        a_.query_gradients = {a_.d_q, c_.depth};
        queries_are_left_ = false;
        if (a_.in_place.q && !add_.queries) {
            a_.query_gradients = c_.rows_in_place(to, how_, 0);
            queries_are_left_ = factors.data != nullptr;
        }
        differentiate_readers(how_.strict, g == 0, g + 1 == call.group() && !solves());
        if (needs().d_q.empty() || a_.query_gradients.data != a_.d_q) return;
        leave_rows<L>(c_, a_, from, to, a_.query_gradients, factors, add_.queries);
    }

    /// dv: with the first readers what the state behind the chunk adds, and with all of them what
    /// they see of it.
    void differentiate_values(bool first, bool paired) noexcept {
        if (!needs().needs_values()) return;
        matrix<A> const pairs = paired ? c_.score_rows() : matrix<A>{};
        auto const to = rows_of<true>(a_.value_gradients, a_.d_v);
        A const* const factors = Weights::write_factors(c_);
        if (first && rows_.data == nullptr) {
            return scatter_across<L>(c_, d_state_.rows(), c_.turned_keys(), factors, pairs,
                                     a_.output_gradients, to);
        }
        scatter<L>(c_, {first ? c_.keys() : matrix<A>{}, rows_, c_.depth, factors, nullptr}, pairs,
                   a_.output_gradients, c_.width, to);
    }

    /// The same for dk.
    void differentiate_keys(bool first, bool paired) noexcept {
        if (!needs().needs_keys()) return;
        A const* const factors = Weights::write_factors(c_);
        auto to = rows_of<true>(a_.key_gradients, a_.d_k);
        if (keys_are_left_) to.leave_through(Weights::key_factors(c_), c_.keys(), a_);
        scatter<L>(c_,
                   {first ? c_.values() : matrix<A>{}, d_state_.rows(), c_.width, factors, nullptr},
                   paired ? a_.pair_gradients() : matrix<A>{}, c_.reader_rows, c_.depth, to);
        if (keys_are_left_) a_.known_terms = a_.gate_terms;
        if (!first) return;
        add_normalizer<L>(c_, factors, nullptr, d_state_.normalizer, a_.key_gradients);
    }

    /// A normalizer by channel times factors that S has too, where there are any.
    A const* weigh_normalizer(A const* normalizer, A const* factors) noexcept {
        if (!c_.call->what.normalized || factors == nullptr) return normalizer;
        scale_row<L>(a_.row[0], normalizer, factors, c_.depth);
        return a_.row[0];
    }

    /// One set of readers, the queries or by the delta rule the keys, with the gradients of what
    /// they read: their own gradients, and what they add to those of the keys and the state.
    void differentiate_readers(bool strict, bool first, bool last) noexcept {
        A const* const factors = Weights::read_factors(c_, 0);
        bool const paired = how_.write && (needs().needs_queries() || needs().needs_keys());
        if (paired && first) {  // not before the pairs, which read the keys in the same place
            turn<L>(c_.values(), whole_tiles(c_.count), c_.width, a_.turned_values());
        }
        if (paired) differentiate_pairs<L, Weights>(c_, a_, strict);
        if (how_.write && !adjoint::sums_readers) differentiate_keys(first, true);
        if (needs().needs_queries()) {
            auto to = rows_of<false>(a_.query_gradients, a_.d_q);
            if (queries_are_left_) {
                to.leave_through(Weights::query_factors(c_), c_.reader_rows, a_);
            }
            A const* const entry = entry_ == a_.ones ? nullptr : entry_;
            gather<L>(c_, {a_.output_gradients, turned_.rows(), c_.width, factors, entry},
                      paired ? a_.pair_gradients() : matrix<A>{}, c_.keys(), c_.depth, to);
            add_normalizer<L>(c_, factors, a_.d_den, weigh_normalizer(state_.normalizer, entry),
                              a_.query_gradients);
            if (how_.write && !queries_are_left_) adjoint::add_readers(c_, a_);
            a_.known_terms = a_.gate_terms;
        }
        if (last && how_.write && needs().needs_state()) adjoint::sum_readers(c_, a_, d_state_);
        if (how_.write && adjoint::sums_readers) differentiate_keys(first, true);
        bool const contracts = needs().wants_gate() && !c_.call->what.additive();
        if (needs().needs_state()) pass_readers(last, contracts);
    }

    /// dS in front of the readers at hand; behind the `last` of them it leaves the chunk.
    void pass_readers(bool last, bool contracts) noexcept {
        A const* const factors = Weights::read_factors(c_, 0);
        matrix<A> readers = c_.reader_rows;
        for (index i = 0; factors != nullptr && i < whole_tiles(c_.count); ++i) {
            scale_row<L>(c_.queries().at(i), readers.at(i), factors[i], c_.depth);
        }
        if (factors != nullptr) readers = c_.queries();
        bool const moves = how_.write && !moved_;
        A const* const carry = moves ? c_.carry : a_.ones;
        moved_ = moved_ || moves;
        bool const leaves = last && how_.write;
        differentiate_normalizer<L>(c_, a_, readers, carry, leaves ? entry_ : a_.ones, d_state_);
        if (!leaves) return differentiate_state<L>(c_, a_, readers, carry, d_state_);
        leave_state<L>(c_, a_, readers, carry, entry_, d_state_, contracts ? &turned_ : nullptr);
    }

    /// The delta rule's own readers: the keys, after the transposed solve.
    void read_by_keys() noexcept {
        if (!c_.rest_from.empty()) {
            packing<L>::load(c_, where_.key_side(c_.rest_from), 0, c_.count, c_.call->width,
                             c_.rest_rows());
        }
        solve_transposed<L>(c_, a_);
        form::find_readers(c_, where_.key_side(c_.call->k), how_, 0, c_.count, true);
        a_.output_gradients = {a_.d_num, c_.width};
        a_.query_gradients = {a_.d_q, c_.depth};
        queries_are_left_ = false;
        for (index i = 0; i < c_.count * c_.width; ++i) a_.d_num[i] = -a_.d_v[i];
        packing<L>::clear_tail(c_.count, a_.output_gradients);
        differentiate_readers(true, false, true);
    }

    void leave_written() noexcept {
        problem<A> const& call = *c_.call;
        row_factors<L> const factors = Weights::key_factors(c_);
        if (solves()) {
            row_factors<L> const back = Weights::query_factors(c_);
            factors.apply(a_.key_gradients, c_.count, c_.depth);
            back.apply(a_.query_gradients, c_.count, c_.depth);
            for (index i = 0; i < c_.count * c_.depth; ++i) a_.d_k[i] += a_.d_q[i];
        }
        if (!needs().d_k.empty() && a_.key_gradients.data == a_.d_k) {
            leave_rows<L>(c_, a_, where_.key_side(call.k), where_.key_side(needs().d_k),
                          a_.key_gradients, solves() ? row_factors<L>{} : factors, add_.written);
        }
        for (index t = 0; t < c_.count; ++t) {
            auto const to = [&](tensor const& gradient, A* values, index channels) {
                if (gradient.empty()) return;
                leave_row<L>(where_.key_side(gradient, c_.tokens[t]), values, channels,
                             add_.written, a_.row[0]);
            };
            if (a_.value_gradients.data == a_.d_v) {
                to(needs().d_v, a_.value_gradients.at(t), call.width);
            }
            to(needs().d_beta, c_.beta + t, 1);
            bool const left = a_.gate_terms.data != a_.terms;
            if (left || call.what.decay == decay_kind::constant) continue;
            index const channels = call.what.per_channel() ? call.channels() : 1;
            A* const gates = a_.gate_terms.at(t);
            bool const twice = call.what.per_channel() && channels < call.depth;
            for (index d = 0; twice && d < channels; ++d) gates[d] += gates[channels + d];
            to(needs().d_gate, gates, channels);
        }
        if (call.what.decay == decay_kind::constant && needs().wants_gate()) {
            *a_.constant += double(std::accumulate(a_.terms, a_.terms + c_.count, A(0)));
        }
    }

    chunk<L>& c_;
    adjoint_chunk<L>& a_;
    site<A> const& where_;
    pass const& how_;
    head_state<A> const& state_;
    turned_state<A> const turned_;
    turned_state<A> const d_state_;
    matrix<A> const rows_;
    begun add_;
    // Whether gradients leave as the user has them.
    bool queries_are_left_ = false, keys_are_left_ = false;
    A const* entry_ = nullptr;  // what products with S and dS take on
    bool moved_ = false;        // whether dS stands in front of the chunk
};

}  // namespace rondo::inline RONDO_ISA::detail
