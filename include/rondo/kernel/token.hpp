/// @file
/// One token of one head: the recurrence as it is written, at the speed of memory. Decoding does
/// little else than move states, so each is read once and written once.
#pragma once

#include <rondo/form/site.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// The rows of one token: padded keys, gates and queries, values and outputs.
template <class L>
struct token_rows {
    using A = typename L::value;
    A *k, *gate;        // [depth]
    A *v, *partial;     // [width]
    matrix<A> queries;  // [heads, depth]
    matrix<A> sums;     // [1 + heads, width] what the key reads in the state, and what queries read
    index depth, width;         // padded
    index heads;                // queries that read the state side by side
    row_turn<L> turn{nullptr};  // of the token, where positions are fused

    /// With as many queries of a group as `room` elements are for, at least one.
    static token_rows carve(A* memory, index room, index depth, index width, index group) noexcept {
        index const d = padded<L>(depth), e = padded<L>(width);
        index const heads = std::clamp<index>(room / (d + e) - 3, 1, std::max<index>(group, 1));
        A *const v = memory + 2 * d, *const queries = v + 2 * e;
        return {memory, memory + d, v, v + e, {queries, d}, {queries + heads * d, e}, d, e, heads};
    }
};

/// The recurrent form of one token:
///
///     S' = before S,  u = v or beta (v - S'^T k),  S = after (S' + k u^T),  o = (S' + k u^T)^T q
///
/// where on_read decays before and on_write after. Additive: `before` is exp(m_(t-1) - m_t), the
/// key has the factor exp(z_t - m_t) and the query 1 / sum.
///
/// All that reads the state reads it as it was, o = S'^T q + (q.k) u, so that one sweep reads and
/// writes. The u of the delta rule waits for a read of its own: a second sweep writes over what the
/// first left in the caches. A state that comes from memory is asked for `Ahead` elements before it
/// is read.
template <class L, index Ahead = 0>
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
        index const group = how_.read ? call_.group() : 0;
        index first = 0;
        do {  // queries that there is no room for read in another sweep; the last one writes
            index const heads = std::min(group - first, rows_.heads);
            for (index i = 0; i < heads; ++i) load_query(first + i, rows_.queries.at(i));
            bool const writes = how_.write && first + heads == group;
            if (how_.write && call_.what.delta && first == 0) {
                sweep(0, 1 + heads, false);
                solve();
                if (writes) write();
            } else {
                sweep(1, 1 + heads, writes);
            }
            for (index i = 0; i < heads; ++i) leave(first + i, i);
            first += heads;
        } while (first < group);
        if (how_.write && call_.what.normalized) write_normalizer();
    }

