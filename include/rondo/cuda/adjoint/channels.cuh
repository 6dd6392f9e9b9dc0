/// @file
/// `backward` of a log decay for each key channel, on tensor cores. The gradients of queries and
/// keys are walks whose values decay (columns.cuh); that of values is an outer update walked back:
///
///     dv_j = scale sum_i (sum_d k_j(d) q_i(d) exp(sum of g(d) between j and i)) d_o_i
#pragma once

#include <rondo/cuda/adjoint/columns.cuh>
#include <rondo/cuda/adjoint/mirrored.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// Joins the segments of one head, in order: a thread takes its four elements of the states.
template <class Shape>
__global__ void __launch_bounds__(Shape::threads)
    join_columns(column_call const __grid_constant__ w) {
    constexpr int groups = Shape::depth / 8;
    int const lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
    int const column = warp * Shape::columns + lane / 4;
    index const first = index(blockIdx.x) * w.segments;
    float4 x{};
    for (int s = 0; s < w.segments; ++s) {
        float4& place =
            w.records[((first + s) * groups + blockIdx.y) * Shape::threads + threadIdx.x];
        float const* const decay = w.decays + (first + s) * Shape::width + column;
        float4 const own = place;
        place = x;
        x = {decay[0] * x.x + own.x, decay[0] * x.y + own.y, decay[8] * x.z + own.z,
             decay[8] * x.w + own.w};
    }
}

/// A thread turns the products between two stored states into the gradients of one channel's log
/// decays: d log f_t = <S_n, dS_n> + sum_(s >= t) (q_s dq_s - k_s dk_s) up to n.
static __global__ void sum_channel_decays(call<float> const __grid_constant__ c, float const* of_q,
                                          float const* of_k, float const* anchors, index slots,
                                          tensor const d_gate) {
    index const item = index(blockIdx.x) * blockDim.x + threadIdx.x;
    index const d = item % c.depth, slot = item / c.depth % slots, unit = item / c.depth / slots;
    if (unit >= c.sequences * c.heads) return;
    location const where(c, unit / c.heads, unit % c.heads);
    index const first = slot * anchor_step;
    if (first >= where.length) return;
    index const end = first + anchor_step < where.length ? first + anchor_step : where.length;
    float sum = anchors[(unit * slots + slot) * c.depth + d];
    for (index place = end; place-- > first;) {
        index const token = token_at(c.passes[0], place, where.length);
        index const row = where.batch * c.length + where.first + token;
        index const at = (row * c.heads + where.head) * c.depth + d;
        float const before = sum;
        sum += of_q[at] - of_k[at];
        float const gate =
            load<float>(where.key_side(c.gate, token) + d * c.gate.channel, c.gate.kind);
        float const value = expf(gate) > 0 ? (c.on_write ? before : sum) : 0;
        store(where.key_side(d_gate, token) + d * d_gate.channel, d_gate.kind, value);
    }
}

/// One call of `backward`.
///
/// Scratch: with the gradient of the gate a float for each entry of q and k, and a state for every
/// 64 tokens.
template <class A>
class channel_adjoint {
    using problem = detail::problem<A>;

public:
    channel_adjoint(cudaStream_t stream, detail::adjoint_problem<A> const& from)
        : stream_(stream), from_(from), p_(from.call) {
        if (!p_.passes.empty()) forth_ = back_ = p_.passes[0];
        back_.reversed = !forth_.reversed;
    }

