/// @file
/// `backward` of a log decay for each key channel, on tensor cores: channel_shape.cuh has its
/// steps. The gradient of values is an outer update walked back, which keeps its states:
///
///     dv_j = scale sum_i (sum_d k_j(d) q_i(d) exp(sum of g(d) between j and i)) d_o_i
#pragma once

#include <rondo/cuda/adjoint/channel_products.cuh>
#include <rondo/cuda/adjoint/states.cuh>
#include <rondo/cuda/chunk_launch.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// One call of `backward`.
///
/// Scratch: in bfloat16, two states for every 64 tokens.
template <class A>
class channel_adjoint {
    using problem = detail::problem<A>;

public:
    channel_adjoint(cudaStream_t stream, detail::adjoint_problem<A> const& from)
        : stream_(stream), from_(from), p_(from.call) {
        if (!p_.passes.empty()) forth_ = back_ = p_.passes[0];
        forth_.read = false, back_.read = !from.d_v.empty();
        back_.reversed = !forth_.reversed;
    }

    bool fits() const {
        bool const plain = p_.what.decay == decay_kind::vector && !p_.what.delta &&
                           !p_.what.normalized && p_.what.feature == feature_kind::identity &&
                           !p_.k.ones && p_.group() == 1 && p_.passes.size() == 1 &&
                           forth_.order == nullptr && from_.d_in.empty();
        if (!plain || p_.depth > widest_heavy_depth || p_.width > widest_heavy_depth) return false;
        // What is handed in is divided by the scale.
        if (from_.d_out.s != nullptr && p_.scale == 0) return false;
        auto const known = [](tensor const& x) {
            return x.empty() || in_pieces(x, element::bfloat16);
        };
        if (!known(from_.d_q) || !known(from_.d_k) || !known(from_.d_v)) return false;
        if (!known(from_.d_gate)) return false;
        int const bytes =
            p_.width <= 64 ? channel_shape<64>::shared_bytes : channel_shape<128>::shared_bytes;
        return p_.o.kind == element::bfloat16 && bytes <= shared_room() &&
               chunks_fast(walked(forth_));
    }

    /// The keys have been weighed by an additive decay (prefix.cuh): the gradient of the gate is
    /// that of its logits, each chunk without those behind.
    void weighed_by(tensor const& weight, float2* behind, index segments) {
        weight_ = weight, behind_ = behind, segments_ = segments;
    }

    /// Bytes of device memory at its fullest.
    std::size_t scratch_bytes() const {
        std::size_t most = prepared<float>::scratch_bytes(p_, 1);
        auto const count = [&]<class Shape>(problem const& call, Shape) {
            most = std::max(most, chunk_launch<Shape>(nullptr, call).scratch_bytes(call));
        };
        with_walk([&](auto shape) { count(of_states(), shape); });
        with_walk_back([&](auto shape) { count(of_values(nullptr), shape); });
        return planned().all.bytes + most;
    }

