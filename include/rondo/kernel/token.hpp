/// @file
/// One token of one head: the recurrence as it is written. The state is read and written once.
#pragma once

#include <rondo/form/site.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// The rows of one token: padded keys, gates and queries, values and outputs.
template <class L>
struct token_rows {
    using A = typename L::value;
    A *k, *gate, *q, *v, *out, *partial;
    index depth, width;  // padded

    static index elements(index depth, index width) noexcept {
        return 3 * padded<L>(depth) + 3 * padded<L>(width);
    }
    static token_rows carve(A* memory, index depth, index width) noexcept {
        index const d = padded<L>(depth), e = padded<L>(width);
        return {memory,
                memory + d,
                memory + 2 * d,
                memory + 3 * d,
                memory + 3 * d + e,
                memory + 3 * d + 2 * e,
                d,
                e};
    }
};

/// The recurrent form of one token:
///
///     S' = before S,  u = v or beta (v - S'^T k),  S = after (S' + k u^T),  o = (S' + k u^T)^T q
///
/// where on_read decays before and on_write after. Additive: `before` is exp(m_(t-1) - m_t), the
/// key has the factor exp(z_t - m_t) and the query 1 / sum.
template <class L>
class token_kernel {
public:
    using A = typename L::value;
    using P = typename L::pack;

    token_kernel(token_rows<L> const& rows, site<A> const& where, head_state<A> const& state,
                 pass const& how, index token) noexcept
        : rows_(rows), where_(where), call_(*where.call), state_(state), how_(how), token_(token) {}

    void run() noexcept {
        load_gate();
        if (how_.write) load_written();
        if (how_.write && call_.what.delta) solve();
        if (how_.read) {
            for (index g = 0; g < call_.group(); ++g) read(g);
        }
        if (how_.write) write();
    }

private:
    bool additive() const noexcept { return call_.what.additive(); }
    A* before() const noexcept { return call_.what.on_write ? nullptr : rows_.gate; }
    A* after() const noexcept { return call_.what.on_write ? rows_.gate : nullptr; }

    /// Leaves in rows.gate the factor of each row of the state.
    void load_gate() noexcept {
        fill<L>(rows_.gate, A(1), rows_.depth);
        if (!call_.what.gated() || !how_.write) return;
        row const from = where_.key_side(call_.gate, token_);
        // A gate a token has channel stride 0 and so fills the row with equal values.
        load_row<L>(rows_.gate, from, std::max<index>(call_.depth, 1), rows_.depth);
        if (additive()) return;
        for (index d = 0; d < rows_.depth; d += L::width) {
            L::store(rows_.gate + d, L::exp(L::load(rows_.gate + d)));
        }
    }

    void load_written() noexcept {
        load_row<L>(rows_.k, where_.key_side(call_.k, token_), call_.depth, rows_.depth);
        apply_feature<L>(call_.what.feature, rows_.k, call_.depth, rows_.depth);
        load_row<L>(rows_.v, where_.key_side(call_.v, token_), call_.width, rows_.width);
        if (additive()) weigh();
    }

    /// Moves the running maxima and sums past the token, and turns logits into factors.
    void weigh() noexcept {
        index const channels = call_.gate_width();
        for (index d = 0; d < channels; ++d) {
            A const z = rows_.gate[d], highest = std::max(state_.max[d], z);
            A const reference = highest == -std::numeric_limits<A>::infinity() ? A(0) : highest;
            A const carry = one_exp(state_.max[d] - reference), weight = one_exp(z - reference);
            state_.max[d] = highest;
            state_.sum[d] = state_.sum[d] * carry + weight;
            index const last = channels == 1 ? call_.depth : d + 1;
            for (index i = d; i < last; ++i) {
                rows_.gate[i] = carry;
                rows_.k[i] *= weight;
            }
        }
    }

    static A one_exp(A x) noexcept {
        A lanes[L::width] = {x};
        L::store(lanes, L::exp(L::load(lanes)));
        return lanes[0];
    }

    /// v = beta (v - S'^T k)
    void solve() noexcept {
        row const beta = where_.key_side(call_.beta, token_);
        combine(rows_.k, rows_.out);
        A const step = load_element<A>(beta.data, beta.kind);
        for (index e = 0; e < call_.width; ++e) rows_.v[e] = step * (rows_.v[e] - rows_.out[e]);
    }

    /// to = S'^T x
    void combine(A const* x, A* to) const noexcept {
        for (index e = 0; e < call_.width; e += L::width) {
            index const lanes = std::min<index>(L::width, call_.width - e);
            P sum = L::broadcast(A(0));
            for (index d = 0; d < call_.depth; ++d) {
                A const factor = before() == nullptr ? x[d] : x[d] * rows_.gate[d];
                P const s = L::load(state_.s + d * state_.row_step + e, lanes);
                sum = L::fma(L::broadcast(factor), s, sum);
            }
            L::store(to + e, sum);
        }
    }

    void read(index g) noexcept {
        load_row<L>(rows_.q, where_.query_side(call_.q, g, token_), call_.depth, rows_.depth);
        apply_feature<L>(call_.what.feature, rows_.q, call_.depth, rows_.depth);
        if (additive()) {
            for (index d = 0; d < call_.depth; ++d) {
                A const sum = state_.sum[call_.gate_width() == 1 ? 0 : d];
                rows_.q[d] = sum > A(0) ? rows_.q[d] / sum : A(0);
            }
        }
        combine(rows_.q, rows_.out);
        A self = A(0), sum = A(0);
        bool const sees_itself = how_.write && !how_.strict;
        for (index d = 0; sees_itself && d < call_.depth; ++d) self += rows_.q[d] * rows_.k[d];
        for (index e = 0; sees_itself && e < call_.width; ++e) rows_.out[e] += self * rows_.v[e];
        for (index d = 0; call_.what.normalized && d < call_.depth; ++d) {
            A const factor = before() == nullptr ? A(1) : rows_.gate[d];
            sum += rows_.q[d] * factor * state_.normalizer[d];
        }
        sum += self;
        where_.template leave<L>(how_, g, &token_, 1, {rows_.out, rows_.width}, &sum,
                                 rows_.partial);
    }

    void write() noexcept {
        for (index d = 0; d < call_.depth; ++d) {
            A const decay = rows_.gate[d], key = rows_.k[d];
            P const scaled_key = L::broadcast(after() == nullptr ? key : key * decay);
            for (index e = 0; e < call_.width; e += L::width) {
                index const lanes = std::min<index>(L::width, call_.width - e);
                A* const s = state_.s + d * state_.row_step + e;
                P const decayed = L::load(s, lanes) * L::broadcast(decay);
                L::store(s, L::fma(scaled_key, L::load(rows_.v + e), decayed), lanes);
            }
            if (call_.what.normalized) {
                state_.normalizer[d] =
                    state_.normalizer[d] * decay + (after() == nullptr ? key : key * decay);
            }
        }
    }

    token_rows<L> const& rows_;
    site<A> const& where_;
    problem<A> const& call_;
    head_state<A> const& state_;
    pass const& how_;
    index token_;
};

}  // namespace rondo::inline RONDO_ISA::detail
