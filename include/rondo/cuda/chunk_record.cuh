/// @file
/// What a segment of a sequence hands on when a sequence is shared among blocks: the state as the
/// threads hold it, and what belongs to its channels. Segments first leave the state of their own
/// tokens; one kernel joins these, in order, into what each of them starts from.
#pragma once

#include <rondo/cuda/adjoint/marks.cuh>
#include <rondo/cuda/chunk_delta.cuh>
#include <rondo/cuda/chunk_keep.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// Offsets, in floats, into the record of one segment and one tile of columns.
template <class Shape>
struct chunk_record {
    static constexpr int depth = Shape::depth;
    static constexpr int state = 0, normalizer = Shape::width * depth, max = normalizer + depth,
                         sum = max + depth, decay = sum + depth;
    // What the segment starts from; the state takes the place of the segment's own.
    static constexpr int normalizer_in = decay + depth, max_in = normalizer_in + depth,
                         sum_in = max_in + depth;
    static constexpr int size = sum_in + depth;
    static constexpr int quads = chunk_state<Shape>::blocks * chunk_state<Shape>::channels;

    /// The four elements that thread `thread` holds of one tile of its sums.
    static __device__ float4* quad(float* record, int number, int thread) {
        return reinterpret_cast<float4*>(record + state) + number * Shape::threads + thread;
    }
};

/// How a chunkwise launch is cut.
struct chunk_plan {
    index tiles;         // of value columns; of a delta update's segments that leave their records
                         // some more, which start from the identity and write zeros
    int segments;        // of a sequence, each a block's
    int segment_length;  // tokens, whole chunks
    float* records;      // [unit, tile, segments], or null where there is one segment
    bool starts;         // from its record
    bool leaves;         // its record
    chunk_marks marks;   // of shapes that leave any
    solved_chunks solved = {};
    chunk_keep keep = {};  // of shapes that keep states
    bool total = false;    // the last segment leaves its record, too: others start from it
};

template <class Shape>
__device__ inline void load_record(chunk_block<Shape> const& b, float* from,
                                   chunk_state<Shape>& state) {
    using record = chunk_record<Shape>;
#pragma unroll
    for (int i = 0; i < record::quads; ++i) {
        float4 const x = *record::quad(from, i, int(threadIdx.x));
        auto& s = state.s[i / chunk_state<Shape>::channels][i % chunk_state<Shape>::channels];
        s[0] = x.x, s[1] = x.y, s[2] = x.z, s[3] = x.w;
    }
    if constexpr (Shape::delta) return;  // its state is all there is
    for (int d = threadIdx.x; d < Shape::depth; d += Shape::threads) {
        b.notes.normalizer[d] = from[record::normalizer_in + d];
        b.notes.max[d] = from[record::max_in + d];
        b.notes.sum[d] = from[record::sum_in + d];
    }
}

template <class Shape>
__device__ inline void store_record(chunk_block<Shape> const& b, float* to,
                                    chunk_state<Shape> const& state) {
    using record = chunk_record<Shape>;
#pragma unroll
    for (int i = 0; i < record::quads; ++i) {
        auto const& s = state.s[i / chunk_state<Shape>::channels][i % chunk_state<Shape>::channels];
        *record::quad(to, i, int(threadIdx.x)) = {s[0], s[1], s[2], s[3]};
    }
    if constexpr (Shape::delta) return;
    for (int d = threadIdx.x; d < Shape::depth; d += Shape::threads) {
        to[record::normalizer + d] = b.notes.normalizer[d];
        to[record::max + d] = b.notes.max[d];
        to[record::sum + d] = b.notes.sum[d];
        to[record::decay + d] = b.notes.decay[d];
    }
}

/// The factors that join what came before a segment, relative to `max`, with the segment's own.
template <class Shape>
struct segment_factors {
    float before, own, max;

    /// What a record has of a channel: its maximum or its decay.
    static __device__ float read(float const* record, int d) {
        using parts = chunk_record<Shape>;
        return record[(Shape::weigh == weighing::additive ? parts::max : parts::decay) + d];
    }
    __device__ segment_factors(float earlier, float mine) {
        if constexpr (Shape::weigh == weighing::additive) {
            max = fmaxf(earlier, mine);
            float const reference = max == -HUGE_VALF ? 0 : max;
            before = __expf(earlier - reference);
            own = __expf(mine - reference);
        } else {
            before = mine;
            own = 1;
            max = earlier;
        }
    }
};

