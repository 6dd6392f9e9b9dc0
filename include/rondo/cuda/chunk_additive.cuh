/// @file
/// The weights of the additive decays in a chunk. With m the running maximum at the chunk's end and
/// D_i = sum_(s <= i) exp(z_s - m), the weight exp(z_j - m) / D_i is a factor of the key and one of
/// the query: one exponential an entry, and the scores need none. D_i adds up the weights as they
/// are rounded for the products, so that numerator and denominator agree.
#pragma once

#include <rondo/cuda/chunk_products.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// Threads take a pair of channels each and a part of the tokens.
template <class Shape>
class additive_weigher {
    using T = typename Shape::element_type;
    static constexpr bool present = Shape::weigh == weighing::additive;
    static constexpr int pairs = Shape::depth / 2, parts = Shape::threads / pairs;
    static constexpr int part_rows = Shape::rows / parts;
    // How far a reader's maximum may lie below m: its weights are still normal numbers.
    static constexpr float limit = 60;
    static constexpr float nothing = -HUGE_VALF;
    // What weights relative to a maximum of earlier chunks may add up to.
    static constexpr float most = 1 << 20;

public:
    __device__ explicit additive_weigher(chunk_block<Shape> const& block) : b_(block) {}

    /// Takes the maxima and sums handed in.
    __device__ void begin(bool part) const {
        if (!present) return;
        auto const& c = b_.c;
        index const from = b_.where.state(c) * c.gate_width;
        for (int d = threadIdx.x; d < Shape::depth; d += Shape::threads) {
            bool const known = d < c.depth && c.in.max != nullptr && !part;
            b_.notes.max[d] = known ? c.in.max[from + d] : nothing;
            b_.notes.sum[d] = known ? c.in.sum[from + d] : 0;
        }
    }
    __device__ void end() const {
        if (!present || b_.c.out.max == nullptr) return;
        index const to = b_.where.state(b_.c) * b_.c.gate_width;
        for (int d = threadIdx.x; d < b_.c.depth; d += Shape::threads) {
            b_.c.out.max[to + d] = b_.notes.max[d];
            b_.c.out.sum[to + d] = b_.notes.sum[d];
        }
    }

    /// Divides the state, once for all readers, when the window is the whole sequence.
    __device__ void divide(chunk_state<Shape>& state) const {
        if (!present) return;
        __syncthreads();
        for (int d = threadIdx.x; d < Shape::depth; d += Shape::threads) {
            float const share = inverse(b_.notes.sum[d]);
            b_.notes.carry[d] = share;
            b_.notes.normalizer[d] *= share;
        }
        __syncthreads();
        state.scale(b_.notes.carry, b_.lane);
    }

    /// Whether every channel has a maximum which the next chunk can be relative to, so that nothing
    /// moves. Who is handed the maximum on gets the last one.
    __device__ bool settled() const { return present && settled_ && b_.c.out.max == nullptr; }

    /// Turns the logits of a chunk into factors of keys and queries, in place, relative to a
    /// maximum of earlier chunks; false, and the tiles hold nothing of use, when they are too far
    /// above it.
    __device__ bool weigh_settled(int stage, pass const& how, int count) {
        int const thread = anew(int(threadIdx.x)), pair = thread % pairs, part = thread / pairs;
        int const begin = part * part_rows;
        float2 running = pair_of(b_.notes.sum, pair);
        float2 const sum = weigh_keys(stage, 0, count, begin, pair, pair_of(b_.notes.max, pair));
        b_.notes.part[threadIdx.x][0] = sum;
        settled_ = !__syncthreads_or(!(sum.x < most && sum.y < most));
        if (!settled_) return false;
        if (how.read || part == 0) {
            float2 const total = add_parts(running, pair, part);
            if (part == 0) set_pair(b_.notes.sum, pair, total);
        }
        if (how.read) {
            divide_queries(stage, begin, pair, running);
            __syncthreads();
        }
        return true;
    }

