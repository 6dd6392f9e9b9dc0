/// @file
/// The gradients under a decay by channel, of queries, keys and log decays: two walks leave the
/// states S in front of every chunk of 64 tokens and dS behind it, and one block makes of these the
/// gradients of a chunk's 64 channels, no block waiting for another. With G the log decay
/// accumulated in the chunk and A_ij = d_o_i . v_j, per channel d
///
///     dq_i = scale e^(G_i) (S d_o_i) + scale sum_(j <= i) A_ij k_j e^(G_i - G_j)
///     dk_j = scale e^(G_end - G_j) (dS v_j) + scale sum_(i >= j) A_ij q_i e^(G_i - G_j)
#pragma once

#include <rondo/cuda/adjoint/call.cuh>
#include <rondo/cuda/tile.cuh>
#include <rondo/cuda/tuning.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// The tensors of a call, and the rows of one of them by the places of a chunk. `weight`: of keys
/// that an additive decay has weighed (prefix.cuh).
enum channel_tensor : int {
    of_q,
    of_k,
    of_gate,
    of_v,
    of_d_o,
    to_q,
    to_k,
    to_gate,
    of_weight,
    of_beta,  // of a delta update (delta_channels.cuh)
    to_beta,
    of_more,  // to be added to the gradients of keys
    of_rest,  // what rounding left out of the values
};
inline constexpr int channel_tensors = of_rest + 1;
struct channel_rows {
    std::byte* first;
    int step;

    __device__ std::byte* operator[](int row) const { return first + index(row) * step; }
};

/// Sizes of a block that makes the gradients of a chunk. `Width`: value columns, padded. `Delta`:
/// of a delta update, whose readers come in two launches (delta_channels.cuh).
template <int Width, bool Delta = false>
struct channel_shape {
    using element_type = __nv_bfloat16;
    static constexpr bool delta = Delta;
    static constexpr int width = Width, rows = most_chunk_rows, slice = 64, pairs = slice / 2;
    static constexpr int piece = 16, pieces = rows / piece;
    // A warp takes a piece's queries, or its keys.
    static constexpr int warps = 2 * pieces, threads = warps * warp_size;
    static constexpr int resident = Width > 64 ? 2 : 3;

    using slice_tile = tile<element_type, slice>;
    using width_tile = tile<element_type, Width>;
    static constexpr int slice_bytes = rows * slice * 2, width_bytes = rows * Width * 2;
    static constexpr int state_bytes = Width * slice * 2, piece_bytes = piece * slice * 2;
    // Queries of the first piece meet no other.
    static constexpr int weighed_bytes = (2 * pieces - 1) * piece_bytes;
    static constexpr int tile_bytes =
        3 * slice_bytes + weighed_bytes + 2 * (width_bytes + state_bytes);

    // Behind the products, in the place of tiles: a warp's sums, and its piece's own A.
    static constexpr int sum_bytes = piece * slice * 4, own_bytes = piece * piece * 4;
    static_assert(warps * sum_bytes <= 2 * (width_bytes + state_bytes));
    static_assert(warps * own_bytes <= weighed_bytes);

    // Behind these, in the place of A: what a warp's rows add to those before them, and their
    // decay.
    struct joined {
        float2 sum[warps][pairs], through[warps][pairs];
    };
    static_assert(sizeof(joined) <= weighed_bytes);

    struct notes {
        channel_rows rows[channel_tensors];
        float2 decay[pieces][pairs];   // of pieces
        float2 over[pieces][pairs];    // <S, dS>
        float2 behind[pieces][pairs];  // k dk of what keys find in dS
        unsigned last[pairs];          // the gates behind the chunk
    };
    static constexpr int shared_bytes = tile_bytes + int(sizeof(notes));
};

/// What its blocks share. States are rows of key channels: [key head, slot, value column, ..].
struct channel_call {
    call<float> c;  // its first pass is the walk forwards
    tensor x[channel_tensors];
    // dS without the decay between it and the chunk; of a delta update with it, or null.
    std::byte const *states, *d_states;
    index slots;     // of a head
    int row_bytes;   // of a state
    int gate_shift;  // from a token to the one whose gate counts between the last and it
    // What weighed keys hand on to logits, [sequence, head, chunk, depth], or null.
    float2* behind;
    index segments;  // of these
};

/// The strength of a token of a delta update as its gradients take it: one that writes nothing
/// writes next to nothing, so that what it would write is known, too.
__device__ inline float strength_of(float beta) {
    constexpr float least = 0x1p-48F;
    return fabsf(beta) < least ? least : beta;
}

}  // namespace rondo::inline RONDO_ISA::cuda
