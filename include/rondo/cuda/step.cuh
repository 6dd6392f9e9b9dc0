/// @file
/// One token of every head at the speed of memory: a block holds 64 columns of a state in
/// registers, read once and written once with 16 bytes a thread.
#pragma once

#include <rondo/cuda/rows.cuh>

namespace rondo::inline RONDO_ISA::cuda {

inline constexpr int step_threads = 256, step_columns = 64;
inline constexpr int step_quads = step_columns / 4;           // threads side by side in a row
inline constexpr int step_lines = step_threads / step_quads;  // rows at a time
inline constexpr int step_warps = step_threads / warp_size;

/// The token's rows of one head: factors of the state, the key, and one query at a time.
template <int Depth>
struct step_rows {
    float q[Depth], k[Depth], factor[Depth], share[Depth];
    float partial[step_warps][step_columns];
    float sums[step_columns];
};

/// The block of one head and of some of its tiles of columns.
template <int Rows>
class step_block {
    static constexpr int depth = Rows * step_lines;

public:
    __device__ step_block(call<float> const& c, step_rows<depth>& rows)
        : c_(c), r_(rows), at_(c, blockIdx.x / c.heads, blockIdx.x % c.heads * c.group) {}

    __device__ void tile(index column, bool first) {
        column_ = column + threadIdx.x % step_quads * 4;
        inside_ = column_ < c_.width;
        // All of it is asked for before any of it is waited for; the little that the state's own
        // loads would keep waiting comes first.
        token_part mine{};
        if (first) mine = ask_token();
        raw_element<float> const values[4] = {value(0), value(1), value(2), value(3)};
        load_state();
        if (first) put_token(mine);
        float4 u{widen<float>(values[0], c_.v.kind), widen<float>(values[1], c_.v.kind),
                 widen<float>(values[2], c_.v.kind), widen<float>(values[3], c_.v.kind)};
        __syncthreads();
        if (c_.gated && !c_.on_write) decay();
        if (c_.delta) {
            combine(r_.k);
            float const beta = load<float>(at_.key_side(c_.beta, 0), c_.beta.kind);
            float4 const sum =
                *reinterpret_cast<float4 const*>(r_.sums + threadIdx.x % step_quads * 4);
            u = {beta * (u.x - sum.x), beta * (u.y - sum.y), beta * (u.z - sum.z),
                 beta * (u.w - sum.w)};
            __syncthreads();
        }
        for (int r = 0; r < Rows; ++r) {
            float const k = r_.k[row(r)];
            s_[r].x += k * u.x, s_[r].y += k * u.y, s_[r].z += k * u.z, s_[r].w += k * u.w;
        }
        for (index g = 0; g < c_.group; ++g) read(g, column, first);
        if (c_.gated && c_.on_write) decay();
        store_state();
    }

private:
    static __device__ int row(int r) { return threadIdx.x / step_quads + r * step_lines; }

    __device__ float* state(int r) const {
        return c_.out.s + (at_.state(c_) * c_.depth + row(r)) * c_.width + column_;
    }

    __device__ void load_state() {
#pragma unroll
        for (int r = 0; r < Rows; ++r) {
            bool const known = inside_ && row(r) < c_.depth;
            s_[r] = known ? __ldcs(reinterpret_cast<float4 const*>(state(r))) : float4{};
        }
    }
    __device__ void store_state() {
#pragma unroll
        for (int r = 0; r < Rows; ++r) {
            if (inside_ && row(r) < c_.depth) __stcs(reinterpret_cast<float4*>(state(r)), s_[r]);
        }
    }

    __device__ void decay() {
#pragma unroll
        for (int r = 0; r < Rows; ++r) {
            float const a = r_.factor[row(r)];
            s_[r].x *= a, s_[r].y *= a, s_[r].z *= a, s_[r].w *= a;
        }
    }

    __device__ raw_element<float> value(int i) const {
        auto const* const v = at_.key_side(c_.v, 0);
        return inside_ ? load_raw<float>(v + (column_ + i) * c_.v.channel, c_.v.kind) : 0;
    }

    /// What a thread brings of the token: some of the key (warp 0) or of a single reader's query
    /// (warp 1), and of one channel the gate and the additive maximum and sum.
    struct token_part {
        raw_element<float> row[depth / warp_size], gate;
        float max, sum;
    };
    static_assert(depth <= step_threads);

    __device__ token_part ask_token() const {
        token_part mine{};
        int const warp = threadIdx.x / warp_size, d = threadIdx.x;
        auto const ask = [&](std::byte const* from, tensor const& x) {
            for_channels<depth / warp_size>(int(c_.depth), d % warp_size, [&](int r, int channel) {
                mine.row[r] = load_raw<float>(from + channel * x.channel, x.kind);
            });
        };
        if (warp == 0 && !c_.k.ones) ask(at_.key_side(c_.k, 0), c_.k);
        if (warp == 1 && c_.group == 1) ask(at_.query_side(c_.q, 0), c_.q);
        if (!c_.gated || d >= c_.depth) return mine;
        index const channel = c_.per_channel ? d : 0;
        auto const* const gate = at_.key_side(c_.gate, 0);
        mine.gate = load_raw<float>(gate + channel * c_.gate.channel, c_.gate.kind);
        if (!c_.additive) return mine;
        mine.max = c_.out.max[carried(channel)];
        mine.sum = c_.out.sum[carried(channel)];
        return mine;
    }
    __device__ index carried(index channel) const {
        return at_.state(c_) * c_.gate_width + channel;
    }

