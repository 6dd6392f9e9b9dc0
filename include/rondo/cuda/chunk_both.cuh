/// @file
/// Both directions of log decays by token in one pass forwards. A walk back over keys and values
/// has kept the state of the tokens behind each chunk; with F the cumulative sums of the decays
/// forwards and B those back, a reader i of the chunk finds
///
///     e^(F_i) q_i S + e^(B_end - B_i) q_i S_behind + sum_(j <= i) e^(F_i - F_j) (q_i . k_j) v_j
///                                                  + sum_(j > i) e^(B_j - B_i) (q_i . k_j) v_j
///
/// where one of F and B counts a token's own decay and the other does not: what is the reader's
/// forwards is the read token's on the way back.
#pragma once

#include <rondo/cuda/chunk_keep.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// A shape that reads both, whose own states are left by `Writing` where blocks share a sequence.
/// What the first half of a chunk's work reads arrives during the second half of that of the chunk
/// before, and the values during the first: but for keys, which all of it reads, one tile each is
/// enough, and leaves room for the state that was kept.
template <class Shape, class Writing>
struct both_shape : Shape {
    using writing = Writing;
    static constexpr bool both = true;
    // There are twice as many sums, one set for each state.
    static constexpr int rows_at_a_time = Shape::warps > 4 ? Shape::rows / 2 : Shape::rows;
    static constexpr int kept_bytes = int(held_state<Shape>::size) * 16;

    static __host__ __device__ constexpr int tile_bytes(bool) {
        return 3 * Shape::depth_bytes + Shape::width_bytes + kept_bytes + Shape::score_bytes;
    }
};

/// What the walk back kept, as right operands in shared memory: every thread copies and reads what
/// a thread of its number held.
template <class Shape>
class kept_state {
    static constexpr int blocks = held_state<Shape>::blocks, steps = held_state<Shape>::steps;

public:
    __device__ explicit kept_state(chunk_block<Shape> const& b)
        : at_(b.kept_base() + threadIdx.x * 16) {}

    __device__ void load(std::byte const* held) const {
#pragma unroll
        for (int i = 0; i < blocks * steps; ++i) {
            constexpr int row = Shape::threads * 16;
            copy_ahead(at_ + unsigned(i * row), held + threadIdx.x * 16 + i * row, true);
        }
    }

    /// The channels [16 step, ..) of the columns [8 n, ..).
    __device__ void operands(right_operand (&to)[2 * blocks], int step) const {
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
            uint4 const x = get_quad(at_ + unsigned((m * steps + step) * Shape::threads * 16));
            to[2 * m] = {{x.x, x.y}}, to[2 * m + 1] = {{x.z, x.w}};
        }
    }

private:
    unsigned at_;
};

/// What the readers find in the states of the tokens before the chunk and behind it.
template <class Shape>
__device__ inline void read_states(chunk_block<Shape> const& b, int stage, int first,
                                   chunk_state<Shape> const& state, chunk_outputs<Shape>& o) {
    using T = typename Shape::element_type;
    int const lane = anew(b.lane);
    constexpr int columns = Shape::columns / 8, rows = Shape::rows_at_a_time / 16;
    kept_state<Shape> const kept(b);
    chunk_outputs<Shape> behind = {};
#pragma unroll
    for (int step = 0; step < Shape::depth / 16; ++step) {
        right_operand s[columns], after[columns];
        kept.operands(after, step);
#pragma unroll
        for (int n = 0; n < columns; ++n) s[n] = state.operand(n / 2, n % 2, step);
#pragma unroll
        for (int row = 0; row < rows; ++row) {
            auto const queries = b.q(stage).left(first + 16 * row, step, lane);
#pragma unroll
            for (int n = 0; n < columns; ++n) {
                multiply_add<T>(behind[row][n], queries, after[n]);
                multiply_add<T>(o[row][n], queries, s[n]);
            }
        }
    }
    auto const& w = b.notes.tokens[stage];
    scale_rows<Shape>(o, w.read + first + lane / 4);
    scale_rows<Shape>(behind, w.read_back + first + lane / 4);
#pragma unroll
    for (int row = 0; row < rows; ++row) {
#pragma unroll
        for (int n = 0; n < columns; ++n) {
#pragma unroll
            for (int x = 0; x < 4; ++x) o[row][n][x] += behind[row][n][x];
        }
    }
}

/// Weighs one block of 16 x 16 scores: of tokens before the readers by the decays forwards, of
/// those behind them by the ones back.
template <class Shape>
__device__ inline void weigh_both(chunk_block<Shape> const& b, int stage, int row, int block,
                                  int lane, sum_tile (&sums)[2]) {
    auto const& w = b.notes.tokens[stage];
    int const i = 16 * row + lane / 4, j = 16 * block + 2 * (lane % 4);
    auto const weigh = [&](float const* level, auto const& counts) {
        float const reader[2] = {level[i], level[i + 8]};
#pragma unroll
        for (int n = 0; n < 2; ++n) {
            float2 const token = *reinterpret_cast<float2 const*>(level + j + 8 * n);
#pragma unroll
            for (int x = 0; x < 4; ++x) {
                float const weight = power_of_2(reader[x / 2] - (x % 2 ? token.y : token.x));
                if (counts(i + x / 2 * 8, j + 8 * n + x % 2)) sums[n][x] *= weight;
            }
        }
    };
    if (row != block) {
        weigh(row < block ? w.level_back : w.level, [](int, int) { return true; });
    } else {
        weigh(w.level, [](int reader, int token) { return token <= reader; });
        weigh(w.level_back, [](int reader, int token) { return token > reader; });
    }
}

/// All weighted scores of the chunk. A warp takes some rows of blocks in one column of them, whose
/// keys serve all of its rows.
template <class Shape>
__device__ inline void compute_both(chunk_block<Shape> const& b, int stage) {
    using T = typename Shape::element_type;
    constexpr int side = Shape::rows / 16, apart = Shape::warps / side, mine = side / apart;
    static_assert(apart * side == Shape::warps && mine * apart == side);
    int const lane = anew(b.lane), block = b.warp % side, first = b.warp / side;
    sum_tile sums[mine][2] = {};
#pragma unroll
    for (int step = 0; step < Shape::depth / 16; ++step) {
        right_operand keys[2];
        b.k(stage).right_transposed(keys, 16 * block, step, lane);
#pragma unroll
        for (int x = 0; x < mine; ++x) {
            auto const queries = b.q(stage).left(16 * (first + x * apart), step, lane);
            multiply_add<T>(sums[x][0], queries, keys[0]);
            multiply_add<T>(sums[x][1], queries, keys[1]);
        }
    }
#pragma unroll
    for (int x = 0; x < mine; ++x) {
        int const row = first + x * apart;
        weigh_both(b, stage, row, block, lane, sums[x]);
        leave_scores(b, row, block, lane, sums[x]);
    }
}

}  // namespace rondo::inline RONDO_ISA::cuda
