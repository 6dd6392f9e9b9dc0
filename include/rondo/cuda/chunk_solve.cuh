/// @file
/// The inverses that a delta update solves its chunks with, for all chunks at once.
#pragma once

#include <rondo/cuda/chunk_delta.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// The shape of a block that solves: keys in the place of queries, where channels have decays of
/// their own with weighed keys and gates behind them, then A in two parts and its diagonal blocks
/// in float.
template <class Shape>
struct solving_shape
    : chunk_shape<typename Shape::element_type, Shape::weigh, Shape::depth, 16, 4, true> {
    using base = chunk_shape<typename Shape::element_type, Shape::weigh, Shape::depth, 16, 4, true>;
    static constexpr bool reads_keys = false, reads_state = false;
    static constexpr int width_bytes = 0;  // no values
    static constexpr int key_bytes = (base::per_channel ? 3 : 1) * base::depth_bytes;
    static constexpr int side = 16, step = side + 4;  // floats a row of a diagonal block
    static constexpr int diagonal_bytes = base::rows * step * int(sizeof(float));
    static __host__ __device__ constexpr int tile_bytes(bool) {
        return key_bytes + 2 * base::score_bytes + diagonal_bytes;
    }
};

/// A number as the sum of two rounded ones, in pairs: products of such sums have 16 bits.
struct split_pair {
    using T = __nv_bfloat16;
    unsigned high, low;

    __device__ split_pair(float first, float second) : high(pack<T>(first, second)) {
        float2 const x = unpack<T>(high);
        low = pack<T>(first - x.x, second - x.y);
    }
};
struct split_left {
    left_operand high, low;
};

/// A in shared memory, and then its inverse. Warp j computes block column j of the inverse,
/// transposed, so that what one product leaves is the left operand of the next:
///
///     T_ij^T = -(sum_(j <= k < i) T_kj^T A_ik^T) T_ii^T
template <class Shape>
class chunk_solver {
    using T = typename Shape::element_type;
    using half_tile = tile<__nv_bfloat16, Shape::rows>;
    using pieces = own_pieces<Shape::rows, Shape::threads>;
    static constexpr int side = Shape::side, blocks = Shape::rows / side, step = Shape::step;

public:
    using block_sums = sum_tile[2];

    __device__ chunk_solver(chunk_block<Shape> const& block, char* shared)
        : b_(block),
          high_{block.base + unsigned(Shape::key_bytes)},
          low_{high_.base + unsigned(Shape::score_bytes)},
          diagonal_(reinterpret_cast<float*>(shared + Shape::key_bytes + 2 * Shape::score_bytes)) {}

    /// A from the keys, by channel from those weighed as queries and as keys.
    __device__ void weigh() const {
        constexpr bool by_channel = Shape::weigh == weighing::channel;
        auto const& w = b_.notes.tokens[0];
        auto const keys = by_channel ? b_.k(0) : b_.q(0);
        for (int number = b_.warp; number < blocks * (blocks + 1) / 2; number += Shape::warps) {
            int row = 0, first = 0;
            while (first + row + 1 <= number) first += ++row;
            int const column = number - first;
            block_sums sums = {};
#pragma unroll
            for (int d = 0; d < Shape::depth / 16; ++d) {
                auto left = b_.q(0).left(side * row, d, b_.lane);
                if constexpr (by_channel) weigh_between(b_, left, row, column, d);
                right_operand right[2];
                keys.right_transposed(right, side * column, d, b_.lane);
                multiply_add<T>(sums[0], left, right[0]);
                multiply_add<T>(sums[1], left, right[1]);
            }
            put(row, column, sums, [&](int i, int j) {
                float weight = b_.notes.strength[0][i];
                if constexpr (!by_channel) weight *= power_of_2(w.level[i] - w.level[j]);
                return weight;
            });
        }
        __syncthreads();
    }

