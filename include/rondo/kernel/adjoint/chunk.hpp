/// @file
/// The scratch of one chunk's adjoint, beside the chunk itself. Rows are padded as the chunk's are.
#pragma once

#include <rondo/kernel/chunk.hpp>

#include <algorithm>

namespace rondo::inline RONDO_ISA::detail {

/// One checked call of `backward`. The output of `call` is the gradient handed in; what is empty is
/// not wanted.
template <class A>
struct adjoint_problem {
    problem<A> call;
    tensor d_q, d_k, d_v, d_gate, d_beta;
    carried<A> d_out, d_in;
    index every = 1;  // chunks between two stored states

    bool wants_gate() const noexcept { return !d_gate.empty(); }
    /// What must be computed, wanted by itself or on the way to something else.
    bool needs_state() const noexcept {
        return !(d_k.empty() && d_v.empty() && d_gate.empty() && d_beta.empty() && d_in.empty());
    }
    bool needs_queries() const noexcept {
        bool const sums = call.what.additive() && !d_in.empty();  // dD comes with dq
        return !d_q.empty() || wants_gate() || sums || (call.what.delta && needs_state());
    }
    /// A state in front of a chunk is needed by readers of it, by the delta rule's solve, and for
    /// the references of an additive decay.
    bool needs_states() const noexcept {
        return needs_queries() || call.what.delta || call.what.additive();
    }
    bool needs_keys() const noexcept {
        return !d_k.empty() || wants_gate() || (call.what.delta && needs_state());
    }
    bool needs_values() const noexcept {
        return !d_v.empty() || (call.what.delta && needs_state());
    }
    /// Whether rows of dv that hold nothing yet can take what the delta rule writes.
    bool keeps_written() const noexcept {
        return call.what.delta && !d_v.empty() && d_v.kind == element_traits<A>::kind;
    }
};

/// Names: d_x is the derivative of the loss by x. `num` and `den` are what a reader sees before the
/// division, so that d_pairs(i, j) = w(i, j) (d_num_i . v_j + d_den_i). Gradients of queries and
/// keys are those of the weighted rows until a chunk is left.
template <class L>
struct adjoint_chunk {
    using A = typename L::value;

    adjoint_problem<A> const* call;
    index depth, width, columns;  // padded, as in the chunk
    index gates;                  // channels of a gate's gradient: depth, or 1

    // Gradients that the user's memory takes as they are computed: plain rows of whole packs that
    // nothing is left to be done to. With one pass to leave them there is no other place.
    struct {
        bool q, k, v, gate;
    } in_place;

    A* d_q;         // [rows, depth]
    A* d_num;       // [rows, width]
    A* d_den;       // [rows]
    A* v;           // [width, columns]    what is written, transposed
    A* d_pairs;     // [rows, columns]     where the pairs were
    A* d_k;         // [rows, depth]
    A* d_v;         // [rows, width]
    A* terms;       // [rows, gates]  what each token adds to the gates' gradients
    A* ones;        // [depth]
    A* zeros;       // [gates], by channel
    A* from_end;    // [gates]        <S, dS> at the chunk's end
    A* from_front;  // [gates]      and in front of it
    A* inner;       // [rows, columns]  delta: weighted products of keys with earlier keys
    A* row[2];      // [depth or width]
    // These, or the user's own rows.
    matrix<A> output_gradients, query_gradients, key_gradients, value_gradients, gate_terms;
    matrix<A> known_terms;       // what is added to: gate_terms, or one row for all tokens
    double* constant = nullptr;  // the gradient of the head's gate, decay::constant

    static adjoint_chunk carve(arena& memory, adjoint_problem<A> const& call, chunk<L>& forward) {
        adjoint_chunk c{};
        bool const delta = call.call.what.delta;
        c.call = &call;
        c.depth = forward.depth;
        c.width = forward.width;
        index const rows = forward.rows;
        c.columns = forward.columns;
        // What is no longer needed where these are: outputs, pairs, what the sweep weighed and the
        // keys by columns (but for another query head).
        c.d_num = forward.out;
        c.d_pairs = forward.scores;
        c.gates = call.call.what.per_channel() ? c.depth : 1;
        c.in_place = find_places(call, c);
        auto const passes = [&](bool pass::*does) {
            return std::count_if(call.call.passes.begin(), call.call.passes.end(),
                                 [=](pass const& p) { return p.*does; });
        };
        bool const one_reads = passes(&pass::read) <= 1, one_writes = passes(&pass::write) <= 1;
        auto const take = [&](bool placed, index channels) {
            return memory.template take<A>(placed ? 0 : rows * channels);
        };
        c.d_q = take(c.in_place.q && one_reads && !delta, c.depth);
        c.d_k = take(c.in_place.k && one_writes, c.depth);
        c.d_v = forward.written;
        if (!call.call.what.per_token()) c.d_v = take(c.in_place.v && one_writes, c.width);
        c.terms = take(c.in_place.gate && one_writes, c.gates);
        c.d_den = memory.template take<A>(rows);
        c.v = forward.turned;
        if (call.call.group() > 1 || c.width > c.depth)
            c.v = memory.template take<A>(c.width * c.columns);
        c.ones = memory.template take<A>(c.depth);
        c.zeros = memory.template take<A>(c.gates > 1 ? c.gates : 0);
        c.from_end = memory.template take<A>(c.gates);
        c.from_front = memory.template take<A>(c.gates);
        if (delta) {
            // Rows of d_q that only the keys need, as readers, when the pairs are done with.
            bool const late = c.in_place.q && one_reads && c.columns <= c.depth;
            c.inner = late ? c.d_q : memory.template take<A>(rows * c.columns);
            // Out of rows of dv it comes when nobody needs d_num any more.
            bool const waits = call.keeps_written() && one_writes;
            forward.rest = waits ? forward.out : memory.template take<A>(rows * c.width);
        }
        for (A*& row : c.row) row = memory.template take<A>(std::max(c.depth, c.width));
        return c;
    }

    static auto find_places(adjoint_problem<A> const& call, adjoint_chunk const& c) noexcept {
        problem<A> const& p = call.call;
        composition const& what = p.what;
        bool const ordered = std::any_of(p.passes.begin(), p.passes.end(),
                                         [](pass const& x) { return x.order != nullptr; });
        auto const fits = [&](tensor const& x, bool whole) {
            return whole && !ordered && !x.empty() && is_plain<A>({nullptr, x.channel, x.kind});
        };
        bool const depth = p.channels() == c.depth, by_channel = what.per_channel();
        bool const weighed = by_channel || what.additive();
        bool const rows = depth && !turns_rows<L> && what.feature == feature_kind::identity &&
                          (!weighed || (by_channel && !what.normalized));
        bool const whole_keys = rows && !what.delta && (!weighed || p.group() == 1);
        bool const width = p.width == c.width && !what.delta;
        return decltype(in_place){fits(call.d_q, rows), fits(call.d_k, whole_keys),
                                  fits(call.d_v, width), fits(call.d_gate, depth && by_channel)};
    }

    matrix<A> turned_values() const noexcept { return {v, columns}; }
    matrix<A> pair_gradients() const noexcept { return {d_pairs, columns}; }
};

}  // namespace rondo::inline RONDO_ISA::detail