    /// Leaves key, query, factors and shares, and moves maxima and sums on.
    __device__ void put_token(token_part const& mine) {
        int const warp = threadIdx.x / warp_size, lane = threadIdx.x % warp_size, d = threadIdx.x;
        auto const put = [&](float* to, tensor const& x, bool ones) {
            for (int i = lane; i < depth; i += warp_size) to[i] = 0;
            put_mapped<depth / warp_size>(to, int(c_.depth), c_.feature, lane, [&](int r, int) {
                return ones ? 1.0F : widen<float>(mine.row[r], x.kind);
            });
        };
        if (warp == 0) put(r_.k, c_.k, c_.k.ones);
        if (warp == 1 && c_.group == 1) put(r_.q, c_.q, false);
        if (d < depth) r_.factor[d] = r_.share[d] = 1;
        if (!c_.gated) return;
        if (c_.additive) __syncthreads();  // keys are there, and a maximum they share was read
        if (d < c_.depth) weigh(d, widen<float>(mine.gate, c_.gate.kind), mine.max, mine.sum);
    }

    __device__ void weigh(int d, float z, float before, float sum) {
        if (!c_.additive) {
            r_.factor[d] = expf(z);
            return;
        }
        float const highest = fmaxf(before, z), reference = highest == -HUGE_VALF ? 0 : highest;
        float const factor = expf(before - reference), weight = expf(z - reference);
        sum = sum * factor + weight;
        r_.factor[d] = factor;
        r_.share[d] = sum > 0 ? 1 / sum : 0;
        r_.k[d] *= weight;
        if (d >= c_.gate_width) return;
        c_.out.max[carried(d)] = highest;
        c_.out.sum[carried(d)] = sum;
    }

    /// A row of one of several readers' queries, by the first warp.
    __device__ void load_query(location const& reader) {
        int const lane = threadIdx.x;
        if (lane >= warp_size) return;
        for (int d = lane; d < depth; d += warp_size) r_.q[d] = 0;
        load_mapped(r_.q, reader.query_side(c_.q, 0), c_.q, int(c_.depth), c_.feature, lane);
    }

    /// r.sums = S^T x for the block's columns. The block meets before and after.
    __device__ void combine(float const* x) {
        float4 sum{};
#pragma unroll
        for (int r = 0; r < Rows; ++r) {
            float const f = x[row(r)];
            sum.x += f * s_[r].x, sum.y += f * s_[r].y, sum.z += f * s_[r].z, sum.w += f * s_[r].w;
        }
        int const lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
        static_assert(warp_size == 2 * step_quads);
        sum.x += __shfl_xor_sync(~0U, sum.x, step_quads);
        sum.y += __shfl_xor_sync(~0U, sum.y, step_quads);
        sum.z += __shfl_xor_sync(~0U, sum.z, step_quads);
        sum.w += __shfl_xor_sync(~0U, sum.w, step_quads);
        if (lane < step_quads) *reinterpret_cast<float4*>(&r_.partial[warp][lane * 4]) = sum;
        __syncthreads();
        if (threadIdx.x < step_columns) {
            float total = 0;
            for (int w = 0; w < step_warps; ++w) total += r_.partial[w][threadIdx.x];
            r_.sums[threadIdx.x] = total;
        }
        __syncthreads();
    }

    __device__ void read(index g, index column, bool first) {
        location const reader(c_, at_.sequence, at_.query_head + g);
        if (c_.group > 1) {  // a single reader's query came with the key, and stays for all tiles
            load_query(reader);
            __syncthreads();
        }
        if (c_.additive && (c_.group > 1 || first)) {
            for (int d = threadIdx.x; d < depth; d += step_threads) r_.q[d] *= r_.share[d];
            __syncthreads();
        }
        combine(r_.q);
        index const e = column + threadIdx.x;
        if (threadIdx.x < step_columns && e < c_.width) {
            store(reader.query_side(c_.o, 0) + e * c_.o.channel, c_.o.kind,
                  c_.scale * r_.sums[threadIdx.x]);
        }
        __syncthreads();
    }

    call<float> const& c_;
    step_rows<depth>& r_;
    location at_;
    index column_ = 0;
    bool inside_ = false;
    float4 s_[Rows];
};

template <int Rows>
__global__ void __launch_bounds__(step_threads, Rows == 4   ? 5
                                                : Rows == 8 ? 3
                                                            : 1)
    step(call<float> const __grid_constant__ c) {
    __shared__ __align__(16) step_rows<Rows * step_lines> rows;
    step_block<Rows> block(c, rows);
    bool first = true;
    for (index column = blockIdx.y * step_columns; column < c.width;
         column += gridDim.y * step_columns) {
        block.tile(column, first);
        first = false;
    }
}

/// Whether `step` takes a call; the generic kernel takes the others.
inline bool steps_fast(detail::problem<float> const& p) {
    bool const aligned = reinterpret_cast<std::uintptr_t>(p.out.s) % sizeof(float4) == 0;
    return aligned && p.width % 4 == 0 && p.width > 0 && p.depth > 0 &&
           p.depth <= 16 * step_lines && !p.what.normalized;
}

inline void launch_step(cudaStream_t stream, call<float> const& c) {
    index const tiles = (c.width + step_columns - 1) / step_columns;
    // The additive maxima are moved in place, so one block takes all tiles of a head.
    dim3 const grid(unsigned(c.sequences * c.heads), unsigned(c.additive ? 1 : tiles));
    index const rows = (c.depth + step_lines - 1) / step_lines;
    if (rows <= 4) {
        step<4><<<grid, step_threads, 0, stream>>>(c);
    } else if (rows <= 8) {
        step<8><<<grid, step_threads, 0, stream>>>(c);
    } else {
        step<16><<<grid, step_threads, 0, stream>>>(c);
    }
    expect("launch of step", cudaGetLastError());
}

}  // namespace rondo::inline RONDO_ISA::cuda
