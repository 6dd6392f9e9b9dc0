/// @file
/// `backward` of the additive decay over the whole sequence, on tensor cores, where total.cuh does
/// not take it: heads in groups, and more than 128 channels or columns. One maximum m and one sum D
/// serve every token, so that with k' = k exp(z - m) and q' = q / D nothing decays:
///
///     dq = dq' / D,   dk = dk' exp(z - m),   dz_j = k'_j dk'_j - exp(z_j - m) sum_i q'_i dq'_i /
///     D,
///
/// where dq', dk' and dv are those of an operator without decay.
#pragma once

#include <rondo/cuda/adjoint/mirrored.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// Dense rows [token, head, depth] of weighted queries or keys, and of their gradients.
template <class A>
inline tensor dense_rows(detail::problem<A> const& p, std::byte* data, index heads) {
    index const head = p.depth * 2, time = heads * head;
    return {data, p.length * time, head, time, 2, element::bfloat16};
}

/// Tokens of a block.
inline constexpr int window_segment = 256;

/// What the kernels share. `q`, `k`: weighted rows, and later in `d_q`, `d_k` their gradients.
struct window_call {
    call<float> c;
    tensor q, k, d_q, d_k;       // weighted, in scratch
    tensor to_q, to_k, to_gate;  // the user's gradients
    float2* parts;               // [sequence, head, segment, depth]: maxima and sums
    float* sums;                 // [sequence, head, segment, depth]: of q' dq'
    index segments;
};

/// Two neighbouring channels of one head for the tokens of a segment: pair and first row of this
/// thread, of the rows that the block takes at a time.
struct window_place {
    static constexpr int threads = 256;
    window_call const& w;
    location where;
    index unit, segment;
    int pairs, rows, pair, row;
    index first, last;

    __device__ explicit window_place(window_call const& call)
        : w(call),
          where(call.c, blockIdx.x / call.segments / call.c.heads,
                blockIdx.x / call.segments % call.c.heads * call.c.group),
          unit(blockIdx.x / call.segments),
          segment(blockIdx.x % call.segments),
          pairs(int(call.c.depth) / 2),
          rows(threads / pairs),
          pair(threadIdx.x % pairs),
          row(threadIdx.x / pairs),
          first(segment * window_segment) {
        index const end = first + window_segment;
        last = end < where.length ? end : where.length;
    }

    /// body(token) for this thread's tokens
    template <class Body>
    __device__ void tokens(Body const& body) const {
        if (row >= rows) return;
        for (index token = first + row; token < last; token += rows) body(token);
    }
    __device__ float2 get(tensor const& x, std::byte const* at) const {
        return unpack<__nv_bfloat16>(*reinterpret_cast<unsigned const*>(at + pair * 4));
    }
    __device__ void set(std::byte* at, float2 x) const {
        *reinterpret_cast<unsigned*>(at + pair * 4) = pack<__nv_bfloat16>(x.x, x.y);
    }
    __device__ float2 gate(index token) const {
        return get(w.c.gate, where.key_side(w.c.gate, token));
    }
    /// The rows of the g-th reader.
    __device__ std::byte* reader(tensor const& x, index token, index g) const {
        return where.query_side(x, token) + g * x.head;
    }
    __device__ index slot(index of_segment) const {
        return (unit * w.segments + of_segment) * w.c.depth + 2 * pair;
    }
    /// The segments of this sequence that have a token.
    __device__ index segments() const {
        return (where.length + window_segment - 1) / window_segment;
    }
};

/// A running maximum and the sum of exp(z - max).
struct window_sum {
    float max = -HUGE_VALF, sum = 0;

    __device__ void join(float other_max, float other_sum) {
        float const higher = fmaxf(max, other_max);
        float const reference = higher == -HUGE_VALF ? 0 : higher;
        sum = sum * expf(max - reference) + other_sum * expf(other_max - reference);
        max = higher;
    }
    /// What exp(z - max) and 1 / D are relative to.
    __device__ float weight(float z) const { return expf(z - (max == -HUGE_VALF ? 0 : max)); }
    __device__ float share() const { return sum > 0 ? 1 / sum : 0; }
};

