/// @file
/// The sizes of a walk with decaying columns, and its call.
#pragma once

#include <rondo/cuda/adjoint/call.cuh>
#include <rondo/cuda/tile.cuh>

namespace rondo::inline RONDO_ISA::cuda {

template <int Depth, int Warps>
struct column_shape {
    using element_type = __nv_bfloat16;
    static constexpr int depth = Depth, warps = Warps, columns = 16, width = columns * Warps;
    static constexpr int threads = warp_size * Warps;
    static constexpr int piece = 16, rows = 2 * piece;  // tokens on their way at a time
    using depth_tile = tile<element_type, Depth>;
    using width_tile = tile<element_type, width>;
    static constexpr int depth_bytes = rows * Depth * 2, width_bytes = rows * width * 2;
    static constexpr int stage_bytes = 2 * depth_bytes + 2 * width_bytes;

    /// What a warp notes of its columns for the tokens of a piece.
    struct notes {
        float step[piece][columns], read[piece][columns], write[piece][columns];
        float out[piece][columns];
        float decay[columns];
    };
    static constexpr int score_floats = 2 * piece * piece;
    static constexpr int shared_bytes =
        2 * stage_bytes + score_floats * int(sizeof(float)) + Warps * int(sizeof(notes));
};

/// One walk. `c` has the extents of the operator itself: x and y have its width, z its depth.
struct column_call {
    call<float> c;  // its first pass is the walk's
    tensor x, y, z, o, beside;
    float const* in;  // [sequence, head, width, depth] or null
    int gate_shift;   // from a token to the one whose gate counts between the last and it
    float* products;  // [token, head, depth]: of outputs and rows beside, or null
    float4* states;   // [sequence, head, slot, ...]: behind runs of `anchor_step` places
    float* anchors;   // [sequence, head, slot, depth]: their products, on the way back; or null
    index slots;
    // A sequence may be shared among blocks: segments first leave the state of their own tokens and
    // their decay, which one kernel joins into what each of them starts from.
    int segments, segment_length;
    bool aligned;     // chunks end where those of the walk the other way do
    bool leaves;      // the segment's state and decay, and nothing else
    float4* records;  // [sequence, head, segment, ...], or null where there is one
    float* decays;    // [sequence, head, segment, columns]
};

}  // namespace rondo::inline RONDO_ISA::cuda
