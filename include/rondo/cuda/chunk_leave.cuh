/// @file
/// From a warp's output sums to the user's memory: 16 bytes a thread where columns allow.
#pragma once

#include <rondo/cuda/adjoint/marks.cuh>
#include <rondo/cuda/chunk_sums.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// Exchanges pairs of columns among the four lanes that share a row, so that each of them holds
/// neighbours: tiles of 8 columns, 4 of them (16 bytes a lane) or 2 (8 bytes).
template <int Tiles>
__device__ inline void gather_neighbours(unsigned (&x)[Tiles], int lane) {
    bool const odd = lane & 1;
#pragma unroll
    for (int j = 0; j < Tiles; j += 2) {
        unsigned const other = __shfl_xor_sync(~0U, odd ? x[j] : x[j + 1], 1);
        x[j] = odd ? other : x[j];
        x[j + 1] = odd ? x[j + 1] : other;
    }
    if constexpr (Tiles == 4) {
        bool const upper = lane & 2;
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            unsigned const other = __shfl_xor_sync(~0U, upper ? x[j] : x[j + 2], 2);
            x[j] = upper ? other : x[j];
            x[j + 2] = upper ? x[j + 2] : other;
        }
    }
}

/// The rows of a chunk's outputs that a warp leaves, 8 at a time.
template <class Shape>
class output_rows {
    using T = typename Shape::element_type;
    static constexpr int tiles = Shape::columns / 8;

public:
    /// Rows [first, last) of the chunk are to be left, of those that begin at `origin`.
    __device__ output_rows(chunk_block<Shape> const& block, chunk_marks const& marks,
                           pass const& how, int const* tokens, int first, int last, int origin)
        : b_(block),
          marks_(marks),
          how_(how),
          tokens_(tokens),
          first_(first),
          last_(last),
          origin_(origin),
          columns_(int(block.c.width - block.column)) {}

    __device__ void leave(chunk_outputs<Shape>& o) const {
        bool const several = how_.accumulate || !how_.finish;
        float factors[Shape::rows_at_a_time / 8];
#pragma unroll
        for (int i = 0; i < Shape::rows_at_a_time / 8; ++i) factors[i] = b_.c.scale;
        if (b_.c.normalized) {
#pragma unroll
            for (int i = 0; i < Shape::rows_at_a_time / 8; ++i) {
                factors[i] = b_.c.scale / (join_sums(row(i)) + b_.c.eps);
            }
        }
        if (several) join(o);
        if (!how_.finish) return;
#pragma unroll
        for (int i = 0; i < Shape::rows_at_a_time / 8; ++i) store(i, factors[i], o);
    }

    /// Products of the rows with those beside them: of what was read in the state first.
    struct products {
        unsigned beside[Shape::rows_at_a_time / 8][tiles];
        float of_state[Shape::rows_at_a_time / 8];
    };

    __device__ products mark(chunk_outputs<Shape> const& o) const {
        tensor const& x = marks_.beside;
        head_rows const rows{b_.where.query_side(x, 0) + b_.column * int(sizeof(T)), int(x.time)};
        products result;
#pragma unroll
        for (int i = 0; i < Shape::rows_at_a_time / 8; ++i) {
            auto const* const from = rows[tokens_[present(row(i)) ? row(i) : first_]];
#pragma unroll
            for (int n = 0; n < tiles; ++n) {
                int const e = b_.warp * Shape::columns + 8 * n + 2 * (b_.lane % 4);
                auto const* const at = reinterpret_cast<unsigned const*>(from + e * int(sizeof(T)));
                result.beside[i][n] = e < columns_ ? *at : 0;
            }
            result.of_state[i] = product(result, i, o);
        }
        return result;
    }

