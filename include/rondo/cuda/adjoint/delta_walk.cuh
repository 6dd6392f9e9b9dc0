/// @file
/// The two walks of a delta update's gradients, chunk by chunk.
#pragma once

#include <rondo/cuda/adjoint/delta_shape.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// One block's walk, of S or, with `Back`, of dS. A warp owns 16 columns, which do not depend on
/// each other; what it reads in the state and solves for stays in its registers.
template <class Shape, bool Back>
class delta_walker {
    using T = typename Shape::element_type;
    static constexpr int steps = Shape::rows / 16;
    using found_sums = sum_tile[2 * steps];  // 16 columns by the tokens of a chunk

public:
    __device__ delta_walker(delta_call const& what, chunk_block<Shape> const& block)
        : w_(what),
          c_(block.c),
          b_(block),
          tokens_(block),
          strengths_(block),
          order_(block.notes, c_.passes[0], 0, int(block.where.length), int(block.where.length),
                 0) {}

    __device__ void run() {
        begin();
        int const chunks = (int(b_.where.length) + Shape::rows - 1) / Shape::rows;
        auto const number = [&](int i) { return Back ? chunks - 1 - i : i; };
        if (chunks > 0) order_.note(number(0));
        if (chunks > 1) order_.note(number(1));
        __syncthreads();
        if (chunks > 0) {
            load(0, number(0));
            tokens_.weigh(0);
            strengths_.leave(0);
        }
        for (int i = 0; i < chunks; ++i) {
            int const stage = i % 2;
            wait_for_copies();
            __syncthreads();
            if (i + 1 < chunks) load(stage ^ 1, number(i + 1));
            if (i + 2 < chunks) order_.note(number(i + 2));
            advance(stage, number(i));
            if (i + 1 < chunks) {
                tokens_.weigh(stage ^ 1);
                strengths_.leave(stage ^ 1);
            }
        }
        end();
    }

private:
    __device__ void load(int stage, int number) {
        int const* const tokens = order_.tokens(number);
        int const count = order_.span(number).count, depth = int(c_.depth);
        constexpr index size = Shape::rows * Shape::rows;
        if (Back) b_.load(b_.q(stage), b_.q_rows, depth, tokens, count);
        b_.load(b_.k(stage), b_.k_rows, depth, tokens, count);
        b_.load(b_.v(stage), Back ? b_.o_rows : b_.v_rows, int(c_.width - b_.column), tokens,
                count);
        auto const* const solved = reinterpret_cast<T const*>(w_.solved.memory);
        b_.load_solved(stage, solved + w_.slot(b_.where, number) * size);
        tokens_.load(tokens, count);
        strengths_.load(tokens, count);
    }

    __device__ void advance(int stage, int number) {
        int const count = order_.span(number).count;
        index const first = w_.slot(b_.where, number) * w_.columns + b_.column + 16 * b_.warp;
        keep_state((Back ? w_.d_states : w_.states) + first * Shape::depth * 2);
        if constexpr (Back) {
            compute_scores(b_, stage, c_.passes[0], count);
            __syncthreads();
        }
        found_sums sums = {};
        read(stage, sums);
        Back ? add_readers(stage, count, sums) : subtract(stage, sums);
        solve(stage, sums);
        keep_found((Back ? w_.d_updates : w_.updates) + first * Shape::rows * 2, sums);
        write(stage, sums);
    }

    /// sums = S^T K^T
    __device__ void read(int stage, found_sums& sums) const {
        int const lane = anew(b_.lane);
#pragma unroll
        for (int d = 0; d < Shape::depth / 16; ++d) {
            right_operand const low = state_.operand(0, 0, d), high = state_.operand(0, 1, d);
            left_operand const s{{low.x[0], high.x[0], low.x[1], high.x[1]}};
#pragma unroll
            for (int t = 0; t < steps; ++t) {
                right_operand keys[2];
                b_.k(stage).right_transposed(keys, 16 * t, d, lane);
                multiply_add<T>(sums[2 * t], s, keys[0]);
                multiply_add<T>(sums[2 * t + 1], s, keys[1]);
            }
        }
    }

