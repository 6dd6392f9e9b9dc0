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

/// The pairs of one of a thread's two rows in four tiles of 8 columns from number n on.
template <class T, int Tiles>
__device__ inline void pack_quads(unsigned (&to)[4], sum_tile const (&x)[Tiles], int n, int half) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        to[i] = pack<T>(x[n + i][2 * half], x[n + i][2 * half + 1]);
    }
}

/// Packed pairs of four tiles of 8 columns, two neighbours a lane, as one row of 32: 16 bytes a
/// lane, but for those whose columns begin at `end` or behind it.
__device__ inline void store_quads(std::byte* row, unsigned (&x)[4], int lane, int column,
                                   int end) {
    gather_neighbours(x, lane);
    int const mine = column + 8 * (lane % 4);
    if (mine < end) *reinterpret_cast<uint4*>(row + mine * 2) = {x[0], x[1], x[2], x[3]};
}

/// Leaves 16 rows of sums, tiles of 8 columns side by side, one behind the other.
template <class T, int Tiles>
__device__ inline void store_rows(std::byte* to, sum_tile const (&x)[Tiles], int lane) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int n = 0; n < Tiles; n += 4) {
            unsigned packed[4];
            pack_quads<T>(packed, x, n, half);
            int const row = lane / 4 + 8 * half;
            store_quads(to + row * 8 * Tiles * 2, packed, lane, 8 * n, 8 * Tiles);
        }
    }
}

/// The rows of a chunk's outputs that a warp leaves, 8 at a time.
template <class Shape>
class output_rows {
    using T = typename Shape::element_type;
    static constexpr int tiles = Shape::columns / 8, groups = Shape::rows_at_a_time / 8;
    // Of groups whose denominators are known at a time.
    static constexpr int together = Shape::depth > 64 ? groups / 2 : groups;

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
          columns_(int(block.c.width - block.column)),
          lane_(anew(block.lane)) {}

    __device__ void leave(chunk_outputs<Shape>& o) const {
        auto const& c = b_.c;
        if (!Shape::both && (how_.accumulate || !how_.finish)) join(o);
        if (!c.normalized) {
            if (how_.finish) store<groups>(o, 0, [&](int) { return c.scale; });
            return;
        }
#pragma unroll
        for (int from = 0; from < groups; from += together) {
            float sums[together];
            join_sums(from, sums);
            auto const factor = [&](int i) { return c.scale / (sums[i] + c.eps); };
            if (how_.finish) store<together>(o, from, factor);
        }
    }

    /// Products of the rows with those beside them: of what was read in the state first.
    struct products {
        unsigned beside[groups][tiles];
        float of_state[groups];
    };

