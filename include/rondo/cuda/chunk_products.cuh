/// @file
/// The products of a chunk on tensor cores: scores, outputs and the state.
#pragma once

#include <rondo/cuda/chunk_block.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// A warp's part of S, transposed: columns of values down, key channels across. As sums these are
/// what the products into them leave; rounded and paired they are the right operand of the
/// products that read them, so the state never leaves its registers.
template <class Shape>
struct chunk_state {
    static constexpr int blocks = Shape::columns / 16, channels = Shape::depth / 8;
    sum_tile s[blocks][channels];

    /// Visits (element, channel of the key, column of the warp's).
    template <class Visit>
    __device__ void each(int lane, Visit const& visit) {
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
#pragma unroll
            for (int n = 0; n < channels; ++n) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    visit(s[m][n][i], 8 * n + 2 * (lane % 4) + i % 2,
                          16 * m + lane / 4 + i / 2 * 8);
                }
            }
        }
    }

    __device__ void scale(float factor) {
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
#pragma unroll
            for (int n = 0; n < channels; ++n) {
#pragma unroll
                for (int i = 0; i < 4; ++i) s[m][n][i] *= factor;
            }
        }
    }

    /// Multiplies every key channel by its factor.
    __device__ void scale(float const* factors, int lane) {
#pragma unroll
        for (int n = 0; n < channels; ++n) {
            float2 const f = *reinterpret_cast<float2 const*>(factors + 8 * n + 2 * (lane % 4));
#pragma unroll
            for (int m = 0; m < blocks; ++m) {
                s[m][n][0] *= f.x, s[m][n][1] *= f.y, s[m][n][2] *= f.x, s[m][n][3] *= f.y;
            }
        }
    }

    /// Key channels [16 step, ..) by values [8 half, ..) of a block of 16.
    __device__ right_operand operand(int block, int half, int step) const {
        using T = typename Shape::element_type;
        auto const &low = s[block][2 * step], &high = s[block][2 * step + 1];
        return {{pack<T>(low[2 * half], low[2 * half + 1]),
                 pack<T>(high[2 * half], high[2 * half + 1])}};
    }
    /// What rounding left out of an operand.
    __device__ right_operand remainder(right_operand const& rounded, int block, int half,
                                       int step) const {
        using T = typename Shape::element_type;
        right_operand rest;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            auto const& exact = s[block][2 * step + i];
            float2 const x = unpack<T>(rounded.x[i]);
            rest.x[i] = pack<T>(exact[2 * half] - x.x, exact[2 * half + 1] - x.y);
        }
        return rest;
    }
};

/// A warp's outputs: some rows of the chunk, its own columns.
template <class Shape>
using chunk_outputs = sum_tile[Shape::rows_at_a_time / 16][Shape::columns / 8];

/// Which score a reader counts: those of tokens before it, its own where it sees itself.
struct score_mask {
    bool strict;
    __device__ bool operator()(int reader, int token) const {
        return strict ? token < reader : token <= reader;
    }
};

/// Weighs one block of 16 x 16 scores, in the row's two halves of 8.
template <class Shape, bool Diagonal>
__device__ inline void weigh_scores(chunk_block<Shape> const& b, int stage, score_mask mask,
                                    int row, int block, int lane, sum_tile (&sums)[2]) {
    auto const& w = b.notes.tokens[stage];
    int const i = 16 * row + lane / 4, j = 16 * block + 2 * (lane % 4);
    if constexpr (Shape::weigh == weighing::token) {
        float const reader[2] = {w.level[i], w.level[i + 8]};
#pragma unroll
        for (int n = 0; n < 2; ++n) {
            float2 const token = *reinterpret_cast<float2 const*>(w.level + j + 8 * n);
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                sums[n][2 * half] *= power_of_2(reader[half] - token.x);
                sums[n][2 * half + 1] *= power_of_2(reader[half] - token.y);
            }
        }
    }
    if constexpr (Diagonal) {
#pragma unroll
        for (int x = 0; x < 8; ++x) {
            bool const seen = mask(i + x % 4 / 2 * 8, j + x / 4 * 8 + x % 2);
            sums[x / 4][x % 4] = seen ? sums[x / 4][x % 4] : 0;
        }
    }
}

/// Leaves a block of weighted scores, and their sums where they are divided by.
template <class Shape>
__device__ inline void leave_scores(chunk_block<Shape> const& b, int row, int block, int lane,
                                    sum_tile const (&sums)[2]) {
    using T = typename Shape::element_type;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        b.scores().set_sums(16 * row, block, half, lane,
                            pack<T>(sums[0][2 * half], sums[0][2 * half + 1]),
                            pack<T>(sums[1][2 * half], sums[1][2 * half + 1]));
    }
    if (!b.c.normalized) return;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float const total = sum_of_quad((sums[0][2 * half] + sums[0][2 * half + 1]) +
                                        (sums[1][2 * half] + sums[1][2 * half + 1]));
        if (lane % 4 == 0) b.notes.row_sums[16 * row + lane / 4 + 8 * half][block] = total;
    }
}

