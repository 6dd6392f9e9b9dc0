/// @file
/// The gradients of an additive decay over the whole sequence from its two states. With w = exp(z -
/// m) a token has, of no other one,
///
///     dq = scale S dO,   dv = dS^T (w k),   g = dS v,   dk = w g,   dz = w (k g - <S, dS>)
///
/// with the product <S, dS> over the columns of each channel: what the sum D hands to all tokens.
#pragma once

#include <rondo/cuda/adjoint/total_states.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// Sizes of the kernel. A warp takes 16 tokens at a time, all of their columns and channels; those
/// that follow are on their way once it holds these.
template <int Side, bool Ones>
struct total_shape {
    static constexpr bool ones = Ones;  // keys
    static constexpr int side = Side, warps = 8, threads = warp_size * warps, strip = 16;
    static constexpr int resident = Side > 64 ? 1 : 2;
    static constexpr int tokens = 64 * strip;  // of a block
    static constexpr int state_bytes = Side * Side * 2, strip_bytes = strip * Side * 2;
    static constexpr int parts = threads / (Side / 2);  // of the columns, for <S, dS>
    struct notes {
        alignas(16) float max[Side], behind[Side];
        float2 part[parts][Side / 2];
    };
    /// Strips of dO, v and z, and of keys that are not ones.
    static constexpr int strips = Ones ? 3 : 4;
    static constexpr int tile_bytes = 2 * state_bytes + warps * strips * strip_bytes;
    static constexpr int shared_bytes = tile_bytes + int(sizeof(notes));
};

template <class Shape>
class total_products {
    using T = __nv_bfloat16;
    using rows_tile = tile<T, Shape::side>;
    using notes_type = typename Shape::notes;
    static constexpr int steps = Shape::side / 16, groups = Shape::side / 8;
    using operands = left_operand[steps];

public:
    __device__ total_products(total_call const& what, location const& at, index unit, int first,
                              char* shared)
        : w_(what),
          c_(what.c),
          where_(at),
          unit_(unit),
          lane_(threadIdx.x % warp_size),
          first_(first + int(threadIdx.x) / warp_size * Shape::strip),
          last_(at.length < first + Shape::tokens ? int(at.length) : first + Shape::tokens),
          base_(shared_address(shared)),
          notes_(*reinterpret_cast<notes_type*>(shared + Shape::tile_bytes)) {}

    __device__ void run() {
        load_states();
        ask(d_o(), c_.o, c_.width, first_);
        ask(v(), c_.v, c_.width, first_);
        ask(z(), c_.gate, c_.depth, first_);
        ask_keys(first_);
        wait_for_copies();
        __syncthreads();
        sum_behind();
        __syncthreads();
        constexpr int step = Shape::strip * Shape::warps;
        for (; first_ < last_; first_ += step) {
            wait_for_copies();
            __syncwarp();
            int const next = first_ + step;
            operands rows, weights;
            take(rows, d_o()), take(weights, z());
            __syncwarp();
            ask(d_o(), c_.o, c_.width, next);
            ask(z(), c_.gate, c_.depth, next);
            weigh(weights);
            differentiate_queries(rows);
            differentiate_values(weights);
            take(rows, v());
            __syncwarp();
            ask(v(), c_.v, c_.width, next);
            differentiate_keys(rows, weights);
            __syncwarp();
            ask_keys(next);
        }
    }

private:
    __device__ rows_tile s() const { return {base_}; }
    __device__ rows_tile d_s() const { return {base_ + unsigned(Shape::state_bytes)}; }
    __device__ rows_tile strip(int number) const {
        int const warp = int(threadIdx.x) / warp_size;
        int const at = warp * Shape::strips + number;
        return {base_ + unsigned(2 * Shape::state_bytes + at * Shape::strip_bytes)};
    }
    __device__ rows_tile d_o() const { return strip(0); }
    __device__ rows_tile v() const { return strip(1); }
    __device__ rows_tile z() const { return strip(2); }
    __device__ rows_tile k() const { return strip(3); }

    __device__ void load_states() const {
        constexpr int pieces = Shape::side / 8;
        for (int i = threadIdx.x; i < Shape::side * pieces; i += Shape::threads) {
            int const row = i / pieces, piece = i % pieces;
            bool const inside = row < w_.columns && 8 * piece < w_.depth;
            index const from = inside ? ((unit_ * w_.columns + row) * w_.depth + 8 * piece) * 2 : 0;
            copy_ahead(s().at(row, piece), w_.states + from, inside);
            copy_ahead(d_s().at(row, piece), w_.d_states + from, inside);
        }
        for (int d = threadIdx.x; d < Shape::side; d += Shape::threads) {
            float const max = d < w_.depth ? w_.max[unit_ * w_.depth + d] : 0;
            notes_.max[d] = max == -HUGE_VALF ? 0 : max;
        }
    }

