/// @file
/// The denominators of normalize::sum in the chunkwise kernel, in float throughout.
#pragma once

#include <rondo/cuda/chunk_block.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// notes.state_sums = what each query finds in the normaliser of the tokens before, and for shapes
/// that read both in that of the tokens behind the chunk.
template <class Shape>
__device__ inline void read_normalizer(chunk_block<Shape> const& b, int stage,
                                       [[maybe_unused]] float const* behind = nullptr) {
    constexpr int parts = Shape::threads / Shape::rows, pairs = Shape::depth / 2 / parts;
    int const thread = anew(int(threadIdx.x)), row = thread / parts, part = thread % parts;
    float sum = 0;
    [[maybe_unused]] float back = 0;
#pragma unroll 4
    for (int i = 0; i < pairs; ++i) {
        int const pair = part * pairs + i;
        float2 const q = unpack<typename Shape::element_type>(b.readers(stage).get(row, pair));
        float2 const n = *reinterpret_cast<float2 const*>(b.notes.normalizer + 2 * pair);
        sum += q.x * n.x + q.y * n.y;
        if constexpr (Shape::both) {
            float2 const m = *reinterpret_cast<float2 const*>(behind + 2 * pair);
            back += q.x * m.x + q.y * m.y;
        }
    }
#pragma unroll
    for (int step = 1; step < parts; step *= 2) {
        sum += __shfl_xor_sync(~0U, sum, step);
        if constexpr (Shape::both) back += __shfl_xor_sync(~0U, back, step);
    }
    if constexpr (Shape::weigh == weighing::token) sum *= b.notes.tokens[stage].read[row];
    if constexpr (Shape::both) sum += b.notes.tokens[stage].read_back[row] * back;
    if (part == 0) b.notes.state_sums[row] = sum;
}

/// The sum of a reader's weights.
template <class Shape>
__device__ inline float denominator(chunk_block<Shape> const& b, int row, bool writes) {
    float sum = b.notes.state_sums[row];
#pragma unroll
    for (int block = 0; block < Shape::rows / 16; ++block) {
        bool const scored = Shape::both || block <= row / 16;
        sum += writes && scored ? b.notes.row_sums[row][block] : 0;
    }
    return sum;
}

/// Takes the keys of the chunk into the normaliser. Some lanes share a pair of channels, each with
/// every so many rows.
template <class Shape>
__device__ inline void write_normalizer(chunk_block<Shape> const& b, int stage, int count) {
    constexpr int parts = Shape::threads / (Shape::depth / 2), piece = 16;
    static_assert(parts <= warp_size && piece % parts == 0);
    int const thread = anew(int(threadIdx.x)), pair = thread / parts, part = thread % parts;
    auto const joined = [](float2 sum) {
#pragma unroll
        for (int step = 1; step < parts; step *= 2) {
            sum.x += __shfl_xor_sync(~0U, sum.x, step);
            sum.y += __shfl_xor_sync(~0U, sum.y, step);
        }
        return sum;
    };
    float* const n = b.notes.normalizer + 2 * pair;
    float2 all{n[0], n[1]}, sum{};
#pragma unroll 1
    for (int first = 0; first < count; first += piece) {
#pragma unroll
        for (int i = 0; i < piece; i += parts) {
            int const row = first + i + part;
            float2 const k = unpack<typename Shape::element_type>(b.k(stage).get(row, pair));
            float weight = row < count ? 1 : 0;
            if constexpr (Shape::weigh == weighing::token) {
                weight *= b.notes.tokens[stage].write[row];
            }
            sum.x += weight * k.x, sum.y += weight * k.y;
        }
        if constexpr (Shape::weigh == weighing::channel) {
            // Keys are relative to their piece's end.
            float const* const decay = b.notes.piece_decay[first / piece] + 2 * pair;
            sum = joined(sum);
            all = {decay[0] * all.x + sum.x, decay[1] * all.y + sum.y};
            sum = {};
        }
    }
    // The additive decay has been taken to the new maximum already.
    float const carry = Shape::weigh == weighing::token ? b.notes.tokens[stage].carry : 1;
    sum = joined(sum);
    __syncwarp();
    if (part == 0) n[0] = carry * all.x + sum.x, n[1] = carry * all.y + sum.y;
}

}  // namespace rondo::inline RONDO_ISA::cuda