    /// Leaves them and those of all that was read, each warp of its own columns. Of four rows, each
    /// of the four lanes that share them gets one.
    __device__ void leave_marks(products const& x, chunk_outputs<Shape> const& o) const {
        bool const upper = b_.lane & 2, odd = b_.lane & 1;
        index const slots = b_.tiles * Shape::warps;
        index const slot = b_.column / Shape::width * Shape::warps + b_.warp;
#pragma unroll
        for (int first = 0; first < Shape::rows_at_a_time / 8; first += 4) {
            float2 sums[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                sums[i] = {x.of_state[first + i], product(x, first + i, o)};
            }
#pragma unroll
            for (int i = 0; i < 2; ++i) exchange(sums[i], sums[i + 2], upper, 2);
            exchange(sums[0], sums[1], odd, 1);
            int const mine = origin_ + 8 * (first + b_.lane % 4) + b_.lane / 4;
            if (!present(mine)) continue;
            index const at = b_.where.partial(b_.c, tokens_[mine]) * slots + slot;
            marks_.products[at] = {b_.c.scale * sums[0].x, b_.c.scale * sums[0].y};
        }
    }

private:
    __device__ int row(int i) const { return origin_ + 8 * i + b_.lane / 4; }
    __device__ bool present(int row) const { return row >= first_ && row < last_; }

    /// Adds what earlier passes left, and leaves what later ones need.
    __device__ void join(chunk_outputs<Shape>& o) const {
#pragma unroll
        for (int i = 0; i < Shape::rows_at_a_time / 8; ++i) {
            if (!present(row(i))) continue;
            float* const rows = b_.c.partial_rows +
                                b_.where.partial(b_.c, tokens_[row(i)]) * b_.c.width + b_.column;
#pragma unroll
            for (int n = 0; n < tiles; ++n) {
                int const e = b_.warp * Shape::columns + 8 * n + 2 * (b_.lane % 4);
                if (e >= columns_) continue;
                float* const x = o[i / 2][n] + 2 * (i % 2);
                auto* const left = reinterpret_cast<float2*>(rows + e);
                if (how_.accumulate) x[0] += left->x, x[1] += left->y;
                if (!how_.finish) *left = {x[0], x[1]};
            }
        }
    }

    __device__ float product(products const& x, int i, chunk_outputs<Shape> const& o) const {
        float sum = 0;
#pragma unroll
        for (int n = 0; n < tiles; ++n) {
            float const* const y = o[i / 2][n] + 2 * (i % 2);
            float2 const beside = unpack<T>(x.beside[i][n]);
            sum += y[0] * beside.x + y[1] * beside.y;
        }
        return sum;
    }
    /// The sum over two lanes of one of two pairs: of the second one for `second`.
    static __device__ void exchange(float2& a, float2 const& b, bool second, int lanes) {
        float2 const away = second ? a : b, own = second ? b : a;
        a = {own.x + __shfl_xor_sync(~0U, away.x, lanes),
             own.y + __shfl_xor_sync(~0U, away.y, lanes)};
    }

    __device__ void store(int i, float factor, chunk_outputs<Shape> const& o) const {
        unsigned packed[tiles];
#pragma unroll
        for (int n = 0; n < tiles; ++n) {
            float const* const x = o[i / 2][n] + 2 * (i % 2);
            packed[n] = pack<T>(factor * x[0], factor * x[1]);
        }
        gather_neighbours(packed, b_.lane);
        int const quarter = b_.lane % 4;
        int const e = b_.warp * Shape::columns +
                      (tiles == 4 ? 8 * quarter : 8 * (quarter % 2) + 4 * (quarter / 2));
        if (!present(row(i)) || e >= columns_) return;
        std::byte* const to = b_.o_rows[tokens_[row(i)]] + e * int(sizeof(T));
        if constexpr (tiles == 4) {
            *reinterpret_cast<uint4*>(to) = {packed[0], packed[1], packed[2], packed[3]};
        } else {
            *reinterpret_cast<uint2*>(to) = {packed[0], packed[1]};
        }
    }

    /// A reader's denominator, joined with those of earlier passes. Every warp keeps its own.
    __device__ float join_sums(int row) const {
        float sum = denominator(b_, row, how_.write);
        if (b_.c.partial_sums == nullptr) return sum;
        bool const mine = present(row);
        index const slots = b_.tiles * Shape::warps;
        index const slot = b_.column / Shape::width * Shape::warps + b_.warp;
        index const at = b_.where.partial(b_.c, mine ? tokens_[row] : 0) * slots + slot;
        if (how_.accumulate && mine) sum += b_.c.partial_sums[at];
        __syncwarp();
        if (!how_.finish && mine && b_.lane % 4 == 0) b_.c.partial_sums[at] = sum;
        return sum;
    }

    chunk_block<Shape> const& b_;
    chunk_marks const& marks_;
    pass const& how_;
    int const* tokens_;
    int first_, last_, origin_, columns_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