private:
    bool additive() const noexcept { return call_.what.additive(); }
    bool after() const noexcept { return call_.what.on_write; }

    /// How many lanes of the pack at channel c are in a row of `channels`, which may be unpadded.
    static index lanes(index c, index channels) noexcept {
        return std::min<index>(L::width, channels - c);
    }

    /// Leaves in rows.gate the factor of each row of the state, or the logits.
    void load_gate() noexcept {
        fill<L>(rows_.gate, A(1), rows_.depth);
        if (!call_.what.gated() || !how_.write) return;
        row const from = where_.key_side(call_.gate, token_);
        if (call_.what.per_channel()) {
            index const channels = call_.channels();
            load_row<L>(rows_.gate, from, channels, rows_.depth);
            if (channels < call_.depth) std::copy_n(rows_.gate, channels, rows_.gate + channels);
        } else {
            fill<L>(rows_.gate, load_element<A>(from.data, from.kind), rows_.depth);
        }
        if (additive()) return;
        for (index d = 0; d < rows_.depth; d += L::width) {
            L::store(rows_.gate + d, L::exp(L::load(rows_.gate + d)));
        }
    }

    void load_written() noexcept {
        load_row<L>(rows_.k, where_.key_side(call_.k, token_), call_.channels(), rows_.depth);
        apply_feature<L>(call_.what.feature, rows_.k, call_.channels(), rows_.depth);
        if constexpr (turns_rows<L>) rows_.turn.turn(rows_.k, rows_.depth);
        load_row<L>(rows_.v, where_.key_side(call_.v, token_), call_.width, rows_.width);
        if (additive()) weigh();
    }

    /// Moves the running maxima and sums past the token, and turns logits into factors.
    void weigh() noexcept {
        bool const each = call_.what.per_channel();
        P const zero = L::broadcast(A(0));
        P const nothing = L::broadcast(-std::numeric_limits<A>::infinity());
        // One logit a head: all packs are equal, and one lane is kept.
        A const only_max = each ? A(0) : *state_.max, only_sum = each ? A(0) : *state_.sum;
        for (index d = 0; d < (each ? call_.depth : rows_.depth); d += L::width) {
            index const kept = each ? lanes(d, call_.depth) : 1;
            A *const max = state_.max + (each ? d : 0), *const sum = state_.sum + (each ? d : 0);
            P const earlier = each ? L::load(max, kept) : L::broadcast(only_max);
            P const total = each ? L::load(sum, kept) : L::broadcast(only_sum);
            P const z = L::load(rows_.gate + d), highest = L::max(earlier, z);
            P const reference = L::where_less(nothing, highest, highest, zero);
            P const carry = L::exp(earlier - reference), weight = L::exp(z - reference);
            L::store(max, highest, kept);
            L::store(sum, L::fma(total, carry, weight), kept);
            L::store(rows_.gate + d, carry);
            L::store(rows_.k + d, L::load(rows_.k + d) * weight);
        }
    }

    void load_query(index g, A* q) const noexcept {
        load_row<L>(q, where_.query_side(call_.q, g, token_), call_.channels(), rows_.depth);
        apply_feature<L>(call_.what.feature, q, call_.channels(), rows_.depth);
        if constexpr (turns_rows<L>) rows_.turn.turn(q, rows_.depth);
        if (!additive()) return;
        bool const each = call_.what.per_channel();
        P const zero = L::broadcast(A(0));
        for (index d = 0; d < call_.depth; d += L::width) {
            P const sum =
                each ? L::load(state_.sum + d, lanes(d, call_.depth)) : L::broadcast(*state_.sum);
            L::store(q + d, L::where_less(zero, sum, L::load(q + d) / sum, zero));
        }
    }

    /// The readers [first, last), 0 being the key and the others queries, gather S'^T x, the last
    /// of them while the state is written if it is to be. Rows of the state are taken a few at a
    /// time: they lie side by side in memory and are still in the first cache for the next reader.
    void sweep(index first, index last, bool writes) noexcept {
        if (first == last) {
            if (writes) write();
            return;
        }
        for (index i = first; i < last; ++i) fill<L>(rows_.sums.at(i), A(0), rows_.width);
        index d = 0;
        for (; d + tile_rows <= call_.depth; d += tile_rows) {
            rows<tile_rows>(d, first, last, writes);
        }
        for (; d < call_.depth; ++d) rows<1>(d, first, last, writes);
    }

    template <int Rows>
    void rows(index d, index first, index last, bool writes) noexcept {
        for (index i = first; i < last - 1; ++i) tile<Rows, true, false>(d, i);
        writes ? tile<Rows, true, true>(d, last - 1) : tile<Rows, true, false>(d, last - 1);
    }

    /// S = after (S' + k u^T) from the last row up: that one was read last and is the nearest.
    void write() noexcept {
        index const whole = call_.depth / tile_rows * tile_rows;
        for (index d = call_.depth; d > whole;) tile<1, false, true>(--d, 0);
        for (index d = whole; d > 0;) tile<tile_rows, false, true>(d -= tile_rows, 0);
    }

    /// sums_i += S'^T x_i and S = after (S' + k u^T), as far as these rows of S go.
    template <int Rows, bool Read, bool Write>
    void tile(index d, index reader) noexcept {
        A const* const x = (reader == 0 ? rows_.k : rows_.queries.at(reader - 1)) + d;
        A const *const gate = rows_.gate + d, *const k = rows_.k + d;
        A const* const u = rows_.v;
        A* const sums = rows_.sums.at(reader);
        A* const s = state_.s + d * state_.row_step;
        P read[Rows], decay[Rows], key[Rows];
        RONDO_UNROLL
        for (int r = 0; r < Rows; ++r) {
            read[r] = L::broadcast(after() ? x[r] : x[r] * gate[r]);
            decay[r] = L::broadcast(gate[r]);
            key[r] = L::broadcast(after() ? k[r] * gate[r] : k[r]);
        }
        auto const columns = [&](index e, auto... count) {
            P sum = L::load(sums + e), written = L::load(u + e);
            RONDO_UNROLL
            for (int r = 0; r < Rows; ++r) {
                A* const at = s + r * state_.row_step + e;
                if constexpr (Read && Ahead > 0) __builtin_prefetch(at + Ahead, 0, 2);
                P const old = L::load(at, count...);
                if constexpr (Read) sum = L::fma(read[r], old, sum);
                if constexpr (Write)
                    L::store(at, L::fma(key[r], written, old * decay[r]), count...);
            }
            if constexpr (Read) L::store(sums + e, sum);
        };
        index e = 0;
        for (; e + L::width <= call_.width; e += L::width) columns(e);
        if (e < call_.width) columns(e, call_.width - e);
    }

    /// v = beta (v - S'^T k)
    void solve() noexcept {
        row const from = where_.key_side(call_.beta, token_);
        P const beta = L::broadcast(load_element<A>(from.data, from.kind));
        for (index e = 0; e < rows_.width; e += L::width) {
            L::store(rows_.v + e, beta * (L::load(rows_.v + e) - L::load(rows_.sums.at(0, e))));
        }
    }

    /// Hands on what query i has read, and what it reads of the token itself.
    void leave(index g, index i) noexcept {
        A const* const q = rows_.queries.at(i);
        A* const out = rows_.sums.at(1 + i);
        P product = L::broadcast(A(0)), found = product;
        bool const sees_itself = how_.write && !how_.strict;
        for (index d = 0; sees_itself && d < rows_.depth; d += L::width) {
            product = L::fma(L::load(q + d), L::load(rows_.k + d), product);
        }
        A const self = L::sum(product);
        for (index e = 0; sees_itself && e < rows_.width; e += L::width) {
            L::store(out + e, L::fma(L::broadcast(self), L::load(rows_.v + e), L::load(out + e)));
        }
        for (index d = 0; call_.what.normalized && d < call_.depth; d += L::width) {
            P const x = after() ? L::load(q + d) : L::load(q + d) * L::load(rows_.gate + d);
            found = L::fma(x, L::load(state_.normalizer + d, lanes(d, call_.depth)), found);
        }
        A sum = L::sum(found) + self;
        where_.template leave<L>(how_, g, &token_, 1, {out, rows_.width}, &sum, rows_.partial);
    }

    void write_normalizer() noexcept {
        for (index d = 0; d < call_.depth; d += L::width) {
            A* const to = state_.normalizer + d;
            index const kept = lanes(d, call_.depth);
            P const decay = L::load(rows_.gate + d), k = L::load(rows_.k + d);
            P const key = after() ? k * decay : k;
            L::store(to, L::fma(L::load(to, kept), decay, key), kept);
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
