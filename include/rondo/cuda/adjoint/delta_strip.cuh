/// @file
/// A warp's 16 rows of one chunk as sums over the products of tiles, all channels of them.
#pragma once

#include <rondo/cuda/adjoint/delta_shape.cuh>

namespace rondo::inline RONDO_ISA::cuda {

template <int Side>
struct delta_product_shape : chunk_shape<__nv_bfloat16, weighing::token, Side, 16, 8, true> {
    using base = chunk_shape<__nv_bfloat16, weighing::token, Side, 16, 8, true>;
    static constexpr int side = Side, strips = base::rows / 16;
    static constexpr int state_bytes = Side * Side * 2, handed_bytes = base::rows * Side * 4;
    static constexpr int last_bytes = state_bytes > handed_bytes ? state_bytes : handed_bytes;
    static constexpr int resident = Side > 64 ? 2 : 3;
    /// What a chunk's rows add to the gradients of log decays.
    struct terms {
        float queries[base::rows], reading_keys[base::rows], keys[base::rows];
        float behind[base::rows];  // of keys, from dS'
        float own[base::rows];     // R_t . u_t
        float over[base::warps];   // <S, dS'>
    };
    static __host__ __device__ constexpr int tile_bytes(bool) {
        return 4 * base::depth_bytes + last_bytes + int(sizeof(terms));
    }
};

template <class Shape>
class delta_strip {
    using T = typename Shape::element_type;
    static constexpr int steps = Shape::side / 16;

public:
    using rows_tile = tile<T, Shape::side>;
    static constexpr int groups = Shape::side / 8, blocks = Shape::rows / 16;

    /// Of the chunk whose tokens are noted as `number`.
    __device__ delta_strip(chunk_block<Shape> const& block, int number)
        : b_(block),
          tokens_(block.notes.token[number % 3]),
          row_(16 * (block.warp % Shape::strips)) {}

protected:
    /// This thread's two rows of the chunk.
    __device__ int row(int half) const { return row_ + b_.lane / 4 + 8 * half; }
    __device__ bool present(int half) const { return row(half) < count_; }
    __device__ int token(int half) const { return tokens_[present(half) ? row(half) : 0]; }
    /// visit(n) for the sums of every 8 channels
    template <class Visit>
    __device__ void for_sums(Visit const& visit) {
#pragma unroll
        for (int n = 0; n < groups; ++n) visit(n);
    }

    /// sums = rows times a state, each row with its weight
    template <class Own, class Weight>
    __device__ void read(rows_tile const& state, Own const& own, Weight const& weight) {
        int const lane = anew(b_.lane);
        for_sums([&](int n) { sums_[n][0] = sums_[n][1] = sums_[n][2] = sums_[n][3] = 0; });
#pragma unroll
        for (int s = 0; s < steps; ++s) {
            left_operand const x = own(s);
#pragma unroll
            for (int d = 0; d < steps; ++d) {
                right_operand right[2];
                state.right(right, d, s, lane);
                multiply_add<T>(sums_[2 * d], x, right[0]);
                multiply_add<T>(sums_[2 * d + 1], x, right[1]);
            }
        }
        float const upper = weight(0), lower = weight(1);
        for_sums([&](int n) {
            sums_[n][0] *= upper, sums_[n][1] *= upper, sums_[n][2] *= lower, sums_[n][3] *= lower;
        });
    }

    /// sums += weigh(half, column, own row . other column) times the rows of `values`, for the
    /// blocks of 16 columns from `first` to `last`; own(step) is a left operand, other(to, block,
    /// step) are two right ones.
    template <class Own, class Other, class Weigh>
    __device__ void add_pairs(int first, int last, Own const& own, Other const& other,
                              Weigh const& weigh, rows_tile const& values) {
        int const lane = anew(b_.lane);
#pragma unroll 1
        for (int block = first; block <= last; ++block) {
            sum_tile pairs[2] = {};
#pragma unroll
            for (int s = 0; s < steps; ++s) {
                left_operand const x = own(s);
                right_operand right[2];
                other(right, block, s);
                multiply_add<T>(pairs[0], x, right[0]);
                multiply_add<T>(pairs[1], x, right[1]);
            }
            left_operand x, rest;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                int const half = i % 2, column = 16 * block + i / 2 * 8 + 2 * (lane % 4);
                float const* const both = pairs[i / 2] + half * 2;
                split_pair const parts(weigh(half, column, both[0]),
                                       weigh(half, column + 1, both[1]));
                x.x[i] = parts.high;
                rest.x[i] = parts.low;
            }
            add(x, rest, values, block, lane);
        }
    }

    /// Notes the product of each row of sums with one beside it; beside(half, pair of channels).
    template <class Beside>
    __device__ void note(float* to, Beside const& beside) {
        float products[2] = {0, 0};
        for_sums([&](int n) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float2 const x = unpack<T>(beside(half, 4 * n + b_.lane % 4));
                products[half] += sums_[n][2 * half] * x.x + sums_[n][2 * half + 1] * x.y;
            }
        });
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float const whole = sum_of_quad(products[half]);
            if (b_.lane % 4 == 0) to[row(half)] = whole;
        }
        __syncwarp();
    }

    __device__ void leave(tensor const& to) const {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
#pragma unroll
            for (int n = 0; n < groups; n += 4) {
                unsigned x[4];
                pack_quads<T>(x, sums_, n, half);
                leave_quads(to, half, n, int(b_.c.depth), x);
            }
        }
    }
    /// Leaves 32 columns of one of this thread's rows.
    __device__ void leave_quads(tensor const& to, int half, int n, int columns,
                                unsigned (&x)[4]) const {
        if (to.data == nullptr) return;
        store_quads(b_.where.key_side(to, token(half)), x, b_.lane, 8 * n,
                    present(half) ? columns : 0);
    }

private:
    /// sums += x, and what rounding left out of it, times rows of a tile
    __device__ void add(left_operand const& x, left_operand const& rest, rows_tile const& rows,
                        int step, int lane) {
#pragma unroll
        for (int d = 0; d < steps; ++d) {
            right_operand right[2];
            rows.right(right, d, step, lane);
#pragma unroll
            for (int n = 0; n < 2; ++n) {
                multiply_add<T>(sums_[2 * d + n], rest, right[n]);
                multiply_add<T>(sums_[2 * d + n], x, right[n]);
            }
        }
    }

protected:
    chunk_block<Shape> const& b_;
    int const* tokens_;
    int count_ = 0, row_;  // tokens of the chunk; the first of the warp's rows
    sum_tile sums_[groups];
};

}  // namespace rondo::inline RONDO_ISA::cuda
