/// @file
/// `backward` of the additive decay over the whole sequence, on tensor cores, in two passes over
/// the tokens: one leaves two states for all of them (total_states.cuh), the other one makes all
/// gradients of these (total_products.cuh). No token meets another one.
#pragma once

#include <rondo/cuda/adjoint/call.cuh>
#include <rondo/cuda/adjoint/total_products.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// One call of `backward`.
///
/// Scratch: for each head of a sequence two states in bfloat16, and in float for each of the blocks
/// that share it.
/// A is float; it is a parameter so that only programs with gradients compile what they launch.
template <class A>
class total_adjoint {
    using problem = detail::problem<A>;

public:
    total_adjoint(cudaStream_t stream, detail::adjoint_problem<A> const& from)
        : stream_(stream), from_(from), p_(from.call) {}

    bool fits() const {
        auto const& passes = p_.passes;
        bool const whole = p_.what.decay == decay_kind::additive && passes.size() == 2 &&
                           !passes[0].read && !passes[1].write && passes[0].order == nullptr &&
                           passes[1].order == nullptr;
        bool const plain = whole && !p_.what.normalized && p_.group() == 1 &&
                           p_.what.feature == feature_kind::identity;
        auto const known = [](tensor const& x) {
            return x.empty() || in_pieces(x, element::bfloat16);
        };
        return plain && std::max(p_.depth, p_.width) <= widest_heavy_depth && known(from_.d_q) &&
               known(from_.d_k) && known(from_.d_v) && known(from_.d_gate) && chunks_fast(p_) &&
               has_room();
    }

    /// Bytes of device memory at its fullest.
    std::size_t scratch_bytes() const {
        std::size_t bytes = prepared<float>::scratch_bytes(p_, 1);
        with_states([&](auto const& states) { bytes += planned(states).all.bytes; });
        return bytes;
    }

    void operator()() const {
        prepared<float> ready(stream_, p_, 1);
        total_call w{};
        ready.for_each_launch([&](call<float> const& c) { w.c = c; });
        w.d_q = from_.d_q, w.d_k = from_.d_k, w.d_v = from_.d_v, w.d_gate = from_.d_gate;
        with_states([&](auto const& states) {
            plan const at = planned(states);
            scratch const memory(stream_, at.all.bytes);
            w.states = memory.template at<std::byte>(at.states);
            w.rests = memory.template at<std::byte>(at.rests);
            w.d_states = memory.template at<std::byte>(at.d_states);
            w.max = memory.template at<float>(at.max);
            w.columns = states.columns(), w.depth = states.depth();
            states(w, memory.template at<float>(at.records));
            with_side([&]<class Shape>(Shape) { multiply<Shape>(w); });
        });
    }

private:
    /// Where the parts of the memory are.
    struct plan {
        layout all;
        std::size_t states, rests, d_states, max, records;
    };
    template <class States>
    plan planned(States const& states) const {
        index const units = p_.sequences * p_.heads, rows = units * states.depth();
        auto const bytes = std::size_t(rows * states.columns()) * 2;
        plan x{};
        x.states = x.all.take(bytes), x.rests = x.all.take(bytes), x.d_states = x.all.take(bytes);
        x.max = x.all.take(std::size_t(rows) * sizeof(float));
        x.records = x.all.take(std::size_t(states.records()) * sizeof(float));
        return x;
    }

    /// visit(the walks of a call)
    template <class Visit>
    void with_states(Visit const& visit) const {
        using T = __nv_bfloat16;
        with_extents<T, weighing::none, false, keeping::alone>(p_, [&]<class Plain>(Plain) {
            using weighed = chunk_shape<T, weighing::additive, Plain::depth, Plain::columns,
                                        Plain::warps, false, false, keeping::alone>;
            visit(total_states<weighed, Plain>(stream_, p_, p_.k.ones));
        });
    }
    template <class Visit>
    void with_side(Visit const& visit) const {
        auto const of_keys = [&]<int Side>(std::integral_constant<int, Side>) {
            p_.k.ones ? visit(total_shape<Side, true>{}) : visit(total_shape<Side, false>{});
        };
        std::max(p_.depth, p_.width) <= 64 ? of_keys(std::integral_constant<int, 64>{})
                                           : of_keys(std::integral_constant<int, 128>{});
    }

    bool has_room() const {
        int bytes = 0;
        with_side([&]<class Shape>(Shape) { bytes = Shape::shared_bytes; });
        return bytes <= shared_room();
    }

    template <class Shape>
    void multiply(total_call w) const {
        constexpr int bytes = Shape::shared_bytes;
        index longest = 0;
        for (index s = 0; s < p_.sequences; ++s) longest = std::max(longest, p_.length_of(s));
        w.segments = (longest + Shape::tokens - 1) / Shape::tokens;
        auto* const kernel = multiply_totals<Shape>;
        expect("cudaFuncSetAttribute",
               cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
        auto const blocks = unsigned(p_.sequences * p_.heads * w.segments);
        if (blocks == 0) return;
        kernel<<<blocks, Shape::threads, bytes, stream_>>>(w);
        expect("launch of multiply_totals", cudaGetLastError());
    }

    cudaStream_t stream_;
    detail::adjoint_problem<A> const& from_;
    problem const& p_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