    __device__ products mark(chunk_outputs<Shape> const& o) const {
        tensor const& x = marks_.beside;
        head_rows const rows{b_.where.query_side(x, 0) + b_.column * int(sizeof(T)), int(x.time)};
        products result;
#pragma unroll
        for (int i = 0; i < groups; ++i) {
            auto const* const from = rows[tokens_[present(row(i)) ? row(i) : first_]];
#pragma unroll
            for (int n = 0; n < tiles; ++n) {
                int const e = b_.warp * Shape::columns + 8 * n + 2 * (lane_ % 4);
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
        bool const upper = lane_ & 2, odd = lane_ & 1;
        index const slots = b_.tiles * Shape::warps;
        index const slot = b_.column / Shape::width * Shape::warps + b_.warp;
#pragma unroll
        for (int first = 0; first < groups; first += 4) {
            float2 sums[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                sums[i] = {x.of_state[first + i], product(x, first + i, o)};
            }
#pragma unroll
            for (int i = 0; i < 2; ++i) exchange(sums[i], sums[i + 2], upper, 2);
            exchange(sums[0], sums[1], odd, 1);
            int const mine = origin_ + 8 * (first + lane_ % 4) + lane_ / 4;
            if (!present(mine)) continue;
            index const at = b_.where.partial(b_.c, tokens_[mine]) * slots + slot;
            marks_.products[at] = {b_.c.scale * sums[0].x, b_.c.scale * sums[0].y};
        }
    }

private:
    __device__ int row(int i) const { return origin_ + 8 * i + lane_ / 4; }
    __device__ bool present(int row) const {
        return unsigned(row - first_) < unsigned(last_ - first_);
    }

    /// Adds what earlier passes left, and leaves what later ones need, some rows at a time: their
    /// loads are all on their way before the first is waited for.
    __device__ void join(chunk_outputs<Shape>& o) const {
        constexpr int size = Shape::depth > 64 ? 2 : 8;
        auto const& c = b_.c;
        int const e = b_.warp * Shape::columns + 2 * (lane_ % 4);
        index const first = b_.where.partial(c, 0) * c.width + b_.column + e;
        head_rows const rows{reinterpret_cast<std::byte*>(c.partial_rows + first),
                             int(c.query_heads * c.width * index(sizeof(float)))};
#pragma unroll
        for (int i = 0; i < groups; i += size) {
            float2 left[size][tiles] = {};
            std::byte* at[size];
#pragma unroll
            for (int x = 0; x < size; ++x) at[x] = rows[tokens_[row(i + x)]];
            each_pair<size>(i, e, [&](int x, int n, bool known) {
                load_if(known && how_.accumulate, at[x] + 32 * n, left[x][n]);
            });
            each_pair<size>(i, e, [&](int x, int n, bool known) {
                float* const sum = o[(i + x) / 2][n] + 2 * ((i + x) % 2);
                sum[0] += left[x][n].x, sum[1] += left[x][n].y;
                store_if(known && !how_.finish, at[x] + 32 * n,
                         {__float_as_uint(sum[0]), __float_as_uint(sum[1])});
            });
        }
    }
    /// visit(x, n, whether it is there) for `Rows` groups of rows from `first` and their tiles.
    template <int Rows, class Visit>
    __device__ void each_pair(int first, int e, Visit const& visit) const {
#pragma unroll
        for (int x = 0; x < Rows; ++x) {
#pragma unroll
            for (int n = 0; n < tiles; ++n) {
                visit(x, n, present(row(first + x)) && e + 8 * n < columns_);
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

    /// `Size` groups of rows from one on times factor_of(number among them).
    template <int Size, class Factor>
    __device__ void store(chunk_outputs<Shape> const& o, int from, Factor const& factor_of) const {
        int const quarter = lane_ % 4;
        int const e = b_.warp * Shape::columns +
                      (tiles == 4 ? 8 * quarter : 8 * (quarter % 2) + 4 * (quarter / 2));
        head_rows const to{b_.o_rows.first + e * int(sizeof(T)), b_.o_rows.step};
        bool const inside = e < columns_;
        // Looked up before anything is stored, so that they need not wait for each other.
        int token[Size];
#pragma unroll
        for (int i = 0; i < Size; ++i) token[i] = tokens_[row(from + i)];
#pragma unroll
        for (int i = 0; i < Size; ++i) {
            float const factor = factor_of(i);
            unsigned packed[tiles];
#pragma unroll
            for (int n = 0; n < tiles; ++n) {
                float const* const x = o[(from + i) / 2][n] + 2 * ((from + i) % 2);
                packed[n] = pack<T>(factor * x[0], factor * x[1]);
            }
            gather_neighbours(packed, lane_);
            store_if(present(row(from + i)) && inside, to[token[i]], packed);
        }
    }

    /// The readers' denominators, joined with those of earlier passes. Every warp keeps its own.
    __device__ void join_sums(int from, float (&sums)[together]) const {
        auto const& c = b_.c;
        index const slots = b_.tiles * Shape::warps;
        index const slot = b_.column / Shape::width * Shape::warps + b_.warp;
        head_rows const rows{
            reinterpret_cast<std::byte*>(c.partial_sums + b_.where.partial(c, 0) * slots + slot),
            int(c.query_heads * slots * index(sizeof(float)))};
        float* at[together];
#pragma unroll
        for (int i = 0; i < together; ++i) {
            at[i] = reinterpret_cast<float*>(rows[tokens_[row(from + i)]]);
            sums[i] = !Shape::both && how_.accumulate && present(row(from + i)) ? *at[i] : 0;
        }
#pragma unroll
        for (int i = 0; i < together; ++i) sums[i] += denominator(b_, row(from + i), how_.write);
        if (Shape::both || how_.finish) return;
        __syncwarp();
#pragma unroll
        for (int i = 0; i < together; ++i) {
            if (present(row(from + i)) && lane_ % 4 == 0) *at[i] = sums[i];
        }
    }

    chunk_block<Shape> const& b_;
    chunk_marks const& marks_;
    pass const& how_;
    int const* tokens_;
    int first_, last_, origin_, columns_, lane_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
