/// @file
/// A sequence of a delta update, shared among blocks. What a segment does to a state is no factor
/// of it but a matrix, S_end = A S + B: a walk from nothing leaves B, one from the identity that
/// writes zeros leaves A. One kernel then multiplies on from segment to segment.
#pragma once

#include <rondo/cuda/chunk_record.cuh>

namespace rondo::inline RONDO_ISA::cuda {

inline constexpr int transition_threads = 256;

/// Tiles of A, as wide as those of the values.
template <class Shape>
inline constexpr int transition_tiles = Shape::depth / Shape::width;

/// Leaves what every segment starts from, in records of their own; those of `from` have A's tiles
/// behind the others. The state handed in counts `factor` times. A block takes the columns of one
/// warp of the walk.
template <class Shape>
__global__ void __launch_bounds__(transition_threads)
    join_transitions(call<float> const __grid_constant__ c, chunk_plan const from, float* to,
                     float factor) {
    using record = chunk_record<Shape>;
    constexpr int depth = Shape::depth, columns = Shape::columns;
    constexpr int each = depth * columns / transition_threads, step = 2 * columns;
    static_assert(columns == 16 && depth % step == 0);
    __shared__ float state[depth][columns], own[depth][columns];
    __shared__ float a[step][depth + 8];  // from one channel to every other
    index const tiles = from.tiles - transition_tiles<Shape>;
    index const unit = blockIdx.x / tiles, tile = blockIdx.x % tiles;
    int const warp = blockIdx.y, mine = threadIdx.x;
    int const d = mine % depth, first = mine / depth * each;
    location const where(c, unit / c.query_heads, unit % c.query_heads);

    // visit(four elements, the channel and the column of the first) of one warp's columns
    auto const quads = [&](float* records, index of_tile, int segment, int of_warp,
                           auto const& visit) {
        index const at = (of_tile + of_warp / Shape::warps) * from.segments + segment;
        float* const one = records + at * record::size;
        for (int i = mine; i < record::quads * warp_size; i += transition_threads) {
            int const lane = i % warp_size, number = i / warp_size;
            visit(*record::quad(one, number, of_warp % Shape::warps * warp_size + lane),
                  8 * number + 2 * (lane % 4), lane / 4);
        }
    };
    for (int i = mine; i < depth * columns; i += transition_threads) {
        index const row = i / columns, e = tile * Shape::width + warp * columns + i % columns;
        bool const known = c.in.s != nullptr && row < c.depth && e < c.width;
        state[row][i % columns] =
            known ? factor * c.in.s[(where.state(c) * c.depth + row) * c.width + e] : 0;
    }
    for (int segment = 0;; ++segment) {
        __syncthreads();
        quads(to, blockIdx.x, segment, warp, [&](float4& x, int row, int e) {
            x = {state[row][e], state[row + 1][e], state[row][e + 8], state[row + 1][e + 8]};
        });
        if (segment + 1 == from.segments) return;
        quads(from.records, unit * from.tiles + tile, segment, warp,
              [&](float4 const& x, int row, int e) {
                  own[row][e] = x.x, own[row + 1][e] = x.y;
                  own[row][e + 8] = x.z, own[row + 1][e + 8] = x.w;
              });
        float sums[each] = {};
        for (int begin = 0; begin < depth; begin += step) {
            for (int half = 0; half < step; half += columns) {
                quads(from.records, unit * from.tiles + tiles, segment, (begin + half) / columns,
                      [&](float4 const& x, int row, int e) {
                          a[half + e][row] = x.x, a[half + e][row + 1] = x.y;
                          a[half + e + 8][row] = x.z, a[half + e + 8][row + 1] = x.w;
                      });
            }
            __syncthreads();
            for (int x = 0; x < step; ++x) {
#pragma unroll
                for (int i = 0; i < each; ++i) sums[i] += a[x][d] * state[begin + x][first + i];
            }
            __syncthreads();
        }
#pragma unroll
        for (int i = 0; i < each; ++i) state[d][first + i] = own[d][first + i] + sums[i];
    }
}

}  // namespace rondo::inline RONDO_ISA::cuda