/// The decay of channels d and d + 1 between the queries' piece `row` and the keys' piece `block`:
/// growth where the two are one.
template <class Shape>
__device__ inline float2 decay_between(chunk_block<Shape> const& b, int row, int block, int d) {
    if (row == block) return *reinterpret_cast<float2 const*>(b.notes.piece_growth[row] + d);
    float2 f = *reinterpret_cast<float2 const*>(b.notes.piece_decay[row - 1] + d);
    for (int a = block + 1; a < row - 1; ++a) {
        f.x *= b.notes.piece_decay[a][d], f.y *= b.notes.piece_decay[a][d + 1];
    }
    return f;
}

/// Multiplies queries by it.
template <class Shape>
__device__ inline void weigh_between(chunk_block<Shape> const& b, left_operand& queries, int row,
                                     int block, int step) {
    using T = typename Shape::element_type;
    if (row == block + 1 || b.notes.one_piece) return;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        int const d = 16 * step + 8 * half + 2 * (b.lane % 4);
        float2 const f = decay_between(b, row, block, d);
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
            float2 const x = unpack<T>(queries.x[i]);
            queries.x[i] = pack<T>(x.x * f.x, x.y * f.y);
        }
    }
}

/// A block of 16 x 16 of a lower triangle, numbered row by row.
struct triangle_block {
    int row, column;

    static __device__ constexpr int number_of(int row, int column) {
        return row * (row + 1) / 2 + column;
    }
    template <int Side>
    static __device__ triangle_block of(int number) {
        static_assert(Side <= 4);
        int const row = (number >= 1) + (number >= 3) + (number >= 6);
        return {row, number - number_of(row, 0)};
    }
};

/// The weighted scores of the chunk's lower triangle, in blocks of 16 x 16 dealt to the warps.
template <class Shape>
__device__ inline void compute_scores(chunk_block<Shape> const& b, int stage, pass const& how,
                                      int count) {
    using T = typename Shape::element_type;
    int const lane = anew(b.lane);
    constexpr int side = Shape::rows / 16, triangle = side * (side + 1) / 2;
    score_mask const mask{how.strict};
    for (int number = b.warp; number < triangle; number += Shape::warps) {
        auto const [row, block] = triangle_block::of<side>(number);
        if (16 * row >= count) continue;
        sum_tile sums[2] = {};
#pragma unroll
        for (int step = 0; step < Shape::depth / 16; ++step) {
            auto queries = b.q(stage).left(16 * row, step, lane);
            if constexpr (Shape::weigh == weighing::channel) {
                weigh_between(b, queries, row, block, step);
            }
            right_operand keys[2];
            b.k(stage).right_transposed(keys, 16 * block, step, lane);
            multiply_add<T>(sums[0], queries, keys[0]);
            multiply_add<T>(sums[1], queries, keys[1]);
        }
        if (row == block) {
            weigh_scores<Shape, true>(b, stage, mask, row, block, lane, sums);
        } else {
            weigh_scores<Shape, false>(b, stage, mask, row, block, lane, sums);
        }
        leave_scores(b, row, block, lane, sums);
    }
}

/// Multiplies every row by its factor, beginning at a lane's first one.
template <class Shape>
__device__ inline void scale_rows(chunk_outputs<Shape>& o, float const* factors) {
#pragma unroll
    for (int row = 0; row < Shape::rows_at_a_time / 16; ++row) {
        float const upper = factors[16 * row], lower = factors[16 * row + 8];
#pragma unroll
        for (int n = 0; n < Shape::columns / 8; ++n) {
            o[row][n][0] *= upper, o[row][n][1] *= upper;
            o[row][n][2] *= lower, o[row][n][3] *= lower;
        }
    }
}

/// What the readers find in the state of the tokens before, which is read in two parts or in one.
template <bool Refined, class Shape>
__device__ inline void read_state(chunk_block<Shape> const& b, int stage, int first,
                                  chunk_state<Shape> const& state, chunk_outputs<Shape>& o) {
    using T = typename Shape::element_type;
    int const lane = anew(b.lane);
    constexpr int columns = Shape::columns / 8;
#pragma unroll
    for (int step = 0; step < Shape::depth / 16; ++step) {
        right_operand s[columns];
#pragma unroll
        for (int n = 0; n < columns; ++n) s[n] = state.operand(n / 2, n % 2, step);
        [[maybe_unused]] right_operand rest[columns];
        if constexpr (Refined) {
#pragma unroll
            for (int n = 0; n < columns; ++n) {
                rest[n] = state.remainder(s[n], n / 2, n % 2, step);
            }
        }
#pragma unroll
        for (int row = 0; row < Shape::rows_at_a_time / 16; ++row) {
            auto const queries = b.readers(stage).left(first + 16 * row, step, lane);
#pragma unroll
            for (int n = 0; n < columns; ++n) multiply_add<T>(o[row][n], queries, s[n]);
            if constexpr (Refined) {
#pragma unroll
                for (int n = 0; n < columns; ++n) multiply_add<T>(o[row][n], queries, rest[n]);
            }
        }
    }
    if constexpr (Shape::weigh != weighing::token) return;
    scale_rows<Shape>(o, b.notes.tokens[stage].read + first + lane / 4);
}