/// Joins the segments of one unit and tile. Block y takes four elements of every thread's state,
/// the last one the arrays by channel. In total, every segment starts from all of them.
template <class Shape>
__global__ void __launch_bounds__(Shape::threads)
    join_segments(call<float> const __grid_constant__ c, chunk_plan const plan) {
    using record = chunk_record<Shape>;
    bool const total = plan.total;
    index const tile = blockIdx.x % plan.tiles, unit = blockIdx.x / plan.tiles;
    location const where(c, unit / c.query_heads, unit % c.query_heads);
    float* const records = plan.records + index(blockIdx.x) * plan.segments * record::size;
    index const head = where.state(c);
    int const lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
    auto const max_in = [&](int d) {
        bool const known = c.in.max != nullptr && d < c.depth;
        return known ? c.in.max[head * c.depth + d] : -HUGE_VALF;
    };

    if (int(blockIdx.y) == record::quads) {
        for (int d = threadIdx.x; d < Shape::depth; d += Shape::threads) {
            bool const inside = d < c.depth;
            float max = max_in(d);
            float sum = c.in.sum != nullptr && inside ? c.in.sum[head * c.depth + d] : 0;
            float n =
                c.in.normalizer != nullptr && inside ? c.in.normalizer[head * c.depth + d] : 0;
            for (int s = 0; s < plan.segments; ++s) {
                float* const r = records + index(s) * record::size;
                if (!total) {
                    r[record::max_in + d] = max;
                    r[record::sum_in + d] = sum;
                    r[record::normalizer_in + d] = n;
                }
                if (!total && s + 1 == plan.segments) break;
                segment_factors<Shape> const f(max, segment_factors<Shape>::read(r, d));
                max = f.max;
                sum = f.before * sum + f.own * r[record::sum + d];
                n = f.before * n + f.own * r[record::normalizer + d];
            }
            for (int s = 0; total && s < plan.segments; ++s) {
                float* const r = records + index(s) * record::size;
                r[record::max_in + d] = max;
                r[record::sum_in + d] = sum;
                r[record::normalizer_in + d] = n;
            }
        }
        return;
    }

    constexpr int channels = chunk_state<Shape>::channels;
    int const number = blockIdx.y, d = 8 * (number % channels) + 2 * (lane % 4);
    index const e =
        tile * Shape::width + warp * Shape::columns + 16 * (number / channels) + lane / 4;
    auto const incoming = [&](int i) {
        index const row = d + i % 2, column = e + i / 2 * 8;
        bool const known = c.in.s != nullptr && row < c.depth && column < c.width;
        return known ? c.in.s[(head * c.depth + row) * c.width + column] : 0;
    };
    float4 x{incoming(0), incoming(1), incoming(2), incoming(3)};
    float max[2] = {max_in(d), max_in(d + 1)};
    int const left = total ? plan.segments : plan.segments - 1;  // nobody starts from the last one
    // Some segments are on their way at a time: one after the other they would wait for memory.
    constexpr int together = 4;
    for (int first = 0; first < plan.segments; first += together) {
        float4 own[together];
        float mine[together][2];
        auto const at = [&](int i) { return records + index(first + i) * record::size; };
#pragma unroll
        for (int i = 0; i < together; ++i) {
            if (first + i >= left) break;
            own[i] = *record::quad(at(i), number, int(threadIdx.x));
            mine[i][0] = segment_factors<Shape>::read(at(i), d);
            mine[i][1] = segment_factors<Shape>::read(at(i), d + 1);
        }
#pragma unroll
        for (int i = 0; i < together; ++i) {
            if (first + i >= plan.segments) break;
            if (!total) *record::quad(at(i), number, int(threadIdx.x)) = x;
            if (first + i >= left) break;
            segment_factors<Shape> const f(max[0], mine[i][0]), g(max[1], mine[i][1]);
            max[0] = f.max, max[1] = g.max;
            x = {f.before * x.x + f.own * own[i].x, g.before * x.y + g.own * own[i].y,
                 f.before * x.z + f.own * own[i].z, g.before * x.w + g.own * own[i].w};
        }
    }
    for (int s = 0; total && s < plan.segments; ++s) {
        *record::quad(records + index(s) * record::size, number, int(threadIdx.x)) = x;
    }
}

}  // namespace rondo::inline RONDO_ISA::cuda
