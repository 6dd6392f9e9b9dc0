/// @file
/// What a chunk of a delta update by channel is walked with, for all chunks at once: its rows
/// weighed to the chunk's ends, the scores of its queries and the inverse of chunk_delta.cuh. With
/// f the decays from token to token,
///
///     P_ij = sum_d q_i(d) k_j(d) f_(j+1)(d) .. f_i(d)
///
/// is a product on tensor cores, of rows weighed to their piece's edges, and within the pieces of a
/// chunk with steep gates exact, decays multiplied pair by pair: no gate is too steep.
#pragma once

#include <rondo/cuda/adjoint/delta_shape.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// As the block that solves, without values but with what rounding leaves out of weighed keys.
template <int Side>
struct delta_weighing_shape
    : solving_shape<chunk_shape<__nv_bfloat16, weighing::channel, Side, 16, 4, true>> {
    using base = solving_shape<chunk_shape<__nv_bfloat16, weighing::channel, Side, 16, 4, true>>;
    static constexpr int width_bytes = 0, key_bytes = 4 * base::depth_bytes;
    static constexpr int piece = 16, pieces = base::rows / piece, pairs = Side / 2;
    static __host__ __device__ constexpr int stage_bytes_of(bool) { return key_bytes; }
    static __host__ __device__ constexpr int tile_bytes(bool) {
        return key_bytes + 2 * base::score_bytes + base::diagonal_bytes;
    }
};

/// One block: a warp takes a piece.
template <class Shape>
class delta_weigher {
    using T = typename Shape::element_type;
    using solver = chunk_solver<Shape>;
    static constexpr int piece = Shape::piece, pieces = Shape::pieces, pairs = Shape::pairs;
    static constexpr int parts = Shape::threads / pairs, mine = pieces / parts;
    static_assert(Shape::warps == pieces && pieces % parts == 0);

public:
    __device__ delta_weigher(delta_call const& w, chunk_block<Shape> const& block, index slot,
                             char* shared)
        : to_(w.weighed), c_(block.c), b_(block), solver_(block, shared), slot_(slot) {}

    __device__ void run(std::byte* solved) const {
        bool const mild = note_decays();
        if (!mild) score_pieces();
        __syncthreads();
        weigh();
        __syncthreads();
        score_blocks(mild);
        __syncthreads();
        solver_.clear();
        solver_.invert();
        solver_.leave(reinterpret_cast<T*>(solved + slot_ * Shape::score_bytes));
    }

private:
    static __device__ float2 decays(unsigned gates) {
        float2 const g = unpack<T>(gates);
        return {power_of_2(log2_of_e * g.x), power_of_2(log2_of_e * g.y)};
    }
    static __device__ float2 product(float2 a, float2 b) { return {a.x * b.x, a.y * b.y}; }

    // A thread's pair of channels, and the first of its pieces.
    static __device__ int own_pair() { return int(threadIdx.x) % pairs; }
    static __device__ int own_piece() { return int(threadIdx.x) / pairs * mine; }

    __device__ typename Shape::depth_tile key_rests() const {
        return {b_.k(0).base + unsigned(Shape::depth_bytes)};
    }

    /// Of pieces, and whether all of them can be taken back.
    __device__ bool note_decays() const {
        constexpr float most = 0x1p80F;
        bool steep = false;
#pragma unroll
        for (int m = 0; m < mine; ++m) {
            int const number = own_piece() + m;
            auto const gates = b_.gate(0).column_from(piece * number, own_pair());
            float2 all{1, 1};
#pragma unroll
            for (int i = 0; i < piece; ++i) all = product(all, decays(gates.get(i)));
            float2 const growth{1 / all.x, 1 / all.y};
            steep = steep || !(fmaxf(fmaxf(all.x, growth.x), fmaxf(all.y, growth.y)) < most);
            reinterpret_cast<float2*>(b_.notes.piece_decay[number])[own_pair()] = all;
            reinterpret_cast<float2*>(b_.notes.piece_growth[number])[own_pair()] = growth;
        }
        if (threadIdx.x == 0) b_.notes.one_piece = false;
        return !__syncthreads_or(steep);
    }
    /// Of the pieces [first, last).
    __device__ float2 between(int first, int last) const {
        float2 all{1, 1};
        for (int a = first; a < last; ++a) {
            all =
                product(all, reinterpret_cast<float2 const*>(b_.notes.piece_decay[a])[own_pair()]);
        }
        return all;
    }