/// What they find in the chunk itself; values(pair, m, step, part) are two right
/// operands of block m.
template <class Shape, class Values>
__device__ inline void read_chunk(chunk_block<Shape> const& b, int first, chunk_outputs<Shape>& o,
                                  Values const& values_of) {
    using T = typename Shape::element_type;
    int const lane = anew(b.lane);
    constexpr int side = Shape::rows / 16, blocks = Shape::columns / 16;
#pragma unroll
    for (int step = 0; step < side; ++step) {
        if (!Shape::both && 16 * step >= first + Shape::rows_at_a_time) break;
#pragma unroll
        for (int part = 0; part < Shape::value_parts; ++part) {
            right_operand values[blocks][2];
#pragma unroll
            for (int m = 0; m < blocks; ++m) values_of(values[m], m, step, part);
#pragma unroll
            for (int row = 0; row < Shape::rows_at_a_time / 16; ++row) {
                if (!Shape::both && first + 16 * row < 16 * step) continue;
                auto const scores = b.scores().left(first + 16 * row, step, lane);
#pragma unroll
                for (int m = 0; m < blocks; ++m) {
                    multiply_add<T>(o[row][2 * m], scores, values[m][0]);
                    multiply_add<T>(o[row][2 * m + 1], scores, values[m][1]);
                }
            }
        }
    }
}

/// Multiplies the tokens of a left operand by what is left of them at the chunk's end, and by the
/// scale where nobody reads who would apply it.
template <class Shape>
__device__ inline void weigh_values(chunk_block<Shape> const& b, int stage, int step,
                                    left_operand& values) {
    using T = typename Shape::element_type;
    float const scale = Shape::reads ? 1 : b.c.scale;
    float2 w[2] = {{scale, scale}, {scale, scale}};
    if constexpr (Shape::weigh == weighing::token) {
        float const* const left = b.notes.tokens[stage].write + 16 * step + b.lane % 4 * 2;
#pragma unroll
        for (int i = 0; i < 2; ++i) w[i] = {scale * left[8 * i], scale * left[8 * i + 1]};
    } else if (scale == 1) {
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        float2 const x = unpack<T>(values.x[i]);
        values.x[i] = pack<T>(x.x * w[i / 2].x, x.y * w[i / 2].y);
    }
}

/// S += K^T V, every token with its weight; values(m, step, part) is a left operand of block m.
template <class Shape, class Values>
__device__ inline void write_state(chunk_block<Shape> const& b, int stage, int count,
                                   chunk_state<Shape>& state, Values const& values_of) {
    using T = typename Shape::element_type;
    int const lane = anew(b.lane);
    constexpr int blocks = Shape::columns / 16;
#pragma unroll
    for (int step = 0; step < Shape::rows / 16; ++step) {
        if (16 * step >= count) break;
        if constexpr (Shape::weigh == weighing::channel) {
            // Keys are relative to their piece's end.
            if (step == 0 || !b.notes.one_piece) state.scale(b.notes.piece_decay[step], lane);
        }
        left_operand values[Shape::value_parts][blocks];
#pragma unroll
        for (int part = 0; part < Shape::value_parts; ++part) {
#pragma unroll
            for (int m = 0; m < blocks; ++m) {
                auto& x = values[part][m];
                x = values_of(m, step, part);
                if constexpr (Shape::weigh == weighing::token || !Shape::reads) {
                    weigh_values(b, stage, step, x);
                }
            }
        }
#pragma unroll
        for (int block = 0; block < Shape::depth / 16; ++block) {
            right_operand keys[2];
            b.k(stage).right(keys, block, step, lane);
#pragma unroll
            for (int part = 0; part < Shape::value_parts; ++part) {
#pragma unroll
                for (int m = 0; m < blocks; ++m) {
                    multiply_add<T>(state.s[m][2 * block], values[part][m], keys[0]);
                    multiply_add<T>(state.s[m][2 * block + 1], values[part][m], keys[1]);
                }
            }
        }
    }
}

}  // namespace rondo::inline RONDO_ISA::cuda