    /// A block of A from products and weight(i, j).
    template <class Weight>
    __device__ void put(int row, int column, block_sums const& sums, Weight const& weight) const {
#pragma unroll
        for (int x = 0; x < 4; ++x) {
            int const i = side * row + b_.lane / 4 + x % 2 * 8;
            int const j = side * column + x / 2 * 8 + 2 * (b_.lane % 4);
            float a[2];
#pragma unroll
            for (int n = 0; n < 2; ++n) {
                a[n] = j + n < i ? weight(i, j + n) * sums[x / 2][x % 2 * 2 + n] : 0;
            }
            if (row == column) {
                *reinterpret_cast<float2*>(diagonal_ + i * step + j % side) = {a[0], a[1]};
            } else {
                split_pair const parts(a[0], a[1]);
                high_.set(i, j / 2, parts.high);
                low_.set(i, j / 2, parts.low);
            }
        }
    }
    /// An entry of a diagonal block, its column counted from the block's.
    __device__ void put(int i, int column, float a) const { diagonal_[i * step + column] = a; }

    /// Leaves the inverse without its diagonal, transposed, in the place of the first keys.
    __device__ void invert() const {
        auto const to = solution();
        invert_diagonal();
        __syncthreads();
        int const j = b_.warp;
        split_left columns[blocks] = {};
        block_sums found[blocks] = {};
#pragma unroll
        for (int n = 0; n < blocks; ++n) {
            if (n == j) columns[n] = {left(high_, n, n), left(low_, n, n)};
        }
#pragma unroll
        for (int i = 1; i < blocks; ++i) {
            if (i <= j) continue;
            block_sums sum = {};
#pragma unroll
            for (int k = 0; k < i; ++k) {
                if (k >= j) multiply<false>(sum, columns[k], i, k);
            }
            block_sums whole = {};
            multiply<true>(whole, split(sum), i, i);
#pragma unroll
            for (int x = 0; x < 8; ++x) found[i][x / 4][x % 4] = -whole[x / 4][x % 4];
            columns[i] = split(found[i]);
        }
#pragma unroll
        for (int i = 1; i < blocks; ++i) {
            if (i <= j) continue;
#pragma unroll
            for (int x = 0; x < 4; ++x) {
                float const* const t = found[i][x / 2] + x % 2 * 2;
                to.set(side * j + b_.lane / 4 + x % 2 * 8, (side * i + x / 2 * 8) / 2 + b_.lane % 4,
                       pack<T>(t[0], t[1]));
            }
        }
        __syncthreads();
    }

    /// What `invert` leaves, or nothing: zeros.
    __device__ void clear() const {
        pieces::each([&](int, int row, int piece) { solution().set_piece(row, piece, {}); });
        __syncthreads();
    }
    __device__ void leave(T* to) const {
        pieces::each([&](int, int row, int piece) {
            reinterpret_cast<uint4*>(to)[row * pieces::across + piece] =
                solution().get_piece(row, piece);
        });
    }

private:
    __device__ typename Shape::score_tile solution() const { return {b_.base}; }

    /// sum += x times the transpose of block (i, k) of A, or of the inverse where that is diagonal,
    /// whose transpose is what the tiles hold.
    template <bool Diagonal>
    __device__ void multiply(block_sums& sum, split_left const& x, int i, int k) const {
        right_operand high[2], low[2];
        if constexpr (Diagonal) {
            right(high, high_, i);
            right(low, low_, i);
        } else {
            high_.right_transposed(high, side * i, k, b_.lane);
            low_.right_transposed(low, side * i, k, b_.lane);
        }
#pragma unroll
        for (int n = 0; n < 2; ++n) {
            multiply_add<__nv_bfloat16>(sum[n], x.low, high[n]);
            multiply_add<__nv_bfloat16>(sum[n], x.high, low[n]);
            multiply_add<__nv_bfloat16>(sum[n], x.high, high[n]);
        }
    }

    __device__ void right(right_operand (&to)[2], half_tile const& from, int i) const {
        from.right(to, i, i, b_.lane);
    }
    __device__ left_operand left(half_tile const& from, int row, int block) const {
        return from.left(side * row, block, b_.lane);
    }