    /// Turns the logits of rows [first, last) into factors of keys and queries, in place, and moves
    /// the state to their maximum; false, and nothing is changed, when they span too wide a range.
    __device__ bool weigh(int stage, pass const& how, int first, int last,
                          chunk_state<Shape>& state) {
        if (!present || !how.write) return true;
        int const thread = anew(int(threadIdx.x)), pair = thread % pairs, part = thread / pairs;
        int const begin = part * part_rows, end = begin + part_rows;
        auto const logits = b_.gate(stage).column_from(begin, pair);
        bool const outside = 2 * pair >= b_.c.depth;

        auto const inside = [=](int row) { return row >= first && row < last; };
        unsigned const low = pack<T>(nothing, nothing);
        unsigned top_logits = low;
#pragma unroll 8
        for (int i = 0; i < part_rows; ++i) {
            unsigned const z = logits.get(i);
            top_logits = larger<T>(top_logits, inside(begin + i) ? z : low);
        }
        float2 const highest = unpack<T>(top_logits);
        float2 const before = pair_of(b_.notes.max, pair), sums = pair_of(b_.notes.sum, pair);
        float2 earliest = before;  // what the first readers see; only where nothing came before
        for (int row = begin; row < end && (earliest.x == nothing || earliest.y == nothing);
             ++row) {
            if (!inside(row)) continue;
            float2 const z = unpack<T>(logits.get(row - begin));
            earliest = {earliest.x == nothing ? z.x : earliest.x,
                        earliest.y == nothing ? z.y : earliest.y};
        }
        b_.notes.part[threadIdx.x][0] = highest;
        b_.notes.part[threadIdx.x][1] = earliest;
        __syncthreads();
        float2 now = before, start = before;
#pragma unroll
        for (int p = 0; p < parts; ++p) {
            float2 const top = b_.notes.part[p * pairs + pair][0];
            float2 const seen = b_.notes.part[p * pairs + pair][1];
            now = {fmaxf(now.x, top.x), fmaxf(now.y, top.y)};
            start = {start.x == nothing ? seen.x : start.x, start.y == nothing ? seen.y : start.y};
        }
        bool const wide = start.x + limit < now.x || start.y + limit < now.y;
        bool const single = last - first == 1 || !how.read;
        if (__syncthreads_or(wide && !single && !outside)) return false;

        float2 const reference{now.x == nothing ? 0 : now.x, now.y == nothing ? 0 : now.y};
        float2 const carry{__expf(before.x - reference.x), __expf(before.y - reference.y)};
        float2 sum = weigh_keys(stage, first, last, begin, pair, reference);
        b_.notes.part[threadIdx.x][0] = sum;
        if (part == 0) set_pair(b_.notes.carry, pair, carry);
        bool const moved = !outside && (carry.x != 1 || carry.y != 1);
        bool const rescale = __syncthreads_or(moved);
        float2 running{sums.x * carry.x, sums.y * carry.y};
        float2 const total = add_parts(running, pair, part);
        if (part == 0) {
            set_pair(b_.notes.max, pair, now);
            set_pair(b_.notes.sum, pair, total);
            float2 const n = pair_of(b_.notes.normalizer, pair);
            set_pair(b_.notes.normalizer, pair, {n.x * carry.x, n.y * carry.y});
        }
        if (how.read) divide_queries(stage, begin, pair, running);
        if (rescale) state.scale(b_.notes.carry, b_.lane);
        settled_ = !__syncthreads_or(now.x == nothing || now.y == nothing);
        return true;
    }

private:
    /// No window, no weight: 0 instead of 1 / 0.
    static __device__ float inverse(float sum) { return sum > 0 ? reciprocal(sum) : 0; }
    static __device__ float2 pair_of(float const* x, int pair) {
        return *reinterpret_cast<float2 const*>(x + 2 * pair);
    }
    static __device__ void set_pair(float* x, int pair, float2 value) {
        *reinterpret_cast<float2*>(x + 2 * pair) = value;
    }

    /// Adds the sums of the parts before one's own; the sum of all.
    __device__ float2 add_parts(float2& running, int pair, int part) const {
        float2 total = running;
#pragma unroll
        for (int p = 0; p < parts; ++p) {
            float2 const more = b_.notes.part[p * pairs + pair][0];
            total = {total.x + more.x, total.y + more.y};
            if (p < part) running = {running.x + more.x, running.y + more.y};
        }
        return total;
    }

    __device__ float2 weigh_keys(int stage, int first, int last, int begin, int pair,
                                 float2 reference) const {
        auto const logits = b_.gate(stage).column_from(begin, pair);
        auto const keys = b_.k(stage).column_from(begin, pair);
        float2 sum{};
        // exp(z - reference), the reference in base 2
        float2 const shift{-reference.x * log2_of_e, -reference.y * log2_of_e};
#pragma unroll 8
        for (int i = 0; i < part_rows; ++i) {
            int const row = begin + i;
            bool const inside = row >= first && row < last;
            float2 const z = unpack<T>(logits.get(i));
            unsigned const weights = inside ? pack<T>(power_of_2(fmaf(z.x, log2_of_e, shift.x)),
                                                      power_of_2(fmaf(z.y, log2_of_e, shift.y)))
                                            : 0;
            float2 const w = unpack<T>(weights);
            sum = {sum.x + w.x, sum.y + w.y};
            logits.set(i, weights);
            if (b_.c.k.ones) continue;
            float2 const k = unpack<T>(keys.get(i));
            keys.set(i, pack<T>(k.x * w.x, k.y * w.y));
        }
        return sum;
    }

    __device__ void divide_queries(int stage, int begin, int pair, float2 running) const {
        auto const weights = b_.gate(stage).column_from(begin, pair);
        auto const queries = b_.q(stage).column_from(begin, pair);
        // Weights outside of the window are 0, and what their queries become is not left.
#pragma unroll 8
        for (int i = 0; i < part_rows; ++i) {
            float2 const w = unpack<T>(weights.get(i));
            running = {running.x + w.x, running.y + w.y};
            float2 const q = unpack<T>(queries.get(i));
            queries.set(i, pack<T>(q.x * inverse(running.x), q.y * inverse(running.y)));
        }
    }

    chunk_block<Shape> const& b_;
    bool settled_ = false;
};

}  // namespace rondo::inline RONDO_ISA::cuda
