/// @file
/// The adjoint of one chunk, from its end to its start. All pairs within it, and the two states
/// that meet in front of it: S, as the forward pass left it there, and dS, which comes from behind.
#pragma once

#include <rondo/form/chunkwise.hpp>
#include <rondo/kernel/adjoint/additive.hpp>
#include <rondo/kernel/adjoint/delta.hpp>
#include <rondo/kernel/adjoint/feature.hpp>
#include <rondo/kernel/adjoint/pairs.hpp>

#include <numeric>

namespace rondo::inline RONDO_ISA::detail {

/// Adds to what earlier passes left when `add` is set.
template <class L>
inline void leave_row(row const& to, typename L::value* values, index count, bool add,
                      typename L::value* buffer) noexcept {
    if (add) {
        load_row<L>(buffer, to, count, count);
        for (index c = 0; c < count; ++c) values[c] += buffer[c];
    }
    store_row<L>(to, values, count);
}

template <class L, class Weights>
class adjoint_form {
public:
    using A = typename L::value;
    using form = chunkwise_form<L, Weights>;
    using adjoint = adjoint_weights<L, Weights>;

    /// Which gradients earlier passes have left something in.
    struct begun {
        bool queries = false, written = false;
    };

    adjoint_form(chunk<L>& c, adjoint_chunk<L>& a, site<A> const& where, pass const& how,
                 head_state<A> const& state, head_state<A> const& d_state, begun add) noexcept
        : c_(c), a_(a), where_(where), how_(how), state_(state), d_state_(d_state), add_(add) {}

    /// Moves `state` past the places [begin, begin + count) of a pass without reading anything.
    static void write_only(chunk<L>& c, site<A> const& where, pass how, head_state<A> const& state,
                           index begin, index count) noexcept {
        how.read = false;
        form::advance(c, where, state, how, begin, count);
    }

    /// Takes the places [begin, begin + count) of a pass; false, and nothing done, when the chunk
    /// must be halved first. Leaves dS in front of the chunk.
    bool retreat(index begin, index count) noexcept {
        if (!form::enter(c_, where_, state_, how_, begin, count)) return false;
        fill<L>(a_.terms, A(0), count * a_.gates);
        if (how_.write) begin_written();
        for (index g = 0; how_.read && g < c_.call->group(); ++g) read(g);
        if (!needs().needs_state()) return true;
        if (how_.write && c_.call->what.delta) read_by_keys();
        if (how_.write && !moved_) scale_state<L>(c_, c_.carry, d_state_);
        adjoint::finish_gates(c_, a_, state_, d_state_, how_.write);
        if (how_.write) leave_written();
        if (how_.write && Weights::scales_state) enter_gradient();
        return true;
    }

    /// Notes the rows that the `count` places in front of `end` will read and write.
    void look_back(index end, index count) noexcept {
        problem<A> const& call = *c_.call;
        for (index r = 0; r < count; ++r) {
            c_.next_tokens[r] = how_.token(end - 1 - r, where_.length);
        }
        auto const note = [&](rows_by_token const& rows, index channels) {
            if (rows.first.data != nullptr) c_.ahead.add(rows, channels, c_.next_tokens, count);
        };
        auto const written = [&](tensor const& x, index channels) {
            if (!x.empty()) note(where_.key_side(x), channels);
        };
        if (how_.write) {
            written(call.k, call.channels());
            written(call.v, call.width);
            written(needs().d_k, call.channels());
            written(needs().d_v, call.width);
            if (call.what.per_channel()) {
                written(call.gate, call.channels());
                written(needs().d_gate, call.channels());
            }
        }
        for (index g = 0; how_.read && g < call.group(); ++g) {
            note(where_.query_side(call.q, g), call.channels());
            note(where_.query_side(call.o, g), call.width);
            if (!needs().d_q.empty()) note(where_.query_side(needs().d_q, g), call.channels());
        }
    }
    /// The rows that one of these places needs at most.
    static index rows_ahead(problem<A> const& call) noexcept { return 6 + 3 * call.group(); }

private:
    adjoint_problem<A> const& needs() const noexcept { return *a_.call; }

