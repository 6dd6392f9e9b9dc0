/// @file
/// `backward` of the causal additive decay, on tensor cores. With l_t the logarithm of the sum of
/// exp(z) up to t it is the decay by channel g_t = l_(t-1) - l_t of keys k' = k p, p_t = exp(z_t -
/// l_t), so that dq, dk' and dv are that decay's, and
///
///     dk = dk' p,   dz_j = k'_j dk'_j + p_j L_j,   L_j = -q_j dq_j + exp(g_(j+1)) L_(j+1).
///
/// A chunk's end n hands exp(g_(n+1)) L_(n+1) to the tokens before it, each of which takes
/// exp(z_j - l_n) of that.
#pragma once

#include <rondo/cuda/adjoint/channels.cuh>
#include <rondo/cuda/adjoint/window.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// What the kernels share; dense rows by token, [token, head, depth].
struct prefix_call {
    call<float> c;
    tensor weight, key, gate;  // p, k' and g, in bfloat16
    tensor d_gate;             // the user's
    float2* sums;    // [sequence, head, chunk, depth]: maximum and sum of exp(z) before it
    float2* behind;  // [..]: the decay over a chunk and what it hands on, then what it is handed
    index segments;
};

/// Two neighbouring channels of one chunk.
struct prefix_place {
    static constexpr int rows = most_chunk_rows;
    prefix_call const& w;
    index pairs, unit, segment, pair;
    bool inside;
    location where;
    index first;
    int count;

    __device__ explicit prefix_place(prefix_call const& call) : prefix_place(call, item()) {}
    __device__ prefix_place(prefix_call const& call, index number)
        : w(call),
          pairs(call.c.depth / 2),
          unit(number / pairs / call.segments),
          segment(number / pairs % call.segments),
          pair(number % pairs),
          inside(unit < call.c.sequences * call.c.heads),
          where(call.c, inside ? unit / call.c.heads : 0, inside ? unit % call.c.heads : 0),
          first(segment * rows),
          count(where.length < first          ? 0
                : where.length < first + rows ? int(where.length - first)
                                              : rows) {}
    static __device__ index item() { return index(blockIdx.x) * blockDim.x + threadIdx.x; }

    __device__ float2* slot(float2* x) const {
        return x + (unit * w.segments + segment) * w.c.depth + 2 * pair;
    }
    /// The rows of a tensor by place.
    struct rows_by_place {
        std::byte* first;
        index step;
        __device__ unsigned& operator[](int row) const {
            return *reinterpret_cast<unsigned*>(first + row * step);
        }
    };
    __device__ rows_by_place of(tensor const& x) const {
        bool const back = w.c.passes[0].reversed;
        index const token = back ? where.length - 1 - first : first;
        return {where.key_side(x, token) + pair * 4, back ? -x.time : x.time};
    }
};

/// The sum of a chunk's own tokens.
static __global__ void sum_prefixes(prefix_call const __grid_constant__ w) {
    prefix_place const at(w);
    if (!at.inside) return;
    auto const logits = at.of(w.c.gate);
    window_sum x, y;
    constexpr int together = 16;
    for (int row = 0; row < at.count; row += together) {
        float2 z[together];
        float2 max{-HUGE_VALF, -HUGE_VALF}, sum{0, 0};
#pragma unroll
        for (int i = 0; i < together; ++i) {
            z[i] = {-HUGE_VALF, -HUGE_VALF};
            if (row + i < at.count) z[i] = unpack<__nv_bfloat16>(logits[row + i]);
        }
#pragma unroll
        for (int i = 0; i < together; ++i) {
            max = {fmaxf(max.x, z[i].x), fmaxf(max.y, z[i].y)};
        }
        float2 const from{max.x == -HUGE_VALF ? 0 : max.x, max.y == -HUGE_VALF ? 0 : max.y};
#pragma unroll
        for (int i = 0; i < together; ++i) {
            sum.x += power_of_2(log2_of_e * (z[i].x - from.x));
            sum.y += power_of_2(log2_of_e * (z[i].y - from.y));
        }
        x.join(max.x, sum.x), y.join(max.y, sum.y);
    }
    float2* const to = at.slot(w.sums);
    to[0] = {x.max, x.sum}, to[1] = {y.max, y.sum};
}

