/// @file
/// The state in front of each chunk of a walk, kept in 16 bits: what reads a chunk then needs no
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
    // For readers of the same shape: in the element type and as the threads hold them.
    bool held = false;
    float* normalizers = nullptr;  // [key head, slot, key channel], or null
};

/// The slot of the chunk that begins at a place of the walk.
template <class Shape>
__device__ inline index slot_of(chunk_block<Shape> const& b, chunk_keep const& x, int begin) {
    int const end = int(b.where.length) - begin;  // in the walk forwards
    int const number = x.back ? (end + Shape::rows - 1) / Shape::rows - 1 : begin / Shape::rows;
    return b.where.head * x.slots + chunk_slots::first(b.c, b.where.sequence, Shape::rows) + number;
}

/// What the threads hold of a slot's state: [16 bytes of each, thread], the two right operands of
/// 16 channels in each 16 bytes.
template <class Shape>
struct held_state {
    static constexpr int blocks = Shape::columns / 16, steps = Shape::depth / 16;
    static constexpr index size = blocks * steps * Shape::threads;

    static __device__ uint4* at(chunk_block<Shape> const& b, chunk_keep const& x, index slot) {
        return reinterpret_cast<uint4*>(x.states) +
               (slot * b.tiles + b.column / Shape::width) * size;
    }
    /// Those of a block's tile by chunk.
    static __device__ head_rows rows(chunk_block<Shape> const& b, chunk_keep const& x) {
        return {reinterpret_cast<std::byte*>(at(b, x, slot_of(b, x, 0))), int(b.tiles * size) * 16};
    }
};

/// The normaliser in front of the chunk that begins at a place of the walk.
template <class Shape>
__device__ inline float* kept_normalizer(chunk_block<Shape> const& b, chunk_keep const& x,
                                         int begin) {
    return x.normalizers + slot_of(b, x, begin) * Shape::depth;
}

/// Leaves the state in front of the chunk that begins at a place of the walk.
template <class Shape>
__device__ inline void keep_state(chunk_block<Shape> const& b, chunk_keep const& to, int begin,
                                  chunk_state<Shape> const& state) {
    using T = typename Shape::element_type;
    index const slot = slot_of(b, to, begin);
    if (to.held) {
        uint4* const held = held_state<Shape>::at(b, to, slot) + threadIdx.x;
#pragma unroll
        for (int i = 0; i < held_state<Shape>::blocks * held_state<Shape>::steps; ++i) {
            constexpr int steps = held_state<Shape>::steps;
            auto const &low = state.s[i / steps][i % steps * 2],
                       &high = state.s[i / steps][i % steps * 2 + 1];
            held[i * Shape::threads] = {pack<T>(low[0], low[1]), pack<T>(high[0], high[1]),
                                        pack<T>(low[2], low[3]), pack<T>(high[2], high[3])};
        }
    } else {
        index const row = slot * b.tiles * Shape::width + b.column + b.warp * Shape::columns;
#pragma unroll
        for (int m = 0; m < Shape::columns / 16; ++m) {
            // A state may be larger than a half.
            store_rows<__nv_bfloat16>(to.states + (row + 16 * m) * Shape::depth * 2, state.s[m],
                                      b.lane);
        }
    }
    if (to.normalizers == nullptr || b.column != 0) return;
    // By the thread that goes on with it.
    constexpr int parts = Shape::threads / (Shape::depth / 2);
    if (threadIdx.x % parts != 0) return;
    int const d = int(threadIdx.x) / parts * 2;
    auto const* const n = b.notes.normalizer + d;
    *reinterpret_cast<float2*>(kept_normalizer(b, to, begin) + d) = {n[0], n[1]};
}

}  // namespace rondo::inline RONDO_ISA::cuda
