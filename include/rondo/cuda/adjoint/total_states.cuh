/// @file
/// The two states of an additive decay whose window is the whole sequence. With one maximum m and
/// one sum D of exp(z - m) for all tokens, by channel,
///
///     S = exp(z - m) K^T V / D,   dS = scale Q^T dO / D
///
/// are all that the gradients of a token need of the others (total_products.cuh).
#pragma once

#include <rondo/cuda/chunk_launch.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// What the kernels share; queries and keys have as many heads.
struct total_call {
    call<float> c;  // its output is the gradient handed in
    tensor d_q, d_k, d_v, d_gate;
    // S, what rounding left out of it, and dS: [sequence, head, column, channel], in bfloat16.
    std::byte *states, *rests, *d_states;
    float* max;            // [sequence, head, channel]
    index columns, depth;  // of a state
    index segments;        // of a sequence, of as many tokens as a block takes
};

/// Channels that a block joins.
inline constexpr int total_channels = 32;

/// Two walks over keys and values that only leave the records of their segments, a block of each in
/// turn: the first one's exponentials hide behind the loads of the other.
struct total_walks {
    call<float> c[2];
    chunk_plan plan[2];
};
template <class Weighed, class Plain>
__global__ void __launch_bounds__(Weighed::threads, resident_blocks<Weighed>)
    walk_totals(total_walks const __grid_constant__ w) {
    static_assert(Weighed::threads == Plain::threads);
    extern __shared__ __align__(1024) char chunk_shared[];
    unsigned const number = blockIdx.x / 2;
    if (blockIdx.x % 2 == 0) {
        walk_chunks<Weighed>(w.c[0], w.plan[0], number, chunk_shared);
    } else {
        walk_chunks<Plain>(w.c[1], w.plan[1], number, chunk_shared);
    }
}

/// Adds up the segments of one unit and tile. Block y takes 32 channels, four of the sums that
/// every thread holds of each state.
template <class Weighed, class Plain>
__global__ void __launch_bounds__(Weighed::threads, 2)
    join_totals(total_call const __grid_constant__ w, chunk_plan const plan, float* d_records) {
    using T = __nv_bfloat16;
    using record = chunk_record<Weighed>;
    static_assert(record::size == chunk_record<Plain>::size);
    constexpr int tiles = total_channels / 8, channels = chunk_state<Weighed>::channels;
    index const tile = blockIdx.x % plan.tiles, unit = blockIdx.x / plan.tiles;
    index const offset = index(blockIdx.x) * plan.segments * record::size;
    int const lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
    int const number = int(blockIdx.y) * tiles, first = number % channels * 8;
    sum_tile s[tiles] = {}, d_s[tiles] = {};
    float max[tiles][2], sum[tiles][2] = {};
#pragma unroll
    for (int n = 0; n < tiles; ++n) max[n][0] = max[n][1] = -HUGE_VALF;
#pragma unroll 2
    for (int segment = 0; segment < plan.segments; ++segment) {
        float* const from = plan.records + offset + segment * record::size;
        float* const d_from = d_records + offset + segment * record::size;
        float4 own[tiles], d_own[tiles];
#pragma unroll
        for (int n = 0; n < tiles; ++n) {
            own[n] = *record::quad(from, number + n, int(threadIdx.x));
            d_own[n] = *record::quad(d_from, number + n, int(threadIdx.x));
        }
#pragma unroll
        for (int n = 0; n < tiles; ++n) {
            int const d = first + 8 * n + 2 * (lane % 4);
            float const more[4] = {own[n].x, own[n].y, own[n].z, own[n].w};
            float const d_more[4] = {d_own[n].x, d_own[n].y, d_own[n].z, d_own[n].w};
#pragma unroll
            for (int j = 0; j < 2; ++j) {
                segment_factors<Weighed> const f(max[n][j], from[record::max + d + j]);
                max[n][j] = f.max;
                sum[n][j] = f.before * sum[n][j] + f.own * from[record::sum + d + j];
                s[n][j] = f.before * s[n][j] + f.own * more[j];
                s[n][j + 2] = f.before * s[n][j + 2] + f.own * more[j + 2];
                d_s[n][j] += d_more[j], d_s[n][j + 2] += d_more[j + 2];
            }
        }
    }
    index const e =
        tile * Weighed::width + warp * Weighed::columns + 16 * (number / channels) + lane / 4;
#pragma unroll
    for (int n = 0; n < tiles; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            float const share = sum[n][i % 2] > 0 ? 1 / sum[n][i % 2] : 0;
            s[n][i] *= share, d_s[n][i] *= w.c.scale * share;
        }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        index const to = (unit * w.columns + e + 8 * half) * w.depth * 2;
        unsigned rounded[tiles], rest[tiles], d_rounded[tiles];
        pack_quads<T>(rounded, s, 0, half), pack_quads<T>(d_rounded, d_s, 0, half);
#pragma unroll
        for (int n = 0; n < tiles; ++n) {
            float2 const known = unpack<T>(rounded[n]);
            rest[n] = pack<T>(s[n][2 * half] - known.x, s[n][2 * half + 1] - known.y);
        }
        store_quads(w.states + to, rounded, lane, first, Weighed::depth);
        store_quads(w.rests + to, rest, lane, first, Weighed::depth);
        store_quads(w.d_states + to, d_rounded, lane, first, Weighed::depth);
    }
    if (tile > 0 || number >= channels || threadIdx.x >= 4) return;
