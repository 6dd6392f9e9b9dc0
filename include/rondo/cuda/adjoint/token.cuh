/// @file
/// `backward` of an outer update with at most one log decay a token, on tensor cores: a walk
/// forwards keeps the state in front of each chunk, a walk back its gradient behind each chunk, and
/// one block a chunk makes all gradients of these, no block waiting for another.
#pragma once

#include <rondo/cuda/adjoint/call.cuh>
#include <rondo/cuda/adjoint/token_products.cuh>
#include <rondo/cuda/kept_states.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// A block adds up the gradient of the gate that all tokens of a head share.
static __global__ void sum_constant_gate(float const* parts, index sequences, index heads,
                                         index slots, tensor const d_gate) {
    constexpr int threads = 256;
    __shared__ double sums[threads];
    int const mine = threadIdx.x;
    double sum = 0;
    for (index i = mine; i < sequences * slots; i += threads) {
        sum += double(parts[(i / slots * heads + blockIdx.x) * slots + i % slots]);
    }
    sums[mine] = sum;
    for (int half = threads / 2; half > 0; half /= 2) {
        __syncthreads();
        if (mine < half) sums[mine] += sums[mine + half];
    }
    if (mine == 0) store(d_gate.data + blockIdx.x * d_gate.head, d_gate.kind, float(sums[0]));
}

/// One call of `backward`.
///
/// Scratch: in bfloat16, two states for every 64 tokens of a head.
/// A is float; it is a parameter so that only programs with gradients compile what they launch.
template <class A>
class token_adjoint {
    using problem = detail::problem<A>;

public:
    token_adjoint(cudaStream_t stream, detail::adjoint_problem<A> const& from)
        : stream_(stream), from_(from), p_(from.call) {}

    bool fits() const {
        auto const& what = p_.what;
        // Without a decay the calls of mirrored_adjoint cost no more.
        bool const token = what.decay == decay_kind::constant || what.decay == decay_kind::scalar;
        bool const plain = token && !what.delta && !what.normalized && !p_.k.ones &&
                           what.feature == feature_kind::identity && p_.group() == 1 &&
                           p_.passes.size() == 1 && p_.passes[0].order == nullptr;
        auto const known = [](tensor const& x) {
            return x.empty() || in_pieces(x, element::bfloat16);
        };
        return plain && std::max(p_.depth, p_.width) <= widest_heavy_depth &&
               p_.o.kind == element::bfloat16 && known(from_.d_q) && known(from_.d_k) &&
               known(from_.d_v) && chunks_fast(p_) && has_room();
    }

    /// Bytes of device memory at its fullest.
    std::size_t scratch_bytes() const {
        // The walks may copy the states that they are given.
        std::size_t const copies = prepared<float>::scratch_bytes(p_, 1);
        return planned().all.bytes + walk().scratch_bytes_of_two() + copies;
    }

    void operator()() const {
        plan const at = planned();
        scratch const memory(stream_, at.all.bytes);
        kept_states const forth = walk();
        forth.with(memory.at<std::byte>(at.states), walk_back(), memory.at<std::byte>(at.d_states));

        token_call w{};
        w.d_q = from_.d_q, w.d_k = from_.d_k, w.d_v = from_.d_v, w.d_gate = from_.d_gate;
        w.states = memory.at<std::byte>(at.states), w.d_states = memory.at<std::byte>(at.d_states);
        w.slots = forth.slots(), w.columns = forth.columns(), w.depth = forth.depth();
        if (shared_gate()) w.constant = memory.at<float>(at.constant);
        prepared<float> ready(stream_, p_, 1);
        ready.for_each_launch([&](call<float> const& c) { w.c = c; });
        if (w.slots > 0) with_side([&]<class Shape>(Shape) { launch<Shape>(w); });
        if (!shared_gate()) return;
        sum_constant_gate<<<unsigned(p_.heads), 256, 0, stream_>>>(w.constant, 1, p_.heads, w.slots,
                                                                   from_.d_gate);
        expect("launch of sum_constant_gate", cudaGetLastError());
    }

private:
    bool shared_gate() const { return from_.wants_gate() && p_.what.decay == decay_kind::constant; }

    kept_states walk() const {
        problem call = p_;
        call.scale = 1;
        call.out = {};
        return {stream_, call};
    }
    kept_states walk_back() const {
        problem call = p_;
        call.k = p_.q, call.v = p_.o;
        call.in = {}, call.out = {};
        call.in.s = from_.d_out.s, call.out.s = from_.d_in.s;
        return {stream_, call, true};
    }

    /// Where the parts of the memory are.
    struct plan {
        layout all;
        std::size_t states, d_states, constant;
    };
    plan planned() const {
        plan x{};
        kept_states const forth = walk();
        x.states = x.all.take(forth.bytes()), x.d_states = x.all.take(forth.bytes());
        std::size_t const slots = std::size_t(p_.heads * forth.slots());
        x.constant = x.all.take(shared_gate() ? slots * sizeof(float) : 0);
        return x;
    }

    template <class Visit>
    void with_side(Visit const& visit) const {
        std::max(p_.depth, p_.width) <= 64 ? visit(token_product_shape<64>{})
                                           : visit(token_product_shape<128>{});
    }

    bool has_room() const {
        int bytes = 0;
        with_side([&]<class Shape>(Shape) { bytes = chunk_shared_bytes<Shape>(false); });
        return bytes <= shared_room();
    }

    template <class Shape>
    void launch(token_call const& w) const {
        constexpr int bytes = chunk_shared_bytes<Shape>(false);
        auto* const kernel = multiply_tokens<Shape>;
        expect("cudaFuncSetAttribute",
               cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
        kernel<<<unsigned(p_.heads * w.slots), Shape::threads, bytes, stream_>>>(w);
        expect("launch of multiply_tokens", cudaGetLastError());
    }

    cudaStream_t stream_;
    detail::adjoint_problem<A> const& from_;
    problem const& p_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
