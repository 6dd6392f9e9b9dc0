/// @file
/// The gradients of a delta update in three steps: a walk forwards leaves what every chunk finds
/// and writes, a walk back what finds and reads it, and one block a chunk makes of these the
/// gradients, no block waiting for another. With P_ij = w(i, j) (q_i . k_j), the T = (1 + A)^-1 of
/// chunk_delta.cuh and L as there:
///
///     U  = T beta (V - e^L K S),               S' = e^(L_end) S + (e^(L_end - L) K)^T U
///     R  = T^T (P^T dO + e^(L_end - L) K dS'), dS = e^(L_end) dS' + (e^L Q)^T dO - (e^L K)^T beta
///     R
///
/// and dv = beta R, dbeta_t = R_t . u_t / beta_t. Queries and keys are those of an outer update of
/// the values U, with the keys as one more set of readers, whose outputs have the gradient -beta R.
/// (Yang et al. 2024, "Parallelizing linear transformers with the delta rule over sequence
/// length".)
#pragma once

#include <rondo/cuda/adjoint/channel_shape.cuh>
#include <rondo/cuda/chunk_leave.cuh>
#include <rondo/cuda/chunk_solve.cuh>
#include <rondo/cuda/chunk_transition.cuh>
#include <rondo/cuda/tuning.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// The walks: a block takes 64 columns of the state of one head.
template <int Side>
using delta_walk_shape = chunk_shape<__nv_bfloat16, weighing::token, Side, 16, 4, true>;

/// The walks where channels have log decays of their own, over rows that were weighed before: no
/// exponent is above 0, so that no gate is too steep. A block takes all columns.
template <int Side, bool Back>
struct delta_channel_walk_shape
    : chunk_shape<__nv_bfloat16, weighing::channel, Side, 16, Side / 16, true> {
    using base = chunk_shape<__nv_bfloat16, weighing::channel, Side, 16, Side / 16, true>;
    static constexpr int query_bytes = Back ? base::depth_bytes : 0;
    static constexpr int pair_bytes = Back ? base::score_bytes : 0;
    static constexpr int stage_bytes =
        query_bytes + 2 * base::depth_bytes + base::width_bytes + base::score_bytes + pair_bytes;
    static constexpr int carry_bytes = Side * int(sizeof(float));
    static __host__ __device__ constexpr int stage_bytes_of(bool) { return stage_bytes; }
    static __host__ __device__ constexpr int tile_bytes(bool) {
        return 2 * (stage_bytes + carry_bytes);
    }
};

/// What those read of each chunk: [key head, slot, ..], in bfloat16.
struct weighed_chunks {
    std::byte *queries, *readers;  // [.., token, depth]: e^L Q and e^L K
    std::byte* writers;            // .. e^(L_end - L) K
    std::byte* pairs;              // [.., reader, token]: P
    float* carries;                // [.., depth]: e^(L_end)
};

/// What the kernels share; queries and keys have as many heads.
struct delta_call {
    call<float> c;  // its output is the gradient handed in
    tensor d_q, d_k, d_v, d_gate, d_beta;
    detail::carried<float> d_out, d_in;
    solved_chunks solved;
    // Of each chunk, transposed: [key head, slot, column, ..] in bfloat16.
    std::byte *states, *d_states;    // [.., depth]: S in front of it, dS' behind it
    std::byte *updates, *d_updates;  // [.., token]: U and R
    index columns;                   // of these, whole tiles
    // By channel, where U is a tensor in two parts and R is left as the gradient of the values.
    weighed_chunks weighed;
    tensor u, u_rest;
    float* constant;  // [key head, slot]: of the gradient of a gate of all tokens

    __device__ index slot(location const& where, int number) const {
        int const rows = most_chunk_rows;
        return where.head * solved.slots + chunk_slots::first(c, where.sequence, rows) + number;
    }
};

}  // namespace rondo::inline RONDO_ISA::cuda
