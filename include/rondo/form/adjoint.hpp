/// @file
/// The adjoint of one chunk, from its end to its start. All pairs within it, and the two states
/// that meet in front of it: S, as the forward pass left it there, and dS, which comes from behind.
#pragma once

#include <rondo/form/chunkwise.hpp>
#include <rondo/kernel/adjoint/additive.hpp>
#include <rondo/kernel/adjoint/channels.hpp>
#include <rondo/kernel/adjoint/delta.hpp>
#include <rondo/kernel/adjoint/feature.hpp>

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
    static void write_only(chunk<L>& c, adjoint_chunk<L>& a, site<A> const& where, pass how,
                           head_state<A> const& state, index begin, index count) noexcept {
        how.read = false;
        if (adjoint::rescales || c.call->what.delta) {
            return form::advance(c, where, state, how, begin, count);
        }
        enter(c, where, state, how, begin, count);
        form::load_written(c, where);
        adjoint::weigh_written(c, a, false);
        chunk<L> written = c;
        written.running = a.carry;
        matrix<A> const keys = adjoint::written_keys(c, a);
        write_state<L, per_channel<L>>(written, keys, state);
        if (c.call->what.normalized) write_normalizer<L, per_channel<L>>(written, keys, state);
    }

    /// Takes the places [begin, begin + count) of a pass; false, and nothing done, when the chunk
    /// must be halved first. Leaves dS in front of the chunk.
    bool retreat(index begin, index count) noexcept {
        if (!enter(c_, where_, state_, how_, begin, count)) return false;
        fill<L>(a_.terms, A(0), count * a_.gates);
        if (how_.write) begin_written();
        for (index g = 0; how_.read && g < c_.call->group(); ++g) read(g);
        if (how_.write && c_.call->what.delta && needs().needs_state()) read_by_keys();
        if (!needs().needs_state()) return true;
        adjoint::finish_gates(c_, a_, d_state_, how_.write);
        if (how_.write) leave_written();
        if (how_.write && !moved_) scale_state<L>(c_, a_.carry, d_state_);
        if (how_.write && adjoint::rescales) {
            for (index d = 0; d < a_.gates; ++d) d_state_.sum[d] *= a_.carry[d];
        }
        if (!adjoint::rescales && needs().wants_gate()) {
            contract_states<L>(c_, a_.gates, state_, d_state_, a_.from_end);
        }
        return true;
    }

