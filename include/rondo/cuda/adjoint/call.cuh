/// @file
/// A checked call of `backward` as device code sees it, and the dense rows that its plain kernels
/// hand to each other.
#pragma once

#include <rondo/cuda/rows.cuh>
#include <rondo/kernel/adjoint/chunk.hpp>

namespace rondo::inline RONDO_ISA::cuda {

/// Places from one stored state to the next: where gradients of log decays are computed anew from
/// the state and its gradient, so that rounding does not grow with T.
inline constexpr int anchor_step = 64;

/// A call of `backward`: the output of `c` is the gradient handed in, its passes are one chain that
/// hands a state on. Rows are by token, [token, head, channels], in the accumulator type; query
/// heads are differentiated each by itself and added up in order. What is not needed is null.
template <class A>
struct adjoint_call {
    call<A> c;
    tensor d_q, d_k, d_v, d_gate, d_beta;
    detail::carried<A> d_out, d_in;
    index tokens;   // rows of every array
    index columns;  // of the state: the width, and one more for the normaliser, whose value is 1
    index tiles;    // blocks that share the columns
    index slots;    // stored states of a sequence
    bool add;       // to what earlier chains left
    bool constant;  // one gate for all tokens of a head

    A *q, *k, *v, *factor, *beta;  // mapped rows, factors of the state
    A *weight, *share;             // additive: of keys and of queries
    A* num;                        // [query head, columns]: outputs before the division
    A* d_num;                      // [query head, columns]
    A* rest;                       // [query head, columns]: delta, v - S'^T k

    // Of one chain.
    A *by_query, *by_key, *by_reading_key;  // [tile][token, query head, depth]
    A* by_value;                            // [token, query head, columns]
    A* by_beta;                             // [tile][token, query head]
    A* by_state;                            // [sequence, query head, depth, columns]
    A* saved;    // [sequence, query head, slot, depth, columns]: states behind runs of places
    A* anchors;  // [tile][sequence, query head, slot, depth]: their products with the gradients
    A *terms, *sums;  // [head, gates]: what a token adds to log decays, or to logits and sums

    // Over all chains.
    A *sum_q, *sum_k, *sum_v, *sum_gate, *sum_beta;

    __device__ index gates() const { return c.gate_width; }
    /// The row of a token.
    __device__ index row(location const& where, index token) const {
        return where.batch * c.length + where.first + token;
    }
    /// The rows of query heads and of key/value heads.
    __device__ index query(index row, index head) const { return row * c.query_heads + head; }
    __device__ index key(index row, index head) const { return row * c.heads + head; }
    /// A row of the user's memory.
    __device__ std::byte* at(tensor const& x, index row, index head) const {
        bool const packed = c.offsets != nullptr;
        index const batch = packed ? 0 : row / c.length, time = packed ? row : row % c.length;
        return x.data + batch * x.batch + head * x.head + time * x.time;
    }
};

/// The row and head of a warp, of `heads` heads; false beyond the end.
struct warp_item {
    index row, head;
    int lane;

    __device__ warp_item(index heads) : lane(threadIdx.x % warp_size) {
        index const item = (index(blockIdx.x) * blockDim.x + threadIdx.x) / warp_size;
        row = item / heads, head = item % heads;
    }
};

}  // namespace rondo::inline RONDO_ISA::cuda
