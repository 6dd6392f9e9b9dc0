/// @file
/// `backward` of the causal additive decay, on tensor cores. With l_t the logarithm of the sum of
/// exp(z) up to t it is the decay by channel g_t = l_(t-1) - l_t of keys k' = k p, p_t = exp(z_t -
/// l_t), so that dq, dk' and dv are that decay's, and
///
///     dk = dk' p,   dz_j = k'_j dk'_j + p_j L_j,   L_j = -q_j dq_j + exp(g_(j+1)) L_(j+1).
#pragma once

#include <rondo/cuda/adjoint/channels.cuh>
#include <rondo/cuda/adjoint/window.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// Places of a thread, which walks them for one channel.
inline constexpr int prefix_segment = 64;

/// What the kernels share; dense rows by token, [token, head, depth].
struct prefix_call {
    call<float> c;
    tensor weight, key, gate, d_key;  // p, k', g and dk', in bfloat16
    tensor d_k, d_gate;               // the user's
    float2* sums;                     // [sequence, head, segment, depth]: maximum and sum of exp(z)
    float const *of_q, *of_k;         // q dq, k' dk'
    float2* behind;                   // [..]: the decay over a segment, and what it leaves of L
    index segments;
};

/// One channel of one segment.
struct prefix_place {
    prefix_call const& w;
    index unit, segment, d;
    bool inside;
    location where;
    index first, end;

    __device__ explicit prefix_place(prefix_call const& call) : prefix_place(call, item()) {}
    __device__ prefix_place(prefix_call const& call, index number)
        : w(call),
          unit(number / call.c.depth / call.segments),
          segment(number / call.c.depth % call.segments),
          d(number % call.c.depth),
          inside(unit < call.c.sequences * call.c.heads),
          where(call.c, inside ? unit / call.c.heads : 0, inside ? unit % call.c.heads : 0),
          first(segment * prefix_segment),
          end(first + prefix_segment < where.length ? first + prefix_segment : where.length) {}
    static __device__ index item() { return index(blockIdx.x) * blockDim.x + threadIdx.x; }

    __device__ index slot(index of_segment) const {
        return (unit * w.segments + of_segment) * w.c.depth + d;
    }
    __device__ index token(index place) const {
        return token_at(w.c.passes[0], place, where.length);
    }
    __device__ float get(tensor const& x, index token) const {
        return load<float>(where.key_side(x, token) + d * x.channel, x.kind);
    }
    __device__ void set(tensor const& x, index token, float value) const {
        store(where.key_side(x, token) + d * x.channel, x.kind, value);
    }
    /// The entry of an array of floats.
    __device__ index entry(index token) const {
        index const row = where.batch * w.c.length + where.first + token;
        return (row * w.c.heads + where.head) * w.c.depth + d;
    }
};

/// The sum of a segment's own tokens.
static __global__ void sum_prefixes(prefix_call const __grid_constant__ w) {
    prefix_place const at(w);
    if (!at.inside) return;
    window_sum own;
    for (index place = at.first; place < at.end; ++place) {
        own.join(at.get(w.c.gate, at.token(place)), 1);
    }
    w.sums[at.slot(at.segment)] = {own.max, own.sum};
}

/// Leaves p, k' and g. Masked tokens in front of all others neither decay nor count.
static __global__ void weigh_prefixes(prefix_call const __grid_constant__ w) {
    prefix_place const at(w);
    if (!at.inside) return;
    window_sum sum;
    for (index s = 0; s < at.segment && at.first < at.end; ++s) {
        float2 const x = w.sums[at.slot(s)];
        sum.join(x.x, x.y);
    }
    for (index place = at.first; place < at.end; ++place) {
        index const token = at.token(place);
        window_sum const before = sum;
        float const z = at.get(w.c.gate, token);
        sum.join(z, 1);
        bool const empty = sum.max == -HUGE_VALF;
        float const weight = empty ? 0 : sum.weight(z) / sum.sum;
        float const carried = before.sum * expf(before.max - sum.max) / sum.sum;
        at.set(w.weight, token, weight);
        if (!w.c.k.ones) at.set(w.key, token, at.get(w.c.k, token) * weight);
        at.set(w.gate, token, empty ? 0 : logf(carried));
    }
}

/// What a segment's own tokens leave of L in front of it.
static __global__ void sum_behind(prefix_call const __grid_constant__ w) {
    prefix_place const at(w);
    if (!at.inside) return;
    float decay = 1, sum = 0;
    for (index place = at.end; place-- > at.first;) {
        index const token = at.token(place);
        float const factor = expf(at.get(w.gate, token));
        sum = factor * (sum - w.of_q[at.entry(token)]);
        decay *= factor;
    }
    w.behind[at.slot(at.segment)] = {decay, sum};
}