    /// dS in front of what load_gates did to S.
    void enter_gradient() noexcept {
        scale_state<L>(c_, c_.entry, d_state_);
        if (!c_.call->what.additive()) return;
        for (index d = 0; d < a_.gates; ++d) d_state_.sum[d] *= c_.entry[d];
    }

    /// The written side, as far as the state behind the chunk knows it.
    void begin_written() noexcept {
        form::load_written(c_, where_, how_.read);
        if (c_.call->what.delta) solve();
        index const rows = whole_tiles(c_.count);
        if (needs().needs_queries() || needs().needs_keys()) {
            turn<L>(c_.values(), rows, c_.width, a_.turned_values());
        }
        if (needs().needs_keys()) {
            read_transposed<L>(c_, a_, a_.turned_values(), nullptr, d_state_, a_.key_gradients());
            Weights::move_to_end(c_, a_.key_gradients());
        }
        if (!needs().needs_values()) return;
        std::copy_n(c_.k, rows * c_.depth, a_.keys);
        Weights::move_to_end(c_, a_.written_keys());
        for_tiles<L>(rows, c_.width, [&]<class Tile>(std::type_identity<Tile>, index j, index e) {
            Tile sum;
            sum.clear();
            sum.add(a_.written_keys().from(j), {d_state_.s + e, d_state_.row_step}, c_.depth);
            sum.store(a_.value_gradients().from(j, e));
        });
    }

    /// Computes what the delta rule writes; the pairs among keys stay in a.inner.
    void solve() noexcept {
        std::swap(c_.scores, a_.inner);
        form::solve_written(c_, where_, state_, a_.rest_rows());
        std::swap(c_.scores, a_.inner);
    }

    /// Query head g: its own gradient, and what it adds to all others.
    void read(index g) noexcept {
        problem<A> const& call = *c_.call;
        form::load_readers(c_, where_.query_side(call.q, g), 0, c_.count);
        load_output_gradients(g);
        if (how_.write) form_pairs();
        differentiate_readers(how_.strict);
        if (needs().d_q.empty()) return;
        Weights::weigh_queries(c_, a_.query_gradients(), 0, c_.count);
        auto const from = where_.query_side(call.q, g), to = where_.query_side(needs().d_q, g);
        leave(from, to, a_.query_gradients(), add_.queries);
    }

    /// d_num = scale d_o, or by the quotient rule d_num = f d_o and d_den = -f (d_o . num) / (den +
    /// eps) with f = scale / (den + eps).
    void load_output_gradients(index g) noexcept {
        problem<A> const& call = *c_.call;
        matrix<A> const rows = a_.output_gradients();
        form::load(c_, where_.query_side(call.o, g), 0, c_.count, call.width, rows);
        for (index t = 0; t < c_.count; ++t) {
            A factor = call.scale;
            a_.d_den[t] = A(0);
            if (call.what.normalized) {
                index const reader = g * where_.length + c_.tokens[t];
                A const sum = where_.readings[reader] + call.eps;
                A const product = where_.readings[call.group() * where_.length + reader];
                factor = call.scale / sum;
                a_.d_den[t] = -factor * product / sum;
            }
            auto const factors = L::broadcast(factor);
            for (index e = 0; e < c_.width; e += L::width) {
                L::store(rows.at(t, e), factors * L::load(rows.at(t, e)));
            }
        }
    }

    void form_pairs() noexcept {
        score<L, Weights>(c_, 0, c_.count, how_.strict, c_.score_rows());
        if (!needs().needs_values()) return;
        add_transposed<L>(a_.value_gradients(), c_.score_rows(), a_.output_gradients(),
                          whole_tiles(c_.count), c_.width);
    }