private:
    static bool enter(chunk<L>& c, site<A> const& where, head_state<A> const& state,
                      pass const& how, index begin, index count) noexcept {
        c.count = count;
        c.one_window = !(how.read && how.write);
        for (index t = 0; t < count; ++t) c.tokens[t] = how.token(begin + t, where.length);
        auto const gates = where.key_side(c.call->gate);
        auto const gate_row = [&](index t) { return gates[c.tokens[t]]; };
        return Weights::load_gates(c, state, gate_row, how);
    }

    adjoint_problem<A> const& needs() const noexcept { return *a_.call; }

    /// The written side, as far as the state behind the chunk knows it.
    void begin_written() noexcept {
        form::load_written(c_, where_);
        if (c_.call->what.delta) solve();
        if (!needs().needs_state()) return;
        if (needs().needs_keys()) {
            read_transposed<L>(c_, c_.values(), nullptr, d_state_, a_.key_gradients());
        }
        adjoint::weigh_written(c_, a_, needs().needs_keys());
        matrix<A> const keys = adjoint::written_keys(c_, a_);
        for (index t = 0; needs().needs_values() && t < c_.count; t += tile_rows) {
            read_tile<L>(c_, {keys.at(t), keys.row_step}, d_state_.s, 0,
                         {a_.value_gradients().at(t), a_.width});
        }
    }

    /// Computes what the delta rule writes.
    void solve() noexcept {
        std::copy_n(c_.k, whole_tiles(c_.count) * c_.depth, a_.q);
        walk(a_.inner, true, [&](index tile) {
            matrix<A> const to{a_.rest_rows().at(tile), a_.width};
            read_tile<L>(c_, Weights::state_queries(c_), state_.s, 0, to);
        });
        solve_written<L>(c_, a_);
    }

    /// Every tile of readers in turn, their queries and pairs weighted.
    template <class Body>
    void walk(A* pairs, bool strict, Body const& body) noexcept {
        A* const scores = c_.scores;
        adjoint::restart(c_);
        for (index tile = 0; tile < c_.count; tile += tile_rows) {
            Weights::enter_tile(c_, tile);
            std::copy_n(a_.queries().at(tile), tile_rows * c_.depth, c_.raw_queries().data);
            Weights::weigh_queries(c_, tile);
            if (how_.write) {
                c_.scores = pairs + tile * c_.rows;
                Weights::pair(c_, tile);
                for (index r = 0; strict && r < tile_rows; ++r) {
                    *c_.score_rows().at(r, tile + r) = A(0);
                }
            }
            body(tile);
            Weights::leave_tile(c_, tile);
        }
        c_.scores = scores;
    }

    /// Query head g: its own gradient, and what it adds to all others.
    void read(index g) noexcept {
        problem<A> const& call = *c_.call;
        form::load_rows(c_, where_.query_side(call.q, g), 0, c_.count, call.depth, a_.queries());
        form::apply(c_, c_.count, a_.queries());
        load_output_gradients(g);
        index const missing = whole_tiles(c_.count) - c_.count;
        fill<L>(a_.queries().at(c_.count), A(0), missing * c_.depth);
        fill<L>(a_.output_gradients().at(c_.count), A(0), missing * c_.width);
        fill<L>(a_.d_den + c_.count, A(0), missing);
        differentiate_readers(how_.strict, false);
        if (needs().d_q.empty()) return;
        auto const from = where_.query_side(call.q, g), to = where_.query_side(needs().d_q, g);
        leave(from, to, a_.query_gradients(), add_.queries);
    }

    /// d_num = scale d_o, or by the quotient rule d_num = f d_o and d_den = -f (d_o . num) / (den +
    /// eps) with f = scale / (den + eps).
    void load_output_gradients(index g) noexcept {
        problem<A> const& call = *c_.call;
        matrix<A> const rows = a_.output_gradients();
        form::load_rows(c_, where_.query_side(call.o, g), 0, c_.count, call.width, rows);
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
            for (index e = 0; e < c_.width; ++e) *rows.at(t, e) *= factor;
        }
    }

    /// One set of readers, `by_keys` those of the delta rule, whose pairs are its own affair.
    void differentiate_readers(bool strict, bool by_keys) noexcept {
        bool const queries = needs().needs_queries(), state = needs().needs_state();
        if (how_.write) differentiate_pairs<L>(c_, a_, strict);
        if (queries) {
            read_transposed<L>(c_, a_.output_gradients(), a_.d_den, state_, a_.query_gradients());
        }
        walk(a_.pairs, strict, [&](index tile) {
            index const keys = how_.write ? tile + tile_rows : 0;
            adjoint::weigh_readers(c_, a_, tile, keys);
            if (queries) adjoint::read(c_, a_, tile, keys);
        });
        if (how_.write && needs().needs_values() && !by_keys) {
            add_transposed<L>(a_.value_gradients(), a_.pair_rows(), a_.output_gradients(), c_.count,
                              c_.width);
        }
        if (state) {
            bool const moves = how_.write && !adjoint::rescales && !moved_;
            differentiate_state<L>(c_, a_, moves, adjoint::read_queries(a_), d_state_);
            moved_ = moved_ || moves;
        }
        if (how_.write && needs().needs_keys()) adjoint::write(c_, a_);
        if (queries) adjoint::add_readers(c_, a_);
    }

    /// The delta rule's own readers: the keys, after the transposed solve.
    void read_by_keys() noexcept {
        solve_transposed<L>(c_, a_);
        index const rows = whole_tiles(c_.count);
        std::copy_n(c_.k, rows * c_.depth, a_.q);
        for (index i = 0; i < c_.count * c_.width; ++i) a_.d_num[i] = -a_.d_v[i];
        fill<L>(a_.output_gradients().at(c_.count), A(0), (rows - c_.count) * c_.width);
        differentiate_readers(true, true);
    }

    void leave_written() noexcept {
        problem<A> const& call = *c_.call;
        if (call.what.delta) {
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
            to(needs().d_gate, a_.gate_terms().at(t), call.what.per_channel() ? call.depth : 1);
        }
        if (call.what.decay == decay_kind::constant && needs().wants_gate()) {
            *a_.constant += double(std::accumulate(a_.terms, a_.terms + c_.count, A(0)));
        }
    }

    /// Leaves gradients of keys or queries, taken back through the feature map.
    void leave(rows_by_token const& from, rows_by_token const& to, matrix<A> gradients,
               bool add) noexcept {
        feature_kind const feature = c_.call->what.feature;
        index const channels = c_.call->depth;
        for (index t = 0; t < c_.count; ++t) {
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