/// Maxima and sums of a segment.
static __global__ void __launch_bounds__(window_place::threads)
    sum_windows(window_call const __grid_constant__ w) {
    __shared__ float4 all[window_place::threads];
    window_place const at(w);
    window_sum x, y;
    at.tokens([&](index token) {
        float2 const z = at.gate(token);
        x.join(z.x, 1), y.join(z.y, 1);
    });
    all[threadIdx.x] = {x.max, x.sum, y.max, y.sum};
    __syncthreads();
    if (at.row != 0) return;
    for (int row = 1; row < at.rows; ++row) {
        float4 const other = all[row * at.pairs + at.pair];
        x.join(other.x, other.y), y.join(other.z, other.w);
    }
    float2* const to = w.parts + at.slot(at.segment);
    to[0] = {x.max, x.sum}, to[1] = {y.max, y.sum};
}

/// Maxima and sums of the whole window, of this thread's two channels.
__device__ inline void join_windows(window_place const& at, window_sum& x, window_sum& y) {
    for (index s = 0; s < at.segments(); ++s) {
        float2 const* const from = at.w.parts + at.slot(s);
        x.join(from[0].x, from[0].y), y.join(from[1].x, from[1].y);
    }
}

/// Leaves q' and k'.
static __global__ void __launch_bounds__(window_place::threads)
    weigh_windows(window_call const __grid_constant__ w) {
    window_place const at(w);
    window_sum x, y;
    join_windows(at, x, y);
    at.tokens([&](index token) {
        float2 const z = at.gate(token);
        float2 k{1, 1};
        if (!w.c.k.ones) k = at.get(w.c.k, at.where.key_side(w.c.k, token));
        at.set(at.where.key_side(w.k, token), {k.x * x.weight(z.x), k.y * y.weight(z.y)});
        for (index g = 0; g < w.c.group; ++g) {
            float2 const q = at.get(w.c.q, at.reader(w.c.q, token, g));
            at.set(at.reader(w.q, token, g), {q.x * x.share(), q.y * y.share()});
        }
    });
}

/// A segment's sum of q' dq' over its tokens and readers.
static __global__ void __launch_bounds__(window_place::threads)
    sum_readers(window_call const __grid_constant__ w) {
    __shared__ float2 all[window_place::threads];
    window_place const at(w);
    float2 sum{0, 0};
    at.tokens([&](index token) {
        for (index g = 0; g < w.c.group; ++g) {
            float2 const q = at.get(w.q, at.reader(w.q, token, g));
            float2 const d_q = at.get(w.d_q, at.reader(w.d_q, token, g));
            sum.x += q.x * d_q.x, sum.y += q.y * d_q.y;
        }
    });
    all[threadIdx.x] = sum;
    __syncthreads();
    if (at.row != 0) return;
    for (int row = 1; row < at.rows; ++row) {
        float2 const other = all[row * at.pairs + at.pair];
        sum.x += other.x, sum.y += other.y;
    }
    float* const to = w.sums + at.slot(at.segment);
    to[0] = sum.x, to[1] = sum.y;
}

/// Leaves the user's gradients.
static __global__ void __launch_bounds__(window_place::threads)
    leave_windows(window_call const __grid_constant__ w) {
    window_place const at(w);
    window_sum x, y;
    join_windows(at, x, y);
    float2 behind{0, 0};
    for (index s = 0; w.to_gate.data != nullptr && s < at.segments(); ++s) {
        float const* const from = w.sums + at.slot(s);
        behind.x -= from[0], behind.y -= from[1];
    }
    behind.x *= x.share(), behind.y *= y.share();
    at.tokens([&](index token) {
        for (index g = 0; w.to_q.data != nullptr && g < w.c.group; ++g) {
            float2 const d_q = at.get(w.d_q, at.reader(w.d_q, token, g));
            at.set(at.reader(w.to_q, token, g), {d_q.x * x.share(), d_q.y * y.share()});
        }
        if (w.d_k.data == nullptr) return;
        float2 const z = at.gate(token), d_k = at.get(w.d_k, at.where.key_side(w.d_k, token));
        float2 const weight{x.weight(z.x), y.weight(z.y)};
        if (w.to_k.data != nullptr) {
            at.set(at.where.key_side(w.to_k, token), {d_k.x * weight.x, d_k.y * weight.y});
        }
        if (w.to_gate.data == nullptr) return;
        float2 k{1, 1};
        if (!w.c.k.ones) k = at.get(w.c.k, at.where.key_side(w.c.k, token));
        at.set(at.where.key_side(w.to_gate, token),
               {weight.x * (k.x * d_k.x + behind.x), weight.y * (k.y * d_k.y + behind.y)});
    });
}