    void operator()() {
        plan const at = planned();
        scratch const memory(stream_, at.all.bytes);
        auto* const states = memory.at<std::byte>(at.states);
        auto* const d_states = memory.at<std::byte>(at.d_states);
        bool const products = !from_.d_q.empty() || !from_.d_k.empty() || from_.wants_gate();
        if (products) {
            problem const keys = of_states();
            with_walk([&]<class Shape>(Shape) {
                chunk_launch<Shape>(stream_, keys)(keys,
                                                   {.gate_shift = shift(forth_, p_.what.on_write),
                                                    .keep = {states, at.slots, false}});
            });
        }
        problem const values = of_values(handed_in(memory, at));
        with_walk_back([&]<class Shape>(Shape) {
            chunk_launch<Shape>(stream_, values)(values,
                                                 {.gate_shift = shift(back_, !p_.what.on_write),
                                                  .keep = {d_states, at.slots, true}});
        });
        if (!products || at.slots == 0) return;
        channel_call w{};
        w.x[of_q] = p_.q, w.x[of_k] = p_.k, w.x[of_gate] = p_.gate, w.x[of_v] = p_.v;
        w.x[of_d_o] = p_.o, w.x[of_weight] = weight_;
        w.x[to_q] = from_.d_q, w.x[to_k] = from_.d_k, w.x[to_gate] = from_.d_gate;
        w.states = states, w.d_states = d_states;
        w.slots = at.slots, w.row_bytes = int(at.depth) * 2;
        w.gate_shift = shift(forth_, p_.what.on_write);
        w.behind = behind_, w.segments = segments_;
        prepared<float> ready(stream_, p_, 1);
        ready.for_each_launch([&](call<float> const& c) { w.c = c; });
        p_.width <= 64 ? multiply<channel_shape<64>>(w) : multiply<channel_shape<128>>(w);
    }

private:
    /// Where the parts of the memory are, and how states lie in it.
    struct plan {
        layout all;
        std::size_t states, d_states, d_out;
        index slots, columns, depth;
    };
    plan planned() const {
        plan x{};
        with_walk([&]<class Shape>(Shape) {
            x.columns = (p_.width + Shape::width - 1) / Shape::width * Shape::width;
            x.depth = Shape::depth;
            x.slots =
                chunk_slots::slots_of(p_.sequences, p_.length, !p_.offsets.empty(), Shape::rows);
        });
        auto const bytes = std::size_t(p_.heads * x.slots * x.columns * x.depth) * 2;
        x.states = x.all.take(bytes), x.d_states = x.all.take(bytes);
        bool const divides = from_.d_out.s != nullptr && p_.scale != 1;
        index const size = adjoint_states(stream_, p_).size();
        x.d_out = x.all.take(divides ? std::size_t(size) * sizeof(float) : 0);
        return x;
    }

    /// The gradient of the state behind all tokens, as one of sums that are yet to be scaled.
    float* handed_in(scratch const& memory, plan const& at) const {
        if (from_.d_out.s == nullptr || p_.scale == 1) return from_.d_out.s;
        auto* const to = memory.at<float>(at.d_out);
        adjoint_states(stream_, p_).scale(from_.d_out.s, to, 1 / p_.scale);
        return to;
    }

    /// Walked with the gates of the tokens before, what counts for the written token counts for the
    /// reader.
    static int shift(pass const& how, bool on_write) {
        return !on_write ? 0 : how.reversed ? 1 : -1;
    }

    problem walked(pass const& how) const {
        problem call = p_;
        call.what.on_write = false;
        call.out = {};
        call.passes = std::span<pass const>(&how, 1);
        return call;
    }
    problem of_states() const {
        problem call = walked(forth_);
        call.scale = 1;
        return call;
    }
    problem of_values(float* d_out) const {
        problem call = walked(back_);
        call.q = p_.k, call.k = p_.q, call.v = p_.o, call.o = from_.d_v;
        call.in = {}, call.in.s = d_out;
        if (from_.d_v.empty()) call.scale = 1;
        return call;
    }

    template <class Visit>
    void with_walk(Visit const& visit) const {
        with_extents<__nv_bfloat16, weighing::channel, false, keeping::alone>(p_, visit);
    }
    template <class Visit>
    void with_walk_back(Visit const& visit) const {
        from_.d_v.empty()
            ? with_walk(visit)
            : with_extents<__nv_bfloat16, weighing::channel, false, keeping::beside>(p_, visit);
    }

    template <class Shape>
    void multiply(channel_call const& w) const {
        expect(
            "cudaFuncSetAttribute",
            cudaFuncSetAttribute(multiply_channels<Shape>,
                                 cudaFuncAttributeMaxDynamicSharedMemorySize, Shape::shared_bytes));
        index const slices = (p_.depth + Shape::slice - 1) / Shape::slice;
        multiply_channels<Shape><<<unsigned(p_.heads * w.slots * slices), Shape::threads,
                                   Shape::shared_bytes, stream_>>>(w);
        expect("launch of multiply_channels", cudaGetLastError());
    }

    cudaStream_t stream_;
    detail::adjoint_problem<A> const& from_;
    problem const& p_;
    pass forth_{}, back_{};
    tensor weight_{};
    float2* behind_ = nullptr;
    index segments_ = 0;
};

}  // namespace rondo::inline RONDO_ISA::cuda