/// The sum over the chunks before, as they have theirs: maximum and sum of exp(z).
struct prefix_sum {
    float2 all{-HUGE_VALF, 0};

    __device__ void take(float2 own) {
        window_sum both{all.x, all.y};
        both.join(own.x, own.y);
        all = {both.max, both.sum};
    }
    __device__ float2 before(float2) const { return all; }
};
/// The decay over the chunks behind and what they hand on.
struct behind_sum {
    float2 all{1, 0};

    __device__ void take(float2 own) { all = {own.x * all.x, own.x * all.y + own.y}; }
    __device__ float2 before(float2 own) const { return {own.x, all.y}; }
};

/// Channels of a block, each with as many threads as there are parts of its chunks.
inline constexpr int joined_channels = warp_size, joined_parts = 8;
inline constexpr int join_threads = joined_channels * joined_parts;

/// Every chunk's entry becomes what comes before it, from the first or from the last one on.
template <class Sum>
__device__ inline void join_chunks(prefix_call const& w, float2* from, bool back) {
    __shared__ float2 totals[joined_parts][joined_channels];
    int const lane = int(threadIdx.x) % joined_channels, part = int(threadIdx.x) / joined_channels;
    index const channel = index(blockIdx.x) * joined_channels + lane, unit = channel / w.c.depth;
    index chunks = 0;
    if (unit < w.c.sequences * w.c.heads) {
        location const where(w.c, unit / w.c.heads, unit % w.c.heads);
        chunks = (where.length + prefix_place::rows - 1) / prefix_place::rows;
    }
    float2* const entries = from + unit * w.segments * w.c.depth + channel % w.c.depth;
    index const each = (chunks + joined_parts - 1) / joined_parts, begin = part * each;
    index const end = begin + each < chunks ? begin + each : chunks;
    // Some entries are on their way at a time: one after the other they would wait for memory.
    auto const walk = [&](auto const& visit) {
        constexpr int together = 8;
        for (index s = begin; s < end; s += together) {
            float2 x[together];
            auto const place = [&](int i) {
                return entries + (back ? chunks - 1 - s - i : s + i) * w.c.depth;
            };
#pragma unroll
            for (int i = 0; i < together; ++i) {
                if (s + i < end) x[i] = *place(i);
            }
#pragma unroll
            for (int i = 0; i < together; ++i) {
                if (s + i < end) visit(x[i], *place(i));
            }
        }
    };
    Sum own, before;
    walk([&](float2 x, float2&) { own.take(x); });
    totals[part][lane] = own.all;
    __syncthreads();
    for (int earlier = 0; earlier < part; ++earlier) before.take(totals[earlier][lane]);
    walk([&](float2 x, float2& to) {
        to = before.before(x);
        before.take(x);
    });
}
static __global__ void __launch_bounds__(join_threads)
    join_prefixes(prefix_call const __grid_constant__ w) {
    join_chunks<prefix_sum>(w, w.sums, false);
}
static __global__ void __launch_bounds__(join_threads)
    join_behind(prefix_call const __grid_constant__ w) {
    join_chunks<behind_sum>(w, w.behind, true);
}

/// l of one channel as the largest logit so far and what is above it: neither a logit of 1e4 nor a
/// long sequence loses digits.
struct prefix_level {
    float max, above;

    __device__ explicit prefix_level(float2 const& sum) : max(sum.x), above(logf(sum.y)) {}