#pragma unroll
    for (int n = 0; n < tiles; ++n) {
        float* const to = w.max + unit * w.depth + first + 8 * n + 2 * lane;
        to[0] = max[n][0], to[1] = max[n][1];
    }
}

/// Both walks of a call and the join of what they leave.
template <class Weighed, class Plain>
class total_states {
public:
    total_states(cudaStream_t stream, detail::problem<float> const& p, bool ones)
        : stream_(stream),
          bytes_(std::max(chunk_shared_bytes<Weighed>(ones), chunk_shared_bytes<Plain>(false))),
          tiles_((p.width + Weighed::width - 1) / Weighed::width),
          units_(p.sequences * p.heads * tiles_) {
        index const chunks = (p.length + Weighed::rows - 1) / Weighed::rows;
        segments_ = p.offsets.empty() ? segments_of(2 * units_, p.length, resident()) : 1;
        segment_length_ = (chunks + segments_ - 1) / segments_ * Weighed::rows;
        if (segments_ > 1) segments_ = (p.length + segment_length_ - 1) / segment_length_;
    }

    /// Columns and channels of a state as they lie in memory.
    index columns() const { return tiles_ * Weighed::width; }
    index depth() const { return Weighed::depth; }
    /// Floats of scratch.
    index records() const { return 2 * units_ * segments_ * chunk_record<Weighed>::size; }

    void operator()(total_call const& w, float* records) const {
        total_walks walks{};
        call<float>&keys = walks.c[0], &queries = walks.c[1];
        keys = w.c;
        keys.pass_count = 1, keys.scale = 1;
        queries = keys;
        queries.k = w.c.q, queries.v = w.c.o, queries.gate = {};
        float* const d_records = records + this->records() / 2;
        walks.plan[0] = plan(records), walks.plan[1] = plan(d_records);
        resident();
        unsigned const blocks = unsigned(2 * units_ * segments_);
        walk_totals<Weighed, Plain>
            <<<blocks, Weighed::threads, std::size_t(bytes_), stream_>>>(walks);
        expect("launch of walk_totals", cudaGetLastError());
        dim3 const grid(unsigned(units_),
                        unsigned(chunk_record<Weighed>::quads * 8 / total_channels));
        join_totals<Weighed, Plain>
            <<<grid, Weighed::threads, 0, stream_>>>(w, walks.plan[0], d_records);
        expect("launch of join_totals", cudaGetLastError());
    }

private:
    chunk_plan plan(float* records) const {
        return {tiles_, int(segments_), int(segment_length_), records, false, true, {}, {}, {},
                true};
    }
    /// Blocks of a multiprocessor, which from now on may have their shared memory.
    int resident() const {
        auto* const kernel = walk_totals<Weighed, Plain>;
        int blocks = 0;
        expect("cudaFuncSetAttribute",
               cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes_));
        expect("cudaOccupancyMaxActiveBlocksPerMultiprocessor",
               cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, Weighed::threads,
                                                             std::size_t(bytes_)));
        return blocks;
    }

    cudaStream_t stream_;
    int bytes_;
    index tiles_, units_, segments_, segment_length_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
