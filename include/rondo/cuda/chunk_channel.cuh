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
/// concerns the state alone, so a reset is exact. Where all of a chunk stays within the limit it is
/// one piece: B is its end for all readers and keys, and no factor is left between them.
#pragma once

#include <rondo/cuda/chunk_products.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// Threads take a pair of channels each and some of the pieces. Exponents are in base 2.
template <class Shape>
class channel_weigher {
    using T = typename Shape::element_type;
    static constexpr bool present = Shape::weigh == weighing::channel;
    static constexpr int pairs = Shape::depth / 2, parts = Shape::threads / pairs;
    static constexpr int piece = 16, pieces = Shape::rows / piece, mine = pieces / parts;
    static_assert(pieces % parts == 0 && mine <= 2);
    static constexpr float limit = 80, lowest = -160 / log2_of_e;

public:
    __device__ explicit channel_weigher(chunk_block<Shape> const& block) : b_(block) {}

    /// Turns rows [first, last) of queries, keys and gates into weighed queries, weighed keys and
    /// the queries that read the state; other rows become 0. False, and nothing is changed, when
    /// the decays are too strong.
    __device__ bool weigh(int stage, pass const& how, int first, int last) const {
        if constexpr (present) {
            return first == 0 && last == Shape::rows ? weigh<true>(stage, how, first, last)
                                                     : weigh<false>(stage, how, first, last);
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
    /// What the rows of a piece are weighed with, where L counts from its first row: a reader by
    /// 2^(L + reader), where it reads the state 2^enter times that, a key by 2^(key - L).
    struct levels {
        float2 reader, enter, key;
    };

    /// `Full`: all rows of the chunk.
    template <bool Full>
    __device__ bool weigh(int stage, pass const& how, int first, int last) const {
        int const thread = anew(int(threadIdx.x)), pair = thread % pairs;
        float2 const start = step(b_.gate(stage).get(first, pair));
        bool strong = false, steep = false;
#pragma unroll
        for (int m = 0; m < mine; ++m) {
            int const begin = (thread / pairs * mine + m) * piece;
            auto const gates = b_.gate(stage).column_from(begin, pair);
            float2 sum{};
#pragma unroll 8
            for (int i = 0; i < piece; ++i) {
                int const row = begin + i;
                float2 const g = step(gates.get(i));
                bool const counts = Full ? i > 0 || row > 0 : row > first && row < last;
                sum = {sum.x + (counts ? g.x : 0), sum.y + (counts ? g.y : 0)};
            }
            float const most = fmaxf(fabsf(sum.x), fabsf(sum.y));
            strong = strong || most > limit / log2_of_e;
            steep = steep || most > limit / pieces / log2_of_e;
            bool const begins = begin <= first && first < begin + piece;
            b_.notes.part[thread][m] = {sum.x + (begins ? start.x : 0),
                                        sum.y + (begins ? start.y : 0)};
        }
        bool const several = __syncthreads_or(steep && last - first > 1);
        // Keys alone decay only as far as to their piece's end.
        if (Shape::reads && several && __syncthreads_or(strong && last - first > 1)) return false;
        if (thread == 0) b_.notes.one_piece = !several;
#pragma unroll
        for (int m = 0; m < mine; ++m) {
            int const number = thread / pairs * mine + m;
            weigh_piece<Full>(stage, how, first, last, number * piece, pair,
                              levels_of(number, pair, first, start, several));
        }
        __syncthreads();
        return true;
    }

    /// Leaves the piece's decay on the way.
    __device__ levels levels_of(int number, int pair, int first, float2 start, bool several) const {
        float2 before{}, all{};
#pragma unroll
        for (int p = 0; p < pieces; ++p) {
            float2 const x = b_.notes.part[p / mine * pairs + pair][p % mine];
            if (p < number) before = {before.x + x.x, before.y + x.y};
            all = {all.x + x.x, all.y + x.y};
        }
        if (!several) {
            set(b_.notes.piece_decay[number], pair, number == 0 ? all : float2{}, 1);
            return {less(before, all), scaled(all), less(all, before)};
        }
        float2 const whole = b_.notes.part[number / mine * pairs + pair][number % mine];
        set(b_.notes.piece_decay[number], pair, whole, 1);
        // The first decay of all concerns the state alone.
        bool const begins = number * piece <= first && first < (number + 1) * piece;
        float2 const alone = begins ? start : float2{};
        set(b_.notes.piece_growth[number], pair, {whole.x - alone.x, whole.y - alone.y}, -1);
        return {scaled({-alone.x, -alone.y}), scaled({before.x + alone.x, before.y + alone.y}),
                scaled(whole)};
    }

    static __device__ float2 less(float2 a, float2 b) {
        return {log2_of_e * (a.x - b.x), log2_of_e * (a.y - b.y)};
    }
    static __device__ float2 scaled(float2 x) { return less(x, float2{}); }

    static __device__ float2 step(unsigned raw) {
        float2 const g = unpack<T>(raw);
        return {fmaxf(g.x, lowest), fmaxf(g.y, lowest)};
    }

    static __device__ void set(float* to, int pair, float2 exponent, float sign) {
        *reinterpret_cast<float2*>(to + 2 * pair) = {power_of_2(sign * log2_of_e * exponent.x),
                                                     power_of_2(sign * log2_of_e * exponent.y)};
    }

    template <bool Full>
    __device__ void weigh_piece(int stage, pass const& how, int first, int last, int begin,
                                int pair, levels const& at) const {
        auto const queries = b_.q(stage).column_from(begin, pair);
        auto const keys = b_.k(stage).column_from(begin, pair);
        auto const gates = b_.gate(stage).column_from(begin, pair);
        auto const key_readers = b_.key_readers(stage).column_from(begin, pair);
        float2 const enter{power_of_2(at.enter.x), power_of_2(at.enter.y)};
        float2 sum{};
#pragma unroll 8
        for (int i = 0; i < piece; ++i) {
            int const row = begin + i;
            bool const inside = Full || (row >= first && row < last);
            float2 const g = step(gates.get(i)), before = sum;
            sum = {sum.x + (inside ? g.x : 0), sum.y + (inside ? g.y : 0)};
            float2 const reader{power_of_2(fmaf(sum.x, log2_of_e, at.reader.x)),
                                power_of_2(fmaf(sum.y, log2_of_e, at.reader.y))};
            if (Shape::reads && how.read) {
                float2 x = unpack<T>(queries.get(i));
                x = {x.x * reader.x, x.y * reader.y};
                queries.set(i, inside ? pack<T>(x.x, x.y) : 0);
                if constexpr (Shape::reads_state) {
                    gates.set(i, inside ? pack<T>(x.x * enter.x, x.y * enter.y) : 0);
                }
            }
            float2 const y = b_.c.k.ones ? float2{1, 1} : unpack<T>(keys.get(i));
            if constexpr (Shape::reads_keys) {
                unsigned const k = pack<T>(y.x * reader.x * enter.x, y.y * reader.y * enter.y);
                key_readers.set(i, inside ? k : 0);
            }
            // Among readers a token's own decay counts for them (gate_shift).
            float2 const from = !Shape::reads && b_.c.on_write ? before : sum;
            unsigned const k = pack<T>(y.x * power_of_2(fmaf(from.x, -log2_of_e, at.key.x)),
                                       y.y * power_of_2(fmaf(from.y, -log2_of_e, at.key.y)));
            keys.set(i, inside ? k : 0);
        }
    }

    chunk_block<Shape> const& b_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