    /// <S, dS> of every channel, dS as the other products have it: what a token finds there that is
    /// nearly all of its window cancels.
    __device__ void sum_behind() const {
        constexpr int pairs = Shape::side / 2;
        int const pair = int(threadIdx.x) % pairs, part = int(threadIdx.x) / pairs;
        float2 sum{0, 0};
        int const rows = 2 * pair < w_.depth ? int(w_.columns) : 0;
        for (int row = part; row < rows; row += Shape::parts) {
            index const at = ((unit_ * w_.columns + row) * w_.depth + 2 * pair) * 2;
            unsigned const rest = *reinterpret_cast<unsigned const*>(w_.rests + at);
            float2 const x = unpack<T>(s().get(row, pair)), y = unpack<T>(d_s().get(row, pair));
            float2 const more = unpack<T>(rest);
            sum.x += (x.x + more.x) * y.x, sum.y += (x.y + more.y) * y.y;
        }
        notes_.part[part][pair] = sum;
        __syncthreads();
        if (part > 0) return;
        for (int other = 1; other < Shape::parts; ++other) {
            float2 const more = notes_.part[other][pair];
            sum.x += more.x, sum.y += more.y;
        }
        notes_.behind[2 * pair] = sum.x, notes_.behind[2 * pair + 1] = sum.y;
    }

    /// Asks for the rows of a strip; there may be none.
    __device__ void ask(rows_tile const& to, tensor const& from, index channels, int first) const {
        constexpr int pieces = Shape::side / 8, rows = warp_size / pieces;
        int const count = last_ - first, lane = anew(lane_), piece = lane % pieces;
        if (count <= 0) return;
        bool const known = 8 * piece < channels;
        head_rows const source{where_.key_side(from, 0) + (known ? piece * 16 : 0), int(from.time)};
#pragma unroll
        for (int i = 0; i < Shape::strip / rows; ++i) {
            int const row = lane / pieces + i * rows;
            bool const inside = row < count;
            copy_ahead(to.at(row, piece), source[first + (inside ? row : 0)], inside && known);
        }
    }
    __device__ void ask_keys(int first) const {
        if constexpr (!Shape::ones) ask(k(), c_.k, c_.depth, first);
    }

    __device__ void take(operands& to, rows_tile const& from) const {
#pragma unroll
        for (int step = 0; step < steps; ++step) to[step] = from.left(0, step, lane_);
    }

    /// The first of the two channels of an operand's or a sum's register.
    __device__ int channel(int step, int half) const {
        return 16 * step + 8 * half + 2 * (lane_ % 4);
    }
    __device__ static float2 pair_of(float const* x, int d) {
        return *reinterpret_cast<float2 const*>(x + d);
    }