    /// Takes a logit: p and g. Masked tokens neither decay nor count.
    __device__ float2 take(float z) {
        if (z == -HUGE_VALF) return {0, 0};
        if (max == -HUGE_VALF) {
            max = z, above = 0;
            return {1, -HUGE_VALF};
        }
        float const over = (z - max) - above, u = power_of_2(-log2_of_e * fabsf(over));
        float const share = reciprocal(1 + u);
        float const more = u < 0.01F ? u * (1 - u * (0.5F - u * (1.F / 3))) : __logf(1 + u);
        bool const higher = over > 0;
        max = higher ? z : max;
        above = higher ? more : above + more;
        return {higher ? share : u * share, higher ? -over - more : -more};
    }
};

/// Leaves p, k' and g.
static __global__ void weigh_prefixes(prefix_call const __grid_constant__ w) {
    prefix_place const at(w);
    if (!at.inside || at.count == 0) return;
    auto const logits = at.of(w.c.gate), keys = at.of(w.c.k);
    auto const weight = at.of(w.weight), key = at.of(w.key), gate = at.of(w.gate);
    float2 const* const sums = at.slot(w.sums);
    prefix_level x(sums[0]), y(sums[1]);
    constexpr int together = 8;
    for (int row = 0; row < at.count; row += together) {
        unsigned z[together], k[together] = {};
#pragma unroll
        for (int i = 0; i < together; ++i) {
            int const known = row + i < at.count ? row + i : at.count - 1;
            z[i] = logits[known];
            if (!w.c.k.ones) k[i] = keys[known];
        }
#pragma unroll
        for (int i = 0; i < together; ++i) {
            if (row + i >= at.count) break;
            float2 const both = unpack<__nv_bfloat16>(z[i]);
            float2 const a = x.take(both.x), b = y.take(both.y);
            weight[row + i] = pack<__nv_bfloat16>(a.x, b.x);
            gate[row + i] = pack<__nv_bfloat16>(a.y, b.y);
            if (w.c.k.ones) continue;
            float2 const own = unpack<__nv_bfloat16>(k[i]);
            key[row + i] = pack<__nv_bfloat16>(own.x * a.x, own.y * b.x);
        }
    }
}

/// Adds what later chunks hand to the logits of a chunk.
static __global__ void add_behind(prefix_call const __grid_constant__ w) {
    prefix_place const at(w);
    if (!at.inside || at.first + at.count >= at.where.length) return;
    auto const logits = at.of(w.c.gate), to = at.of(w.d_gate);
    float2 const* const handed = at.slot(w.behind);
    float2 const* const sums = at.slot(w.sums) + w.c.depth;  // up to the chunk's end
    float2 const l[2] = {sums[0], sums[1]};
    auto const share = [&](float handed_on, float2 const& sum) {
        return sum.x == -HUGE_VALF ? 0 : handed_on / sum.y;
    };
    float2 const factor{share(handed[0].y, l[0]), share(handed[1].y, l[1])};
    float2 const from{l[0].x == -HUGE_VALF ? 0 : l[0].x, l[1].x == -HUGE_VALF ? 0 : l[1].x};
    constexpr int together = 8;
#pragma unroll 1
    for (int row = 0; row < prefix_place::rows; row += together) {
        unsigned z[together], sum[together];
#pragma unroll
        for (int i = 0; i < together; ++i) z[i] = logits[row + i], sum[i] = to[row + i];
#pragma unroll
        for (int i = 0; i < together; ++i) {
            float2 const x = unpack<__nv_bfloat16>(z[i]), y = unpack<__nv_bfloat16>(sum[i]);
            to[row + i] =
                pack<__nv_bfloat16>(y.x + factor.x * power_of_2(log2_of_e * (x.x - from.x)),
                                    y.y + factor.y * power_of_2(log2_of_e * (x.y - from.y)));
        }
    }
}

