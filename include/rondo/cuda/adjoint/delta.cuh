/// @file
/// `backward` of a delta update on tensor cores, of decays none, constant and scalar.
#pragma once

#include <rondo/cuda/adjoint/delta_products.cuh>
#include <rondo/cuda/adjoint/delta_walks.cuh>
#include <rondo/cuda/adjoint/mirrored.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// One call of `backward`.
///
/// Scratch: in bfloat16, for every 64 tokens of a head two states, what is written and its
/// gradient, and a square of 64.
template <class A>
class delta_adjoint {
    using problem = detail::problem<A>;

public:
    delta_adjoint(cudaStream_t stream, detail::adjoint_problem<A> const& from)
        : stream_(stream), from_(from), p_(from.call) {}

    bool fits() const {
        auto const& what = p_.what;
        bool const plain = what.delta && !what.per_channel() && p_.group() == 1 &&
                           what.feature == feature_kind::identity && p_.passes.size() == 1;
        auto const known = [](tensor const& x) {
            return x.empty() || in_pieces(x, element::bfloat16);
        };
        // One block makes the gradients of a chunk from all of its columns.
        bool const narrow = p_.width <= widest_heavy_depth;
        return plain && narrow && p_.o.kind == element::bfloat16 && chunks_fast(p_) &&
               known(from_.d_q) && known(from_.d_k) && known(from_.d_v);
    }

    std::size_t scratch_bytes() const {
        std::size_t bytes = 0;
        with_side(
            [&]<int Side>() { bytes = planned<Side>(nullptr).bytes + walks<Side>().bytes(); });
        return bytes + prepared<float>::scratch_bytes(p_, 1);
    }

    void operator()() const {
        with_side([&]<int Side>() { run<Side>(); });
    }

private:
    template <int Side>
    delta_walks<delta_walk_shape<Side>, delta_walk_shape<Side>> walks() const {
        return {stream_, p_};
    }

    template <class Visit>
    void with_side(Visit const& visit) const {
        std::max(p_.depth, p_.width) <= 64 ? visit.template operator()<64>()
                                           : visit.template operator()<128>();
    }

    struct plan {
        delta_call w;
        std::size_t bytes;
    };
    /// The call with its parts of the memory, or what it needs of that.
    template <int Side>
    plan planned(scratch const* memory) const {
        using walk = delta_walk_shape<Side>;
        delta_call w{};
        w.d_q = from_.d_q, w.d_k = from_.d_k, w.d_v = from_.d_v;
        w.d_gate = from_.d_gate, w.d_beta = from_.d_beta;
        w.d_out = from_.d_out, w.d_in = from_.d_in;
        w.columns = (p_.width + walk::width - 1) / walk::width * walk::width;
        w.solved.slots =
            chunk_slots::slots_of(p_.sequences, p_.length, !p_.offsets.empty(), walk::rows);
        layout all;
        auto const take = [&](auto*& to, index each, bool needed = true) {
            index const size = needed ? p_.heads * w.solved.slots * each : 0;
            std::size_t const at = all.take(std::size_t(size));
            if (needed && memory != nullptr) {
                to = memory->template at<std::remove_reference_t<decltype(*to)>>(at);
            }
        };
        take(w.solved.memory, walk::rows * walk::rows * 2);
        take(w.states, w.columns * walk::depth * 2);
        take(w.d_states, w.columns * walk::depth * 2);
        take(w.updates, w.columns * walk::rows * 2);
        take(w.d_updates, w.columns * walk::rows * 2);
        bool const constant = from_.wants_gate() && p_.what.decay == decay_kind::constant;
        take(w.constant, sizeof(float), constant);
        return {w, all.bytes};
    }

    template <int Side>
    void run() const {
        using walk = delta_walk_shape<Side>;
        using products = delta_product_shape<Side>;
        scratch const memory(stream_, planned<Side>(nullptr).bytes);
        delta_call w = planned<Side>(&memory).w;
        prepared<float> ready(stream_, p_, 1);
        ready.for_each_launch([&](call<float> const& c) { w.c = c; });
        index const slots = p_.heads * w.solved.slots;
        if (slots > 0) {
            launch<solving_shape<walk>>("launch of solve_chunks", solve_chunks<solving_shape<walk>>,
                                        slots, w.c, w.solved);
        }
        walks<Side>()(w, 1);
        if (slots > 0)
            launch<products>("launch of multiply_delta", multiply_delta<products>, slots, w);
        if (w.constant == nullptr) return;
        sum_constant_gate<<<unsigned(p_.heads), 256, 0, stream_>>>(w.constant, 1, p_.heads,
                                                                   w.solved.slots, from_.d_gate);
        expect("launch of sum_constant_gate", cudaGetLastError());
    }

    template <class Shape, class... Arguments>
    void launch(char const* name, void (*kernel)(Arguments...), index blocks,
                std::type_identity_t<Arguments> const&... arguments) const {
        constexpr int bytes = chunk_shared_bytes<Shape>(false);
        expect("cudaFuncSetAttribute",
               cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
        kernel<<<unsigned(blocks), Shape::threads, bytes, stream_>>>(arguments...);
        expect(name, cudaGetLastError());
    }

    cudaStream_t stream_;
    detail::adjoint_problem<A> const& from_;
    problem const& p_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