    /// Logits become weights, in place.
    __device__ void weigh(operands& x) const {
#pragma unroll
        for (int step = 0; step < steps; ++step) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                float2 const max = pair_of(notes_.max, channel(step, i / 2));
                float2 const raw = unpack<T>(x[step].x[i]);
                x[step].x[i] = pack<T>(power_of_2(log2_of_e * (raw.x - max.x)),
                                       power_of_2(log2_of_e * (raw.y - max.y)));
            }
        }
    }

    __device__ void differentiate_queries(operands const& outputs) {
        if (w_.d_q.data == nullptr) return;
        multiply<false>(outputs, s());
        leave(w_.d_q, c_.depth, [&](int n, int half) {
            return pack<T>(c_.scale * sums_[n][2 * half], c_.scale * sums_[n][2 * half + 1]);
        });
    }
    __device__ void differentiate_values(operands const& weights) {
        if (w_.d_v.data == nullptr) return;
        if constexpr (Shape::ones) {
            multiply<true>(weights, d_s());
        } else {
            operands keys;
            take(keys, k());
#pragma unroll
            for (int step = 0; step < steps; ++step) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    float2 const x = unpack<T>(keys[step].x[i]), y = unpack<T>(weights[step].x[i]);
                    keys[step].x[i] = pack<T>(x.x * y.x, x.y * y.y);
                }
            }
            multiply<true>(keys, d_s());
        }
        leave(w_.d_v, c_.width,
              [&](int n, int half) { return pack<T>(sums_[n][2 * half], sums_[n][2 * half + 1]); });
    }
    __device__ void differentiate_keys(operands const& values, operands const& weights) {
        if (w_.d_k.data == nullptr && w_.d_gate.data == nullptr) return;
        multiply<false>(values, d_s());
        auto const weight = [&](int n, int half) {
            return unpack<T>(weights[n / 2].x[n % 2 * 2 + half]);
        };
        leave(w_.d_k, c_.depth, [&](int n, int half) {
            float2 const w = weight(n, half);
            return pack<T>(w.x * sums_[n][2 * half], w.y * sums_[n][2 * half + 1]);
        });
        if (w_.d_gate.data == nullptr) return;
        if constexpr (!Shape::ones) {
#pragma unroll
            for (int step = 0; step < steps; ++step) {
                left_operand const keys = k().left(0, step, lane_);
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    float2 const x = unpack<T>(keys.x[i]);
                    float* const sums = sums_[2 * step + i / 2] + 2 * (i % 2);
                    sums[0] *= x.x, sums[1] *= x.y;
                }
            }
        }
        leave(w_.d_gate, c_.depth, [&](int n, int half) {
            float2 const w = weight(n, half), behind = pair_of(notes_.behind, channel(0, n));
            return pack<T>(w.x * (sums_[n][2 * half] - behind.x),
                           w.y * (sums_[n][2 * half + 1] - behind.y));
        });
    }

    /// sums = rows times a state; each operand is asked for while the one before is multiplied.
    template <bool Transposed>
    __device__ void multiply(operands const& rows, rows_tile const& state) {
        int const lane = anew(lane_);
        auto const load = [&](right_operand(&to)[2], int i) {
            int const step = i / (groups / 2), block = i % (groups / 2);
            if constexpr (Transposed) {
                state.right_transposed(to, 16 * block, step, lane);
            } else {
                state.right(to, block, step, lane);
            }
        };
#pragma unroll
        for (int n = 0; n < groups; ++n) sums_[n][0] = sums_[n][1] = sums_[n][2] = sums_[n][3] = 0;
        right_operand right[2][2];
        load(right[0], 0);
        constexpr int count = steps * groups / 2;
#pragma unroll
        for (int i = 0; i < count; ++i) {
            if (i + 1 < count) load(right[(i + 1) % 2], i + 1);
            int const step = i / (groups / 2), n = i % (groups / 2) * 2;
            multiply_add<T>(sums_[n], rows[step], right[i % 2][0]);
            multiply_add<T>(sums_[n + 1], rows[step], right[i % 2][1]);
        }
    }

    /// Leaves the strip's rows; pair(n, half) are two columns of the tile n of 8.
    template <class Pair>
    __device__ void leave(tensor const& to, index columns, Pair const& pair) const {
        if (to.data == nullptr) return;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            int const token = first_ + lane_ / 4 + 8 * half;
            bool const present = token < last_;
            auto* const at = where_.key_side(to, present ? token : first_);
#pragma unroll
            for (int n = 0; n < groups; n += 4) {
                unsigned x[4];
#pragma unroll
                for (int i = 0; i < 4; ++i) x[i] = pair(n + i, half);
                store_quads(at, x, lane_, 8 * n, present ? int(columns) : 0);
            }
        }
    }

    total_call const& w_;
    call<float> const& c_;
    location const& where_;
    index unit_;
    int lane_, first_, last_;  // tokens of the warp's strip and of the block
    unsigned base_;
    notes_type& notes_;
    sum_tile sums_[groups];
};

template <class Shape>
__global__ void __launch_bounds__(Shape::threads, Shape::resident)
    multiply_totals(total_call const __grid_constant__ w) {
    extern __shared__ __align__(1024) char chunk_shared[];
    // The heads of a token are neighbours in memory.
    index const head = blockIdx.x % w.c.heads, rest = blockIdx.x / w.c.heads;
    index const sequence = rest / w.segments, segment = rest % w.segments;
    location const where(w.c, sequence, head);
    index const first = segment * Shape::tokens;
    if (first >= where.length) return;
    index const unit = sequence * w.c.heads + head;
    total_products<Shape>(w, where, unit, int(first), chunk_shared).run();
}

}  // namespace rondo::inline RONDO_ISA::cuda
