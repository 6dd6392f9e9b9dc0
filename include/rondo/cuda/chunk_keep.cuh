/// @file
/// The state in front of each chunk of a walk, kept in bfloat16: what reads a chunk then needs no
/// walk.
#pragma once

#include <rondo/cuda/chunk_leave.cuh>
#include <rondo/cuda/chunk_slots.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// Where the states go: [key head, slot, value column, key channel], columns and channels of whole
/// tiles.
struct chunk_keep {
    std::byte* states = nullptr;
    index slots = 0;
    // The walk goes back: its chunks and slots are those of the walk forwards, each state that of
    // the tokens behind the chunk.
    bool back = false;
};

/// Leaves the state in front of the chunk that begins at a place of the walk.
template <class Shape>
__device__ inline void keep_state(chunk_block<Shape> const& b, chunk_keep const& to, int begin,
                                  chunk_state<Shape> const& state) {
    int const end = int(b.where.length) - begin;  // in the walk forwards
    int const number = to.back ? (end + Shape::rows - 1) / Shape::rows - 1 : begin / Shape::rows;
    index const slot =
        b.where.head * to.slots + chunk_slots::first(b.c, b.where.sequence, Shape::rows) + number;
    index const row = slot * b.tiles * Shape::width + b.column + b.warp * Shape::columns;
#pragma unroll
    for (int m = 0; m < Shape::columns / 16; ++m) {
        // A state may be larger than a half.
        store_rows<__nv_bfloat16>(to.states + (row + 16 * m) * Shape::depth * 2, state.s[m],
                                  b.lane);
    }
}

}  // namespace rondo::inline RONDO_ISA::cuda