    __device__ float strength(int row) const { return strength_of(b_.notes.strength[0][row]); }

    /// The pairs of a piece: a lane takes a written token and half of the channels.
    __device__ void score_pieces() const {
        int const first = piece * b_.warp, j = b_.lane % piece, part = b_.lane / piece;
        float by_query[piece] = {}, by_key[piece] = {};
#pragma unroll 1
        for (int pair = part; pair < pairs; pair += 2) {
            unsigned const raw = b_.k(0).get(first + j, pair);
            float2 const key = unpack<T>(raw), own = decays(b_.gate(0).get(first + j, pair));
            float2 written{0, 0};
#pragma unroll
            for (int i = 0; i < piece; ++i) {
                int const from = piece * part + i;
                float2 const f{__shfl_sync(~0U, own.x, from), __shfl_sync(~0U, own.y, from)};
                written = i == j ? key : product(written, f);
                float2 const q = unpack<T>(b_.q(0).get(first + i, pair));
                float2 const k = unpack<T>(__shfl_sync(~0U, raw, from));
                by_query[i] += q.x * written.x + q.y * written.y;
                by_key[i] += k.x * written.x + k.y * written.y;
            }
        }
        bool const strict = c_.passes[0].strict;
#pragma unroll
        for (int i = 0; i < piece; ++i) {
            float const key = by_key[i] + __shfl_xor_sync(~0U, by_key[i], piece);
            float query = by_query[i] + __shfl_xor_sync(~0U, by_query[i], piece);
            if (strict && i == j) query = 0;
            float const next = __shfl_down_sync(~0U, query, 1);
            if (part == 0) solver_.put(first + i, j, j < i ? strength(first + i) * key : 0);
            if (part == 0 && j % 2 == 0) leave_pair(first + i, first + j, pack<T>(query, next));
        }
    }

    /// Turns queries into those weighed from their piece's first token on, keys into those weighed
    /// to its last one and gates into keys weighed as queries are.
    __device__ void weigh() const {
        int const pair = own_pair();
#pragma unroll
        for (int m = 0; m < mine; ++m) {
            int const number = own_piece() + m, begin = piece * number;
            auto const queries = b_.q(0).column_from(begin, pair);
            auto const keys = b_.k(0).column_from(begin, pair);
            auto const gates = b_.gate(0).column_from(begin, pair);
            auto const rests = key_rests().column_from(begin, pair);
            float2 const before = between(0, number), behind = between(number + 1, pieces);
            float2 f[piece], weight{1, 1};
#pragma unroll
            for (int i = 0; i < piece; ++i) {
                f[i] = decays(gates.get(i));
                weight = product(weight, f[i]);
                float2 const q = product(unpack<T>(queries.get(i)), weight);
                float2 const k = product(unpack<T>(keys.get(i)), weight);
                queries.set(i, pack<T>(q.x, q.y));
                gates.set(i, pack<T>(k.x, k.y));
                leave(to_.queries, begin + i, product(q, before));
                leave(to_.readers, begin + i, product(k, before));
            }
            weight = {1, 1};
#pragma unroll
            for (int i = piece - 1; i >= 0; --i) {
                float2 const k = product(unpack<T>(keys.get(i)), weight);
                split_pair const parts(k.x, k.y);
                keys.set(i, parts.high);
                rests.set(i, parts.low);
                leave(to_.writers, begin + i, product(k, behind));
                weight = product(weight, f[i]);
            }
        }
        if (own_piece() > 0) return;
        reinterpret_cast<float2*>(to_.carries + slot_ * Shape::depth)[pair] = between(0, pieces);
    }