/// Leaves the user's gradients.
static __global__ void leave_prefixes(prefix_call const __grid_constant__ w) {
    prefix_place const at(w);
    if (!at.inside || at.first >= at.end) return;
    float sum = 0;  // exp(g_(j+1)) L_(j+1)
    index const segments = w.d_gate.data == nullptr ? 0 : (at.where.length - 1) / prefix_segment;
    for (index s = segments; s > at.segment; --s) {
        float2 const x = w.behind[at.slot(s)];
        sum = x.x * sum + x.y;
    }
    for (index place = at.end; place-- > at.first;) {
        index const token = at.token(place), entry = at.entry(token);
        float const weight = at.get(w.weight, token);
        if (w.d_gate.data != nullptr) {
            sum -= w.of_q[entry];
            at.set(w.d_gate, token, w.of_k[entry] + weight * sum);
        }
        if (w.d_k.data != nullptr) at.set(w.d_k, token, at.get(w.d_key, token) * weight);
        sum *= expf(at.get(w.gate, token));
    }
}

/// One call of `backward`.
///
/// Scratch: p, k', g and dk' in bfloat16, and with the gradient of the logits a float for each
/// entry of q and k.
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
        if (from.wants_gate() || !from.d_k.empty()) inner_.d_k = plain.k;
        inner_.d_gate = {};
    }

    bool fits() const {
        auto const& what = p_.what;
        bool const states = p_.in.s != nullptr || from_.d_out.s != nullptr || !from_.d_in.empty();
        return what.decay == decay_kind::additive && !what.bidirectional() && !states &&
               (!from_.wants_gate() || !from_.d_q.empty()) &&
               channel_adjoint(stream_, inner_).fits();
    }

    /// Bytes of device memory at its fullest.
    std::size_t scratch_bytes() const {
        return planned().all.bytes + prepared<float>::scratch_bytes(p_, 1) +
               channel_adjoint(stream_, inner_).scratch_bytes();
    }

    void operator()() {
        plan const parts = planned();
        bool const gates = from_.wants_gate(), keys = !p_.k.ones;
        prefix_call w{};
        w.segments = parts.segments;
        index const items = p_.sequences * p_.heads * w.segments * p_.depth;
        scratch const memory(stream_, parts.all.bytes);
        auto const at = [&](std::size_t offset) {
            return dense_rows(p_, memory.at<std::byte>(offset), p_.heads);
        };
        w.weight = at(parts.weight), w.gate = at(parts.gate), w.d_key = at(parts.d_key);
        w.key = keys ? at(parts.key) : w.weight;
        w.d_k = from_.d_k, w.d_gate = from_.d_gate;
        w.sums = memory.at<float2>(parts.sums), w.behind = memory.at<float2>(parts.behind);
        w.of_q = memory.at<float>(parts.of_q), w.of_k = memory.at<float>(parts.of_k);
        inner_.call.k = w.key, inner_.call.gate = w.gate;
        if (!inner_.d_k.empty()) inner_.d_k = w.d_key;

        prepared<float> ready(stream_, p_, 1);
        ready.for_each_launch([&](call<float> const& c) { w.c = c; });
        auto const launch = [&](char const* name, void (*kernel)(prefix_call)) {
            constexpr int threads = 128;
            kernel<<<unsigned((items + threads - 1) / threads), threads, 0, stream_>>>(w);
            expect(name, cudaGetLastError());
        };
        launch("launch of sum_prefixes", sum_prefixes);
        launch("launch of weigh_prefixes", weigh_prefixes);
        channel_adjoint walks(stream_, inner_);
        if (gates) walks.leave_products(memory.at<float>(parts.of_q), memory.at<float>(parts.of_k));
        walks();
        if (gates) launch("launch of sum_behind", sum_behind);
        if (!inner_.d_k.empty()) launch("launch of leave_prefixes", leave_prefixes);
    }

private:
    /// Where the parts of the memory are.
    struct plan {
        layout all;
        std::size_t weight, key, gate, d_key, sums, behind, of_q, of_k;
        index segments;
    };
    plan planned() const {
        index longest = 0;
        for (index s = 0; s < p_.sequences; ++s) longest = std::max(longest, p_.length_of(s));
        index const tokens = (p_.offsets.empty() ? p_.sequences : 1) * p_.length;
        index const entries = tokens * p_.heads * p_.depth;
        plan x{};
        x.segments = (longest + prefix_segment - 1) / prefix_segment;
        index const items = p_.sequences * p_.heads * x.segments * p_.depth;
        auto const take = [&](index count, std::size_t size, bool needed = true) {
            return x.all.take(needed ? std::size_t(count) * size : 0);
        };
        bool const gates = from_.wants_gate();
        x.weight = take(entries, 2), x.key = take(entries, 2, !p_.k.ones);
        x.gate = take(entries, 2), x.d_key = take(entries, 2);
        x.sums = take(items, sizeof(float2)), x.behind = take(items, sizeof(float2));
        x.of_q = take(entries, sizeof(float), gates);
        x.of_k = take(entries, sizeof(float), gates);
        return x;
    }

    cudaStream_t stream_;
    detail::adjoint_problem<A> const& from_;
    problem const& p_;
    detail::adjoint_problem<A> inner_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