/// One call of `backward`.
///
/// Scratch: weighted queries and keys and their gradients, in bfloat16.
template <class A>
class window_adjoint {
    using problem = detail::problem<A>;

public:
    window_adjoint(cudaStream_t stream, detail::adjoint_problem<A> const& from)
        : stream_(stream), from_(from), p_(from.call), inner_(from) {
        problem& plain = inner_.call;
        plain.what.decay = decay_kind::none;
        plain.gate = {};
        // Until there is scratch, other memory stands for it.
        plain.q = dense_rows(p_, p_.v.data, p_.query_heads);
        plain.k = dense_rows(p_, p_.v.data, p_.heads);
        bool const gates = from.wants_gate();
        if (gates || !from.d_q.empty()) inner_.d_q = plain.q;
        if (gates || !from.d_k.empty()) inner_.d_k = plain.k;
        plain.k.ones = false;
        inner_.d_gate = {};
    }

    bool fits() const {
        bool const whole = p_.passes.size() == 2 && !p_.passes[0].read && !p_.passes[1].write;
        auto const known = [](tensor const& x) {
            return x.data == nullptr || in_pieces(x, element::bfloat16);
        };
        return p_.what.decay == decay_kind::additive && whole && !p_.what.normalized &&
               p_.what.feature == feature_kind::identity && in_pieces(p_.q, element::bfloat16) &&
               in_pieces(p_.gate, element::bfloat16) &&
               (p_.k.ones || in_pieces(p_.k, element::bfloat16)) && known(from_.d_q) &&
               known(from_.d_k) && known(from_.d_gate) && mirrored_adjoint(stream_, inner_).fits();
    }

    /// Bytes of device memory at its fullest.
    std::size_t scratch_bytes() const {
        return planned().all.bytes + prepared<float>::scratch_bytes(p_, 1) +
               mirrored_adjoint(stream_, inner_).scratch_bytes();
    }

    void operator()() {
        plan const at = planned();
        index const segments = at.segments;
        scratch const memory(stream_, at.all.bytes);
        inner_.call.q.data = memory.at<std::byte>(at.q);
        inner_.call.k.data = memory.at<std::byte>(at.k);
        if (!inner_.d_q.empty()) inner_.d_q.data = memory.at<std::byte>(at.d_q);
        if (!inner_.d_k.empty()) inner_.d_k.data = memory.at<std::byte>(at.d_k);

        window_call w{};
        w.q = inner_.call.q, w.k = inner_.call.k, w.d_q = inner_.d_q, w.d_k = inner_.d_k;
        w.to_q = from_.d_q, w.to_k = from_.d_k, w.to_gate = from_.d_gate;
        w.parts = memory.at<float2>(at.parts), w.sums = memory.at<float>(at.sums);
        w.segments = segments;
        prepared<float> ready(stream_, p_, 1);
        ready.for_each_launch([&](call<float> const& c) { w.c = c; });
        auto const launch = [&](char const* name, void (*kernel)(window_call)) {
            auto const blocks = unsigned(p_.sequences * p_.heads * segments);
            kernel<<<blocks, window_place::threads, 0, stream_>>>(w);
            expect(name, cudaGetLastError());
        };
        launch("launch of sum_windows", sum_windows);
        launch("launch of weigh_windows", weigh_windows);
        mirrored_adjoint{stream_, inner_}();
        if (from_.wants_gate()) launch("launch of sum_readers", sum_readers);
        if (!inner_.d_q.empty() || !inner_.d_k.empty()) {
            launch("launch of leave_windows", leave_windows);
        }
    }

private:
    /// Where the parts of the memory are.
    struct plan {
        layout all;
        std::size_t q, k, d_q, d_k, parts, sums;
        index segments;
    };
    plan planned() const {
        index longest = 0;
        for (index s = 0; s < p_.sequences; ++s) longest = std::max(longest, p_.length_of(s));
        plan x{};
        x.segments = (longest + window_segment - 1) / window_segment;
        auto const slots = std::size_t(p_.sequences * p_.heads * x.segments * p_.depth);
        auto const of_queries = std::size_t(tokens() * p_.query_heads * p_.depth) * 2;
        auto const of_keys = std::size_t(tokens() * p_.heads * p_.depth) * 2;
        x.q = x.all.take(of_queries), x.k = x.all.take(of_keys);
        x.d_q = x.all.take(of_queries), x.d_k = x.all.take(of_keys);
        x.parts = x.all.take(slots * sizeof(float2));
        x.sums = x.all.take(slots * sizeof(float));
        return x;
    }

    index tokens() const { return (p_.offsets.empty() ? p_.sequences : 1) * p_.length; }

    cudaStream_t stream_;
    detail::adjoint_problem<A> const& from_;
    problem const& p_;
    detail::adjoint_problem<A> inner_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