    /// The pairs of two pieces, or of one, for queries and for keys as readers.
    __device__ void score_blocks(bool own) const {
        int const apart = own ? 0 : 1, side = pieces - apart;
        bool const strict = c_.passes[0].strict;
        for (int number = b_.warp; number < side * (side + 1); number += Shape::warps) {
            auto const [above, column] = triangle_block::of<pieces>(number / 2);
            int const row = above + apart;
            bool const keys = number % 2 == 1;
            auto const readers = keys ? b_.gate(0) : b_.q(0);
            typename solver::block_sums sums = {};
#pragma unroll
            for (int d = 0; d < Shape::depth / 16; ++d) {
                auto left = readers.left(piece * row, d, b_.lane);
                right_operand right[2], rests[2];
                b_.k(0).right_transposed(right, piece * column, d, b_.lane);
                key_rests().right_transposed(rests, piece * column, d, b_.lane);
                if (row != column + 1) {
                    left_operand const rest = weigh_parts(left, row, column, d);
                    multiply_add<T>(sums[0], rest, right[0]);
                    multiply_add<T>(sums[1], rest, right[1]);
                }
                multiply_add<T>(sums[0], left, rests[0]);
                multiply_add<T>(sums[1], left, rests[1]);
                multiply_add<T>(sums[0], left, right[0]);
                multiply_add<T>(sums[1], left, right[1]);
            }
            if (keys) {
                solver_.put(row, column, sums, [&](int i, int) { return strength(i); });
                continue;
            }
#pragma unroll
            for (int x = 0; x < 4; ++x) {
                float const* const both = sums[x / 2] + x % 2 * 2;
                int const i = piece * row + b_.lane / 4 + x % 2 * 8;
                int const j = piece * column + x / 2 * 8 + 2 * (b_.lane % 4);
                auto const seen = [&](int token) { return strict ? token < i : token <= i; };
                leave_pair(i, j, pack<T>(seen(j) ? both[0] : 0, seen(j + 1) ? both[1] : 0));
            }
        }
    }

    /// Readers times the decay between two pieces, and what rounding left out of them.
    __device__ left_operand weigh_parts(left_operand& readers, int row, int column, int d) const {
        left_operand rest;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float2 const f = decay_between(b_, row, column, 16 * d + 8 * half + 2 * (b_.lane % 4));
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; ++i) {
                float2 const x = product(unpack<T>(readers.x[i]), f);
                split_pair const parts(x.x, x.y);
                readers.x[i] = parts.high, rest.x[i] = parts.low;
            }
        }
        return rest;
    }

    __device__ void leave(std::byte* to, int row, float2 x) const {
        index const at = slot_ * Shape::rows + row;
        reinterpret_cast<unsigned*>(to)[at * pairs + own_pair()] = pack<T>(x.x, x.y);
    }
    __device__ void leave_pair(int row, int column, unsigned x) const {
        index const at = (slot_ * Shape::rows + row) * Shape::rows + column;
        *reinterpret_cast<unsigned*>(to_.pairs + at * 2) = x;
    }

    weighed_chunks const& to_;
    call<float> const& c_;
    chunk_block<Shape> const& b_;
    solver solver_;
    index slot_;
};

template <class Shape>
__global__ void __launch_bounds__(Shape::threads)
    weigh_delta(delta_call const __grid_constant__ w) {
    extern __shared__ __align__(1024) char delta_shared[];
    call<float> const& c = w.c;
    index const head = blockIdx.x / w.solved.slots, slot = blockIdx.x % w.solved.slots;
    index const sequence = chunk_slots::sequence_of(c, slot, Shape::rows);
    location const where(c, sequence, head);
    int const number = int(slot - chunk_slots::first(c, sequence, Shape::rows));
    int const length = int(where.length);
    if (number * Shape::rows >= length) return;
    chunk_block<Shape> const block(c, where, 0, 1, delta_shared);
    walk_order<Shape> order(block.notes, c.passes[0], 0, length, length, 0);
    order.note(number);
    __syncthreads();
    int const* const tokens = order.tokens(number);
    int const count = order.span(number).count;
    block.load(block.q(0), block.q_rows, int(c.depth), tokens, count);
    block.load(block.k(0), block.k_rows, int(c.depth), tokens, count);
    block.load(block.gate(0), block.gate_rows, int(c.depth), tokens, count);
    delta_strengths<Shape> strengths(block);
    strengths.load(tokens, count);
    strengths.leave(0);
    wait_for_copies();
    __syncthreads();
    delta_weigher<Shape>(w, block, index(blockIdx.x), delta_shared).run(w.solved.memory);
}

}  // namespace rondo::inline RONDO_ISA::cuda