    bool fits() const {
        bool const plain = p_.what.decay == decay_kind::vector && !p_.what.delta &&
                           !p_.what.normalized && p_.what.feature == feature_kind::identity &&
                           !p_.k.ones && p_.group() == 1 && p_.passes.size() == 1 &&
                           forth_.order == nullptr && from_.d_in.empty();
        if (!plain || p_.depth > widest_heavy_depth || p_.width > widest_heavy_depth) return false;
        // The gates' terms come with the outputs.
        bool const terms = !from_.d_q.empty() && !from_.d_k.empty();
        if (from_.wants_gate() && !terms) return false;
        auto const known = [](tensor const& x) {
            return x.empty() || in_pieces(x, element::bfloat16);
        };
        if (!known(from_.d_q) || !known(from_.d_k)) return false;
        problem call = of_values();
        if (call.o.empty()) call.o = p_.v;
        return call.o.kind == element::bfloat16 && chunks_fast(call);
    }

    /// Asks for q dq and k dk, [token, head, depth], of a call without the gradient of the gate.
    void leave_products(float* of_q, float* of_k) {
        products_of_q_ = of_q;
        products_of_k_ = of_k;
    }

    /// Bytes of device memory at its fullest.
    std::size_t scratch_bytes() const {
        std::size_t bytes = planned().all.bytes + prepared<float>::scratch_bytes(p_, 1);
        if (from_.d_v.empty()) return bytes;
        problem const call = of_values();
        with_chunk_shape(call, [&]<class Shape>(Shape) {
            bytes += chunk_launch<Shape>(nullptr, call).scratch_bytes(call);
        });
        return bytes;
    }

    void operator()() {
        plan const at = planned();
        bool const gates = from_.wants_gate(), narrow = is_narrow();
        index const units = p_.sequences * p_.heads;
        scratch const memory(stream_, at.all.bytes);

        prepared<float> ready(stream_, p_, 1);
        column_call walk{};
        ready.for_each_launch([&](call<float> const& c) { walk.c = c; });
        call<float> const plain = walk.c;
        walk.slots = at.slots;
        walk.segments = int(at.segments), walk.segment_length = int(at.runs * anchor_step);
        if (at.segments > 1) {
            walk.records = memory.at<float4>(at.records);
            walk.decays = memory.at<float>(at.decays);
        }
        if (gates) walk.states = memory.at<float4>(at.states);
        if (!from_.d_q.empty()) {
            walk.x = p_.o, walk.y = p_.v, walk.z = p_.k, walk.o = from_.d_q, walk.beside = p_.q;
            walk.in = turned(memory, at.in, p_.in);
            walk.gate_shift = shift(forth_, p_.what.on_write);
            walk.products = gates ? memory.at<float>(at.of_q) : products_of_q_;
            launch(walk, narrow);
        }
        if (!from_.d_k.empty()) {
            walk.x = p_.v, walk.y = p_.o, walk.z = p_.q, walk.o = from_.d_k, walk.beside = p_.k;
            walk.in = turned(memory, at.d_out, from_.d_out);
            walk.c.passes[0] = back_;
            walk.gate_shift = shift(back_, !p_.what.on_write);
            walk.products = gates ? memory.at<float>(at.of_k) : products_of_k_;
            if (gates) walk.anchors = memory.at<float>(at.anchors);
            walk.aligned = gates;
            launch(walk, narrow);
        }
        if (!from_.d_v.empty()) {
            problem const call = of_values();
            with_chunk_shape(call, [&]<class Shape>(Shape) {
                chunk_launch<Shape>(stream_, call)(call,
                                                   {{}, nullptr, shift(back_, !p_.what.on_write)});
            });
        }
        if (!gates) return;
        sum_channel_decays<<<blocks(units * at.slots * p_.depth), threads, 0, stream_>>>(
            plain, memory.at<float>(at.of_q), memory.at<float>(at.of_k),
            memory.at<float>(at.anchors), at.slots, from_.d_gate);
        expect("launch of sum_channel_decays", cudaGetLastError());
    }

private:
    bool is_narrow() const { return p_.depth <= 64 && p_.width <= 64; }