    /// One set of readers, the queries or by the delta rule the keys, in c.q with the gradients of
    /// what they read. Leaves their own gradients, and c.q as the state in front meets it.
    void differentiate_readers(bool strict) noexcept {
        index const rows = whole_tiles(c_.count);
        bool const pairs = how_.write && (needs().needs_queries() || needs().needs_keys());
        A const* const factors = Weights::read_factors(c_, 0);
        if (pairs) differentiate_pairs<L, Weights>(c_, a_, strict);
        if (needs().needs_queries()) {
            turn<L>(a_.output_gradients(), rows, c_.width, a_.turned_output_gradients());
            read_transposed<L>(c_, a_, a_.turned_output_gradients(), a_.d_den, state_,
                               a_.query_gradients());
            add_rows<L>(a_.query_gradients(), factors, a_.pair_gradients(), c_.keys(), rows,
                        how_.write ? rows : 0, c_.depth);
            adjoint::add_readers(c_, a_);
        }
        if (how_.write && needs().needs_keys()) {
            add_transposed<L>(a_.key_gradients(), a_.pair_gradients(), c_.queries(), rows,
                              c_.depth);
        }
        if (!needs().needs_state()) return;
        for (index i = 0; factors != nullptr && i < c_.count; ++i) {
            scale_row<L>(c_.queries().at(i), L::broadcast(factors[i]), c_.depth);
        }
        bool const moves = how_.write && !moved_;
        differentiate_state<L>(c_, a_, moves ? c_.carry : a_.ones, d_state_);
        moved_ = moved_ || moves;
    }

    /// The delta rule's own readers: the keys, after the transposed solve.
    void read_by_keys() noexcept {
        solve_transposed<L>(c_, a_);
        form::load_readers(c_, where_.key_side(c_.call->k), 0, c_.count);
        for (index i = 0; i < c_.count * c_.width; ++i) a_.d_num[i] = -a_.d_v[i];
        fill<L>(a_.output_gradients().at(c_.count), A(0),
                (whole_tiles(c_.count) - c_.count) * c_.width);
        differentiate_readers(true);
    }

    void leave_written() noexcept {
        problem<A> const& call = *c_.call;
        Weights::weigh_keys(c_, a_.key_gradients());
        if (call.what.delta) {
            Weights::weigh_queries(c_, a_.query_gradients(), 0, c_.count);
            for (index i = 0; i < c_.count * c_.depth; ++i) a_.d_k[i] += a_.d_q[i];
        }
        if (!needs().d_k.empty()) {
            leave(where_.key_side(call.k), where_.key_side(needs().d_k), a_.key_gradients(),
                  add_.written);
        }
        for (index t = 0; t < c_.count; ++t) {
            auto const to = [&](tensor const& gradient, A* values, index channels) {
                if (gradient.empty()) return;
                leave_row<L>(where_.key_side(gradient, c_.tokens[t]), values, channels,
                             add_.written, a_.row[0]);
            };
            to(needs().d_v, a_.value_gradients().at(t), call.width);
            to(needs().d_beta, c_.beta + t, 1);
            if (call.what.decay == decay_kind::constant) continue;
            index const channels = call.what.per_channel() ? call.channels() : 1;
            A* const gates = a_.gate_terms().at(t);
            bool const twice = call.what.per_channel() && channels < call.depth;
            for (index d = 0; twice && d < channels; ++d) gates[d] += gates[channels + d];
            to(needs().d_gate, gates, channels);
        }
        if (call.what.decay == decay_kind::constant && needs().wants_gate()) {
            *a_.constant += double(std::accumulate(a_.terms, a_.terms + c_.count, A(0)));
        }
    }

    /// Leaves gradients of keys or queries, taken back through their turn and the feature map.
    void leave(rows_by_token const& from, rows_by_token const& to, matrix<A> gradients,
               bool add) noexcept {
        feature_kind const feature = c_.call->what.feature;
        index const channels = c_.call->channels();
        for (index t = 0; t < c_.count; ++t) {
            if (c_.call->what.turned) c_.turns[t].turn_back(gradients.at(t), c_.depth);
            if (feature != feature_kind::identity) {
                load_row<L>(a_.row[0], from[c_.tokens[t]], channels, c_.depth);
                differentiate_feature<L>(feature, a_.row[0], gradients.at(t), a_.row[1], channels,
                                         c_.depth);
            }
            leave_row<L>(to[c_.tokens[t]], gradients.at(t), channels, add, a_.row[0]);
        }
    }

    chunk<L>& c_;
    adjoint_chunk<L>& a_;
    site<A> const& where_;
    pass const& how_;
    head_state<A> const& state_;
    head_state<A> const& d_state_;
    begun add_;
    bool moved_ = false;  // whether dS stands in front of the chunk
};

}  // namespace rondo::inline RONDO_ISA::detail
