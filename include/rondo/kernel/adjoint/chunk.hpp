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

    A* d_q;       // [rows, depth]
    A* d_num;     // [rows, width]
    A* d_den;     // [rows]
    A* turned;    // [width, depth]      dS transposed
    A* s;         // [width, depth]      delta: S transposed
    A* v;         // [width, columns]    what is written, transposed
    A* d_pairs;   // [rows, columns]     where the pairs were
    A* d_k;       // [rows, depth]
    A* d_v;       // [rows, width]
    A* terms;     // [rows, gates]  what each token adds to the gates' gradients
    A* ones;      // [depth]
    A* from_end;  // [gates]        <S, dS> at the chunk's end
    A* inner;     // [rows, columns]  delta: weighted products of keys with earlier keys
    A* rest;      // [rows, width]    delta: what is written, before the factor beta
    A* row[2];    // [depth or width]
    // These, or the user's own rows.
    matrix<A> output_gradients, query_gradients, key_gradients, value_gradients;
    bool turned_is_new = false;  // whether `turned` is that of dS as it is
    double* constant = nullptr;  // the gradient of the head's gate, decay::constant

    static adjoint_chunk carve(arena& memory, adjoint_problem<A> const& call,
                               chunk<L> const& forward) {
        adjoint_chunk c{};
        bool const delta = call.call.what.delta;
        c.call = &call;
        c.depth = forward.depth;
        c.width = forward.width;
        index const rows = forward.rows;
        c.columns = forward.columns;
        // What is no longer needed where these are: outputs, pairs, what the sweep weighed, the
        // keys by columns (but for another query head) and S itself, whose place the walk gives.
        c.d_num = forward.out;
        c.d_pairs = forward.scores;
        c.gates = call.call.what.per_channel() ? c.depth : 1;
        for (A** rows_of_depth : {&c.d_q, &c.d_k}) {
            *rows_of_depth = memory.template take<A>(rows * c.depth);
        }
        c.d_v = forward.written;
        if (!call.call.what.per_token()) c.d_v = memory.template take<A>(rows * c.width);
        c.d_den = memory.template take<A>(rows);
        c.s = memory.template take<A>(delta ? c.width * c.depth : 0);
        c.v = forward.turned;
        if (call.call.group() > 1 || c.width > c.depth)
            c.v = memory.template take<A>(c.width * c.columns);
        c.terms = memory.template take<A>(rows * c.gates);
        c.ones = memory.template take<A>(c.depth);
        c.from_end = memory.template take<A>(c.gates);
        c.inner = memory.template take<A>(delta ? rows * c.columns : 0);
        c.rest = memory.template take<A>(delta ? rows * c.width : 0);
        for (A*& row : c.row) row = memory.template take<A>(std::max(c.depth, c.width));
        return c;
    }

    matrix<A> turned_gradient() const noexcept { return {turned, depth}; }
    matrix<A> delta_state() const noexcept { return {s, depth}; }
    matrix<A> turned_values() const noexcept { return {v, columns}; }
    matrix<A> pair_gradients() const noexcept { return {d_pairs, columns}; }
    matrix<A> gate_terms() const noexcept { return {terms, gates}; }
    matrix<A> rest_rows() const noexcept { return {rest, width}; }
};

}  // namespace rondo::inline RONDO_ISA::detail