    /// Where the parts of the memory are, and how sequences are shared among blocks.
    struct plan {
        layout all;
        std::size_t in, d_out, of_q, of_k, states, anchors, records, decays;
        index slots, segments, runs;
    };
    plan planned() const {
        bool const gates = from_.wants_gate();
        index longest = 0;
        for (index s = 0; s < p_.sequences; ++s) longest = std::max(longest, p_.length_of(s));
        index const tokens = (p_.offsets.empty() ? p_.sequences : 1) * p_.length;
        index const units = p_.sequences * p_.heads, entries = tokens * p_.heads * p_.depth;
        index const widest = is_narrow() ? 64 : 128;
        plan x{};
        x.slots = (longest + anchor_step - 1) / anchor_step;
        x.segments = p_.offsets.empty() ? segments_of(units, longest) : 1;
        x.runs = (x.slots + x.segments - 1) / x.segments;
        x.segments = (x.slots + x.runs - 1) / x.runs;
        auto const take = [&](index floats, bool needed) {
            return x.all.take(needed ? std::size_t(floats) * sizeof(float) : 0);
        };
        x.in = take(units * p_.depth * p_.width, p_.in.s != nullptr);
        x.d_out = take(units * p_.depth * p_.width, from_.d_out.s != nullptr);
        x.of_q = take(entries, gates);
        x.of_k = take(entries, gates);
        x.states = take(units * x.slots * widest * widest, gates);
        x.anchors = take(units * x.slots * p_.depth, gates);
        x.records = take(units * x.segments * widest * widest, x.segments > 1);
        x.decays = take(units * x.segments * widest, x.segments > 1);
        return x;
    }

    /// Walked with the gates of the tokens before, what counts for the written token counts for the
    /// reader.
    static int shift(pass const& how, bool on_write) {
        return !on_write ? 0 : how.reversed ? 1 : -1;
    }

    problem of_values() const {
        problem call = p_;
        call.q = p_.k, call.k = p_.q, call.v = p_.o, call.o = from_.d_v;
        call.what.on_write = false;
        call.in = from_.d_out, call.out = {};
        call.passes = std::span<pass const>(&back_, 1);
        return call;
    }

    void launch(column_call const& walk, bool narrow) const {
        auto const start = [&]<class Shape>(Shape) {
            auto* const kernel = column_walk<Shape>;
            expect("cudaFuncSetAttribute",
                   cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                        Shape::shared_bytes));
            auto const units = unsigned(p_.sequences * p_.heads);
            auto const run = [&](column_call const& how) {
                kernel<<<units* unsigned(walk.segments), Shape::threads, Shape::shared_bytes,
                         stream_>>>(how);
                expect("launch of column_walk", cudaGetLastError());
            };
            if (walk.segments > 1) {
                column_call states = walk;
                states.leaves = true;
                run(states);
                join_columns<Shape>
                    <<<dim3(units, Shape::depth / 8), Shape::threads, 0, stream_>>>(walk);
                expect("launch of join_columns", cudaGetLastError());
            }
            run(walk);
        };
        narrow ? start(column_shape<64, 4>{}) : start(column_shape<128, 8>{});
    }

    /// A state with its axes exchanged.
    float const* turned(scratch const& memory, std::size_t at,
                        detail::carried<A> const& from) const {
        if (from.s == nullptr) return nullptr;
        auto* const to = memory.at<float>(at);
        transpose<<<blocks(p_.sequences * p_.heads * p_.depth * p_.width), threads, 0, stream_>>>(
            from.s, to, p_.sequences * p_.heads, p_.depth, p_.width);
        expect("launch of transpose", cudaGetLastError());
        return to;
    }

    static constexpr int threads = 256;
    static unsigned blocks(index items) { return unsigned((items + threads - 1) / threads); }

    cudaStream_t stream_;
    detail::adjoint_problem<A> const& from_;
    problem const& p_;
    pass forth_{}, back_{};
    float *products_of_q_ = nullptr, *products_of_k_ = nullptr;
};

}  // namespace rondo::inline RONDO_ISA::cuda