    /// What is to be written before the solve: strength (v - read S^T k).
    __device__ void subtract(int stage, found_sums& sums) const {
        float const* const strength = b_.notes.strength[stage];
        float const* const read = b_.notes.tokens[stage].read;
#pragma unroll
        for (int t = 0; t < steps; ++t) {
            auto const values = b_.v(stage).left_transposed(b_.warp, t, b_.lane);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                int const token = 16 * t + i / 2 * 8 + 2 * (b_.lane % 4);
                float2 const v = unpack<T>(values.x[i]);
                float* const r = sums[2 * t + i / 2] + i % 2 * 2;
                r[0] = strength[token] * (v.x - read[token] * r[0]);
                r[1] = strength[token + 1] * (v.y - read[token + 1] * r[1]);
            }
        }
    }

    /// The gradient by what was written: write dS^T k + scale dO^T P.
    __device__ void add_readers(int stage, int count, found_sums& sums) const {
        int const lane = anew(b_.lane);
        float const* const write = b_.notes.tokens[stage].write;
#pragma unroll
        for (int t = 0; t < steps; ++t) {
            sum_tile read[2] = {};
#pragma unroll
            for (int i = t; i < steps; ++i) {
                if (16 * i >= count) break;
                auto const gradients = b_.v(stage).left_transposed(b_.warp, i, lane);
                right_operand scores[2];
                b_.scores().right(scores, t, i, lane);
                multiply_add<T>(read[0], gradients, scores[0]);
                multiply_add<T>(read[1], gradients, scores[1]);
            }
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                int const token = 16 * t + i / 4 * 8 + 2 * (lane % 4) + i % 2;
                float& x = sums[2 * t + i / 4][i % 4];
                x = write[token] * x + c_.scale * read[i / 4][i % 4];
            }
        }
    }

    /// Adds (T - 1) or its transpose times the sums: only that meets rounded factors, the sums as
    /// two.
    __device__ void solve(int stage, found_sums& sums) const {
        int const lane = anew(b_.lane);
        left_operand high[steps], low[steps];
#pragma unroll
        for (int t = 0; t < steps; ++t) {
            split(
                t, [&](int i) { return pair(sums, t, i); }, [](int) { return 1.F; }, high[t],
                low[t]);
        }
#pragma unroll
        for (int t = 0; t < steps; ++t) {
#pragma unroll
            for (int j = 0; j < steps; ++j) {
                if (Back ? j < t : j > t) continue;
                right_operand inverse[2];
                if constexpr (Back) {
                    b_.solved(stage).right_transposed(inverse, 16 * t, j, lane);
                } else {
                    b_.solved(stage).right(inverse, t, j, lane);
                }
#pragma unroll
                for (int n = 0; n < 2; ++n) {
                    multiply_add<T>(sums[2 * t + n], low[j], inverse[n]);
                    multiply_add<T>(sums[2 * t + n], high[j], inverse[n]);
                }
            }
        }
    }

    /// The state behind the chunk.
    __device__ void write(int stage, found_sums const& sums) {
        int const lane = anew(b_.lane);
        auto const& w = b_.notes.tokens[stage];
        state_.scale(w.carry);
#pragma unroll
        for (int t = 0; t < steps; ++t) {
            left_operand high, low;
            if constexpr (Back) {
                auto const gradients = b_.v(stage).left_transposed(b_.warp, t, lane);
                split(
                    t, [&](int i) { return unpack<T>(gradients.x[i]); },
                    [&](int token) { return c_.scale * w.read[token]; }, high, low);
                add(b_.q(stage), t, high);
                add(b_.q(stage), t, low);
            }
            float const* const strength = b_.notes.strength[stage];
            split(
                t, [&](int i) { return pair(sums, t, i); },
                [&](int token) { return Back ? -strength[token] * w.read[token] : w.write[token]; },
                high, low);
            add(b_.k(stage), t, high);
            add(b_.k(stage), t, low);
        }
    }

    /// state += tokens of step t, weighed, times their rows
    __device__ void add(typename Shape::depth_tile const& rows, int t, left_operand const& x) {
#pragma unroll
        for (int block = 0; block < Shape::depth / 16; ++block) {
            right_operand right[2];
            rows.right(right, block, t, b_.lane);
            multiply_add<T>(state_.s[0][2 * block], x, right[0]);
            multiply_add<T>(state_.s[0][2 * block + 1], x, right[1]);
        }
    }

    /// Two neighbouring tokens of step t, as register i of an operand.
    static __device__ float2 pair(found_sums const& sums, int t, int i) {
        float const* const both = sums[2 * t + i / 2] + i % 2 * 2;
        return {both[0], both[1]};
    }
    /// 16 tokens, each with its weight, as the sum of two rounded operands: what a state is given
    /// it keeps.
    template <class Pair, class Weight>
    __device__ void split(int t, Pair const& pair_of, Weight const& weight, left_operand& high,
                          left_operand& low) const {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            int const token = 16 * t + i / 2 * 8 + 2 * (b_.lane % 4);
            float2 const x = pair_of(i);
            split_pair const parts(weight(token) * x.x, weight(token + 1) * x.y);
            high.x[i] = parts.high;
            low.x[i] = parts.low;
        }
    }

    __device__ void keep_state(std::byte* to) const { store_rows<T>(to, state_.s[0], b_.lane); }
    __device__ void keep_found(std::byte* to, found_sums const& x) const {
        store_rows<T>(to, x, b_.lane);
    }

    __device__ void begin() {
        float const* const from = Back ? w_.d_out.s : c_.in.s;
        each(
            [&](float& s, index at, bool inside) { s = inside && from != nullptr ? from[at] : 0; });
    }
    __device__ void end() {
        float* const to = Back ? w_.d_in.s : nullptr;
        if (to == nullptr) return;
        each([&](float& s, index at, bool inside) {
            if (inside) to[at] = s;
        });
    }
    /// visit(entry, its place among the user's states, whether it is one of them)
    template <class Visit>
    __device__ void each(Visit const& visit) {
        index const head = b_.where.state(c_);
        state_.each(b_.lane, [&](float& s, int d, int e) {
            index const column = b_.column + b_.warp * Shape::columns + e;
            visit(s, (head * c_.depth + d) * c_.width + column, d < c_.depth && column < c_.width);
        });
    }

    delta_call const& w_;
    call<float> const& c_;
    chunk_block<Shape> const& b_;
    token_weigher<Shape> tokens_;
    delta_strengths<Shape> strengths_;
    walk_order<Shape> order_;
    chunk_state<Shape> state_;
};

template <class Shape, bool Back>
__global__ void __launch_bounds__(Shape::threads, 2)
    walk_delta(delta_call const __grid_constant__ w) {
    extern __shared__ __align__(1024) char delta_shared[];
    index const tiles = w.columns / Shape::width;
    index const tile = blockIdx.x % tiles, unit = blockIdx.x / tiles;
    location const where(w.c, unit / w.c.heads, unit % w.c.heads);
    chunk_block<Shape> const block(w.c, where, tile * Shape::width, tiles, delta_shared);
    delta_walker<Shape, Back>(w, block).run();
}

}  // namespace rondo::inline RONDO_ISA::cuda
