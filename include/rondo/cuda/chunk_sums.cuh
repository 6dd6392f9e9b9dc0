/// @file
/// The denominators of normalize::sum in the chunkwise kernel, in float throughout.
#pragma once

#include <rondo/cuda/chunk_block.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// notes.state_sums = what each query finds in the normaliser of the tokens before.
template <class Shape>
__device__ inline void read_normalizer(chunk_block<Shape> const& b, int stage) {
    constexpr int parts = Shape::threads / Shape::rows, pairs = Shape::depth / 2 / parts;
    int const row = threadIdx.x / parts, part = threadIdx.x % parts;
    float sum = 0;
    for (int i = 0; i < pairs; ++i) {
        int const pair = part * pairs + i;
        float2 const q = unpack<typename Shape::element_type>(b.readers(stage).get(row, pair));
        sum += q.x * b.notes.normalizer[2 * pair] + q.y * b.notes.normalizer[2 * pair + 1];
    }
#pragma unroll
    for (int step = 1; step < parts; step *= 2) sum += __shfl_xor_sync(~0U, sum, step);
    if constexpr (Shape::weigh == weighing::token) sum *= b.notes.tokens[stage].read[row];
    if (part == 0) b.notes.state_sums[row] = sum;
}

/// The sum of a reader's weights.
template <class Shape>
__device__ inline float denominator(chunk_block<Shape> const& b, int row, bool writes) {
    float sum = b.notes.state_sums[row];
    for (int block = 0; writes && block <= row / 16; ++block) sum += b.notes.row_sums[row][block];
    return sum;
}

/// Takes the keys of the chunk into the normaliser.
template <class Shape>
__device__ inline void write_normalizer(chunk_block<Shape> const& b, int stage, int count) {
    int const pair = threadIdx.x;
    if (pair >= Shape::depth / 2) return;
    float* const n = b.notes.normalizer + 2 * pair;
    float2 sum{};
    for (int row = 0; row < count; ++row) {
        if constexpr (Shape::weigh == weighing::channel) {
            if (row % 16 == 0) {
                float const* const decay = b.notes.piece_decay[row / 16] + 2 * pair;
                n[0] = decay[0] * (n[0] + sum.x), n[1] = decay[1] * (n[1] + sum.y);
                sum = {};
            }
        }
        float2 const k = unpack<typename Shape::element_type>(b.k(stage).get(row, pair));
        float weight = 1;
        if constexpr (Shape::weigh == weighing::token) weight = b.notes.tokens[stage].write[row];
        sum.x += weight * k.x, sum.y += weight * k.y;
    }
    float carry[2] = {1, 1};  // the additive one has been taken to the new maximum already
    if constexpr (Shape::weigh == weighing::token) {
        carry[0] = carry[1] = b.notes.tokens[stage].carry;
    }
    n[0] = carry[0] * n[0] + sum.x;
    n[1] = carry[1] * n[1] + sum.y;
}

}  // namespace rondo::inline RONDO_ISA::cuda