    /// What a product leaves as the left operand of the next.
    static __device__ split_left split(block_sums const& x) {
        split_left result;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            float const* const pair = x[i / 2] + i % 2 * 2;
            split_pair const parts(pair[0], pair[1]);
            result.high.x[i] = parts.high;
            result.low.x[i] = parts.low;
        }
        return result;
    }

    /// A warp each: a lane solves for a column of the block's inverse and leaves it as a row.
    __device__ void invert_diagonal() const {
        int const begin = side * b_.warp, column = b_.lane % side, row = begin + column;
        float const* const a = diagonal_ + begin * step;
        float t[side];
#pragma unroll
        for (int i = 0; i < side; ++i) {
            float sum = i == column ? 1 : 0;
#pragma unroll
            for (int k = 0; k < i; k += 4) {
                float4 const four = *reinterpret_cast<float4 const*>(a + i * step + k);
                sum -= four.x * t[k];
                if (k + 1 < i) sum -= four.y * t[k + 1];
                if (k + 2 < i) sum -= four.z * t[k + 2];
                if (k + 3 < i) sum -= four.w * t[k + 3];
            }
            t[i] = sum;
        }
        if (b_.lane >= side) return;
#pragma unroll
        for (int i = 0; i < side; i += 2) {
            split_pair const parts(t[i], t[i + 1]);
            high_.set(row, (begin + i) / 2, parts.high);
            low_.set(row, (begin + i) / 2, parts.low);
            solution().set(row, (begin + i) / 2,
                           pack<T>(i == column ? 0 : t[i], i + 1 == column ? 0 : t[i + 1]));
        }
    }

    chunk_block<Shape> const& b_;
    half_tile high_, low_;
    float* diagonal_;
};

/// A block: one chunk of one key head, in the order of one pass.
template <class Shape>
__global__ void __launch_bounds__(Shape::threads)
    solve_chunks(call<float> const __grid_constant__ c, solved_chunks const to) {
    using T = typename Shape::element_type;
    extern __shared__ __align__(1024) char chunk_shared[];
    static_assert(Shape::warps == Shape::rows / 16 && Shape::threads == 128);
    index const head = blockIdx.x / to.slots, slot = blockIdx.x % to.slots;
    index const sequence = chunk_slots::sequence_of(c, slot, Shape::rows);
    location const where(c, sequence, head * c.group);
    int const number = int(slot - chunk_slots::first(c, sequence, Shape::rows));
    int const length = int(where.length);
    if (number * Shape::rows >= length) return;
    chunk_block<Shape> const block(c, where, 0, 1, chunk_shared);
    walk_order<Shape> order(block.notes, c.passes[0], 0, length, length, 0);
    order.note(number);
    __syncthreads();
    int const* const tokens = order.tokens(number);
    int const count = order.span(number).count;
    block.load(block.q(0), block.k_rows, int(c.depth), tokens, count);
    if constexpr (Shape::per_channel) {
        block.load(block.k(0), block.k_rows, int(c.depth), tokens, count);
        block.load(block.gate(0), block.gate_rows, int(c.depth), tokens, count);
    }
    token_weigher<Shape> weigher(block);
    delta_strengths<Shape> strengths(block);
    weigher.load(tokens, count);
    strengths.load(tokens, count);
    weigher.weigh(0);
    strengths.leave(0);
    wait_for_copies();
    __syncthreads();
    if (c.feature != feature_kind::identity) {
        block.map(block.q(0));
        if (Shape::per_channel) block.map(block.k(0));
        __syncthreads();
    }
    // Where decays are too strong the walk goes token by token and needs no solution.
    bool const mild = channel_weigher<Shape>(block).weigh(0, pass{}, 0, count);
    chunk_solver<Shape> const solver(block, chunk_shared);
    if (mild) solver.weigh();
    solver.clear();
    if (mild) solver.invert();
    constexpr index size = Shape::rows * Shape::rows;
    solver.leave(reinterpret_cast<T*>(to.memory) + index(blockIdx.x) * size);
}

}  // namespace rondo::inline RONDO_ISA::cuda
