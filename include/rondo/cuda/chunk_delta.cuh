/// @file
/// The delta rule within a chunk. With the levels L of token_weigher, what the tokens write is
///
///     u_t = beta_t (v_t - e^(L_t) S^T k_t - sum_(j < t) e^(L_t - L_j) (k_t . k_j) u_j)
///
/// or U = (1 + A)^-1 R, A_tj = beta_t e^(L_t - L_j) (k_t . k_j) for j < t. The inverse does not
/// depend on the state: one kernel solves all chunks at once, to 16 bits and more, and leaves
/// (1 + A)^-1 - 1, transposed and rounded; the walk then is the one over any values, with U in
/// their place. (Yang et al. 2024, "Parallelizing linear transformers with the delta rule over
/// sequence length", with the inverse itself in the place of its products.)
#pragma once

#include <rondo/cuda/chunk_channel.cuh>
#include <rondo/cuda/chunk_slots.cuh>
#include <rondo/cuda/chunk_token.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// beta of a chunk's tokens, loaded by one warp a chunk ahead of their use.
template <class Shape>
class delta_strengths {
    static constexpr bool present = Shape::delta;

public:
    __device__ explicit delta_strengths(chunk_block<Shape> const& block) : b_(block) {}

    __device__ void load(int const* tokens, int count) {
        if (!present || b_.warp != 0) return;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            int const row = b_.lane + i * warp_size;
            x_[i] = 0;
            if (row >= count) continue;
            x_[i] = load_raw<float>(b_.beta_rows[tokens[row]], b_.c.beta.kind);
        }
    }
    __device__ void leave(int stage) const {
        if constexpr (present) {
            if (b_.warp != 0) return;
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                float const beta = widen<float>(x_[i], b_.c.beta.kind);
                b_.notes.strength[stage][b_.lane + i * warp_size] = beta;
            }
        }
    }

private:
    chunk_block<Shape> const& b_;
    raw_element<float> x_[2] = {0, 0};
};

/// Where the solved chunks of a call are: [key head, slot], sequences one after the other.
struct solved_chunks {
    std::byte* memory;  // or null without a delta update
    index slots;        // of a head
};

/// What a warp's columns of a chunk are written as: U^T, columns down, tokens across, in two parts,
/// since what a state is given it keeps.
template <class Shape>
class chunk_updates {
    using T = typename Shape::element_type;
    static constexpr int blocks = Shape::columns / 16, steps = Shape::rows / 16;

public:
    /// From the state before the chunk, or before one token of it.
    __device__ void solve(chunk_block<Shape> const& b, int stage, chunk_state<Shape> const& state,
                          bool whole) {
        int const lane = anew(b.lane);
        float const* const strength = b.notes.strength[stage];
        float const* const read = b.notes.tokens[stage].read;
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
            sum_tile sums[2 * steps] = {};
#pragma unroll
            for (int d = 0; d < Shape::depth / 16; ++d) {
                right_operand const low = state.operand(m, 0, d), high = state.operand(m, 1, d);
                left_operand const s{{low.x[0], high.x[0], low.x[1], high.x[1]}};
#pragma unroll
                for (int t = 0; t < steps; ++t) {
                    right_operand keys[2];
                    b.key_readers(stage).right_transposed(keys, 16 * t, d, lane);
                    multiply_add<T>(sums[2 * t], s, keys[0]);
                    multiply_add<T>(sums[2 * t + 1], s, keys[1]);
                }
            }
#pragma unroll
            for (int t = 0; t < steps; ++t) {
                auto const values = b.v(stage).left_transposed(b.warp * blocks + m, t, lane);
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    int const token = 16 * t + i / 2 * 8 + 2 * (lane % 4);
                    float2 const v = unpack<T>(values.x[i]);
                    float* const r = sums[2 * t + i / 2] + i % 2 * 2;
                    if constexpr (Shape::weigh == weighing::token) {
                        r[0] *= read[token], r[1] *= read[token + 1];
                    }
                    r[0] = strength[token] * (v.x - r[0]);
                    r[1] = strength[token + 1] * (v.y - r[1]);
                }
                round(sums, m, t);
            }
            if (!whole) continue;
                // U = R + (T - 1) R: only the correction meets rounded factors, R as two.
#pragma unroll
            for (int t = 0; t < steps; ++t) {
#pragma unroll
                for (int j = 0; j <= t; ++j) correct(b, stage, m, sums, t, j, lane);
            }
#pragma unroll
            for (int t = 0; t < steps; ++t) round(sums, m, t);
        }
    }

    /// In two parts, of which `rest` is what rounding left out of the other.
    __device__ left_operand left(int m, int step, bool rest) const {
        return rest ? rest_[m][step] : u_[m][step];
    }
    __device__ void right(right_operand (&to)[2], int m, int step, bool rest) const {
        auto const& x = (rest ? rest_ : u_)[m][step].x;
        to[0] = {{x[0], x[2]}};
        to[1] = {{x[1], x[3]}};
    }

private:
    __device__ void correct(chunk_block<Shape> const& b, int stage, int m,
                            sum_tile (&sums)[2 * steps], int t, int j, int lane) const {
        right_operand inverse[2];
        b.solved(stage).right(inverse, t, j, lane);
#pragma unroll
        for (int n = 0; n < 2; ++n) {
            multiply_add<T>(sums[2 * t + n], rest_[m][j], inverse[n]);
            multiply_add<T>(sums[2 * t + n], u_[m][j], inverse[n]);
        }
    }

    __device__ void round(sum_tile const (&sums)[2 * steps], int m, int t) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            float const* const pair = sums[2 * t + i / 2] + i % 2 * 2;
            unsigned const both = pack<T>(pair[0], pair[1]);
            float2 const x = unpack<T>(both);
            u_[m][t].x[i] = both;
            rest_[m][t].x[i] = pack<T>(pair[0] - x.x, pair[1] - x.y);
        }
    }

    left_operand u_[blocks][steps], rest_[blocks][steps];
};

}  // namespace rondo::inline RONDO_ISA::cuda
