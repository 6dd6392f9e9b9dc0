/// @file
/// The weights of a chunk whose channels have log decays of their own. In pieces of 16 tokens, with
/// L the decay accumulated in the chunk and B_a its value where piece a begins, the weight of a
/// reader i in piece a and a token j in piece b is, per channel,
///
///     exp(L_i - B_a) exp(B_a - B_(b+1)) exp(B_(b+1) - L_j)
///
/// whose outer factors, never above 1, go into queries and keys once; only the middle one, above 1
/// when b = a, depends on the pair of pieces. Within a piece it may reach exp(limit): a chunk with
/// stronger decays is walked in windows that begin at the strong ones. The first decay of a window
/// concerns the state alone, so a reset is exact.
#pragma once

#include <rondo/cuda/chunk_products.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// Threads take a pair of channels each and some of the pieces. Decays are in base 2.
template <class Shape>
class channel_weigher {
    using T = typename Shape::element_type;
    static constexpr bool present = Shape::weigh == weighing::channel;
    static constexpr int pairs = Shape::depth / 2, parts = Shape::threads / pairs;
    static constexpr int piece = 16, pieces = Shape::rows / piece, mine = pieces / parts;
    static_assert(pieces % parts == 0 && mine <= 2);
    static constexpr float limit = 80, lowest = -160;

public:
    __device__ explicit channel_weigher(chunk_block<Shape> const& block) : b_(block) {}

    /// Turns rows [first, last) of queries, keys and gates into weighed queries, weighed keys and
    /// the queries that read the state; other rows become 0. False, and nothing is changed, when
    /// the decays are too strong.
    __device__ bool weigh(int stage, pass const& how, int first, int last) const {
        if constexpr (present) {
            int const pair = threadIdx.x % pairs, part = threadIdx.x / pairs;
            float2 within[mine], start{};
            bool strong = false;
#pragma unroll
            for (int m = 0; m < mine; ++m) {
                within[m] = {};
                int const begin = (part * mine + m) * piece;
#pragma unroll 4
                for (int i = 0; i < piece; ++i) {
                    int const row = begin + i;
                    float2 const g = step(stage, row, pair);
                    if (row == first) start = g;
                    bool const counts = row > first && row < last;
                    within[m] = {within[m].x + (counts ? g.x : 0),
                                 within[m].y + (counts ? g.y : 0)};
                }
                strong = strong || fabsf(within[m].x) > limit || fabsf(within[m].y) > limit;
                bool const begins = begin <= first && first < begin + piece;
                b_.notes.part[threadIdx.x][m] = {within[m].x + (begins ? start.x : 0),
                                                 within[m].y + (begins ? start.y : 0)};
            }
            if (__syncthreads_or(strong && last - first > 1)) return false;
            float2 before{};
            for (int p = 0; p < part; ++p) {
#pragma unroll
                for (int m = 0; m < mine; ++m) {
                    float2 const more = b_.notes.part[p * pairs + pair][m];
                    before = {before.x + more.x, before.y + more.y};
                }
            }
#pragma unroll
            for (int m = 0; m < mine; ++m) {
                int const number = part * mine + m;
                float2 const whole = b_.notes.part[threadIdx.x][m];
                set(b_.notes.piece_decay[number], pair, whole, 1);
                set(b_.notes.piece_growth[number], pair, within[m], -1);
                bool const begins = number * piece <= first && first < (number + 1) * piece;
                float2 const level{before.x + (begins ? start.x : 0),
                                   before.y + (begins ? start.y : 0)};
                weigh_piece(stage, how, first, last, number * piece, pair, level, within[m]);
                before = {before.x + whole.x, before.y + whole.y};
            }
            __syncthreads();
        }
        return true;
    }

    /// Keeps the decay over all chunks so far.
    __device__ void count_decay() const {
        if constexpr (present) {
            for (int d = threadIdx.x; d < Shape::depth; d += Shape::threads) {
#pragma unroll
                for (int a = 0; a < pieces; ++a) b_.notes.decay[d] *= b_.notes.piece_decay[a][d];
            }
        }
    }

private:
    __device__ float2 step(int stage, int row, int pair) const {
        float2 const g = unpack<T>(b_.gate(stage).get(row, pair));
        return {fmaxf(g.x * log2_of_e, lowest), fmaxf(g.y * log2_of_e, lowest)};
    }

    static __device__ void set(float* to, int pair, float2 exponent, float sign) {
        *reinterpret_cast<float2*>(to + 2 * pair) = {power_of_2(sign * exponent.x),
                                                     power_of_2(sign * exponent.y)};
    }

    __device__ void weigh_piece(int stage, pass const& how, int first, int last, int begin,
                                int pair, float2 level, float2 end) const {
        auto const queries = b_.q(stage), keys = b_.k(stage), gates = b_.gate(stage);
        float2 const enter{power_of_2(level.x), power_of_2(level.y)};
        float2 now{};
#pragma unroll 4
        for (int i = 0; i < piece; ++i) {
            int const row = begin + i;
            bool const inside = row >= first && row < last;
            float2 const g = step(stage, row, pair);
            bool const counts = inside && row != first;
            now = {now.x + (counts ? g.x : 0), now.y + (counts ? g.y : 0)};
            if (how.read) {
                float2 x = unpack<T>(queries.get(row, pair));
                x = {x.x * power_of_2(now.x), x.y * power_of_2(now.y)};
                queries.set(row, pair, inside ? pack<T>(x.x, x.y) : 0);
                gates.set(row, pair, inside ? pack<T>(x.x * enter.x, x.y * enter.y) : 0);
            }
            float2 const y = b_.c.k.ones ? float2{1, 1} : unpack<T>(keys.get(row, pair));
            if constexpr (Shape::reads_keys) {
                unsigned const reader =
                    pack<T>(y.x * power_of_2(now.x) * enter.x, y.y * power_of_2(now.y) * enter.y);
                b_.key_readers(stage).set(row, pair, inside ? reader : 0);
            }
            unsigned const k =
                pack<T>(y.x * power_of_2(end.x - now.x), y.y * power_of_2(end.y - now.y));
            keys.set(row, pair, inside ? k : 0);
        }
    }

    chunk_block<Shape> const& b_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
