/// @file
/// What walks in chunks leave for the gradients of log decays: products of outputs with rows beside
/// them, and states between chunks, which the walk back multiplies with its own.
#pragma once

#include <rondo/cuda/chunk_products.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// Where they go. States lie as the threads hold them, in bfloat16.
struct chunk_marks {
    tensor beside;               // rows like the outputs
    float2* products = nullptr;  // [token, query head, tile, warp]: with the state's part, with all
    uint4* states = nullptr;     // [sequence, head, slot, tile, ...]
    float* contractions = nullptr;  // [sequence, head, slot, tile, warp]; null: states are kept
    index slots = 0;                // chunks of a sequence
};

/// Keeps what is left of the state in front of each chunk behind it, or, on the way back,
/// multiplies that with the state's gradient there.
template <class Shape>
class state_marker {
    using state_type = chunk_state<Shape>;
    static constexpr int quads = state_type::blocks * state_type::channels;

public:
    __device__ state_marker(chunk_block<Shape> const& block, chunk_marks const& marks)
        : b_(block), marks_(marks) {}

    /// Asks the second cache for what the chunk that begins at a place will need from memory.
    __device__ void ask(int begin, int const* tokens, int count) const {
        constexpr int line = 128;
        int const columns = int(b_.c.width - b_.column);
        int const own = columns < Shape::width ? columns : Shape::width;
        int const lines = (own * 2 + line - 1) / line;
        tensor const& x = marks_.beside;
        auto const* const first = b_.where.query_side(x, 0) + b_.column * 2;
        for (int i = threadIdx.x; i < count * lines; i += Shape::threads) {
            prefetch(first + tokens[i / lines] * x.time + i % lines * line);
        }
        if (marks_.contractions == nullptr || count == 0) return;
        constexpr int bytes = quads / 2 * Shape::threads * int(sizeof(uint4));
        auto const* const state = reinterpret_cast<std::byte const*>(at(slot_before(begin)));
        for (int i = threadIdx.x; i < bytes / line; i += Shape::threads) {
            prefetch(state + i * line);
        }
    }

    /// In front of the chunk that begins at a place of the walk.
    __device__ void enter(int begin, state_type const& state) const {
        if (marks_.contractions == nullptr) return;
        int const slot = slot_before(begin);
        uint4 const* const from = at(slot);
        float sum = 0;
#pragma unroll
        for (int i = 0; i < quads; i += 2) {
            uint4 const x = from[i / 2 * Shape::threads + threadIdx.x];
            sum += product(state, i, x.x, x.y) + product(state, i + 1, x.z, x.w);
        }
        sum = b_.c.scale * sum_of_warp(sum);
        if (b_.lane == 0) marks_.contractions[number(slot) * Shape::warps + b_.warp] = sum;
    }

    /// Between the decay over that chunk and what it writes.
    __device__ void leave(int begin, state_type const& state) const {
        if (marks_.contractions != nullptr || b_.where.query_head % b_.c.group != 0) return;
        uint4* const to = at(begin / Shape::rows);
#pragma unroll
        for (int i = 0; i < quads; i += 2) {
            uint2 const low = packed(state, i), high = packed(state, i + 1);
            to[i / 2 * Shape::threads + threadIdx.x] = {low.x, low.y, high.x, high.y};
        }
    }

private:
    using stored = __nv_bfloat16;  // a state may be larger than a half

    static __device__ void prefetch(std::byte const* from) {
        asm volatile("prefetch.global.L2 [%0];" : : "l"(from));
    }
    /// The chunk of the walk forwards that ends where one of the walk back begins.
    __device__ int slot_before(int begin) const {
        return (int(b_.where.length) - begin + Shape::rows - 1) / Shape::rows - 1;
    }
    __device__ uint4* at(int slot) const {
        return marks_.states + number(slot) * (quads / 2) * Shape::threads;
    }
    static __device__ sum_tile const& quad(state_type const& state, int i) {
        return state.s[i / state_type::channels][i % state_type::channels];
    }
    static __device__ uint2 packed(state_type const& state, int i) {
        sum_tile const& s = quad(state, i);
        return {pack<stored>(s[0], s[1]), pack<stored>(s[2], s[3])};
    }
    static __device__ float product(state_type const& state, int i, unsigned low, unsigned high) {
        sum_tile const& s = quad(state, i);
        float2 const x = unpack<stored>(low), y = unpack<stored>(high);
        return s[0] * x.x + s[1] * x.y + (s[2] * y.x + s[3] * y.y);
    }
    __device__ index number(int slot) const {
        return (b_.where.state(b_.c) * marks_.slots + slot) * b_.tiles + b_.column / Shape::width;
    }

    chunk_block<Shape> const& b_;
    chunk_marks const& marks_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