/// One call of `backward`.
///
/// Scratch: p, k' and g in bfloat16, and two pairs of floats for every 64 entries of them.
template <class A>
class prefix_adjoint {
    using problem = detail::problem<A>;

public:
    prefix_adjoint(cudaStream_t stream, detail::adjoint_problem<A> const& from)
        : stream_(stream), from_(from), p_(from.call), inner_(from) {
        problem& plain = inner_.call;
        plain.what.decay = decay_kind::vector;
        // Until there is scratch, other memory stands for it.
        plain.k = plain.gate = dense_rows(p_, p_.v.data, p_.heads);
    }

    bool fits() const {
        auto const& what = p_.what;
        bool const states = p_.in.s != nullptr || from_.d_out.s != nullptr || !from_.d_in.empty();
        return what.decay == decay_kind::additive && !what.bidirectional() && !states &&
               in_pieces(p_.gate, element::bfloat16) &&
               (p_.k.ones || in_pieces(p_.k, element::bfloat16)) &&
               channel_adjoint(stream_, inner_).fits();
    }

    /// Bytes of device memory at its fullest.
    std::size_t scratch_bytes() const {
        return planned().all.bytes + prepared<float>::scratch_bytes(p_, 1) +
               channel_adjoint(stream_, inner_).scratch_bytes();
    }

    void operator()() {
        plan const parts = planned();
        prefix_call w{};
        w.segments = parts.segments;
        scratch const memory(stream_, parts.all.bytes);
        auto const at = [&](std::size_t offset) {
            return dense_rows(p_, memory.at<std::byte>(offset), p_.heads);
        };
        w.weight = at(parts.weight), w.gate = at(parts.gate), w.d_gate = from_.d_gate;
        w.key = p_.k.ones ? w.weight : at(parts.key);
        w.sums = memory.at<float2>(parts.sums), w.behind = memory.at<float2>(parts.behind);
        inner_.call.k = w.key, inner_.call.gate = w.gate;

        prepared<float> ready(stream_, p_, 1);
        ready.for_each_launch([&](call<float> const& c) { w.c = c; });
        index const channels = p_.sequences * p_.heads * p_.depth;
        auto const launch = [&](char const* name, void (*kernel)(prefix_call), index items,
                                int threads = 128) {
            kernel<<<unsigned((items + threads - 1) / threads), threads, 0, stream_>>>(w);
            expect(name, cudaGetLastError());
        };
        index const pairs = channels / 2 * w.segments;
        launch("launch of sum_prefixes", sum_prefixes, pairs);
        launch("launch of join_prefixes", join_prefixes, channels * joined_parts, join_threads);
        launch("launch of weigh_prefixes", weigh_prefixes, pairs);
        channel_adjoint walks(stream_, inner_);
        walks.weighed_by(w.weight, w.behind, w.segments);
        walks();
        if (!from_.wants_gate()) return;
        launch("launch of join_behind", join_behind, channels * joined_parts, join_threads);
        launch("launch of add_behind", add_behind, pairs);
    }

private:
    /// Where the parts of the memory are.
    struct plan {
        layout all;
        std::size_t weight, key, gate, sums, behind;
        index segments;
    };
    plan planned() const {
        index longest = 0;
        for (index s = 0; s < p_.sequences; ++s) longest = std::max(longest, p_.length_of(s));
        index const tokens = (p_.offsets.empty() ? p_.sequences : 1) * p_.length;
        index const entries = tokens * p_.heads * p_.depth;
        plan x{};
        x.segments = (longest + prefix_place::rows - 1) / prefix_place::rows;
        index const items = p_.sequences * p_.heads * x.segments * p_.depth;
        auto const take = [&](index count, std::size_t size, bool needed = true) {
            return x.all.take(needed ? std::size_t(count) * size : 0);
        };
        x.weight = take(entries, 2), x.key = take(entries, 2, !p_.k.ones);
        x.gate = take(entries, 2);
        x.sums = take(items, sizeof(float2)), x.behind = take(items, sizeof(float2));
        return x;
    }

    cudaStream_t stream_;
    detail::adjoint_problem<A> const& from_;
    problem const& p_;
    detail::adjoint_problem<A> inner_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
