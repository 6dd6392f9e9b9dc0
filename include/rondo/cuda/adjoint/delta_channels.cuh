/// @file
/// `backward` of a delta update whose channels have log decays of their own, on tensor cores. With
/// U what is written and R its gradient (delta_shape.cuh), the gradients are those of an outer
/// update of the values U under a decay by channel (channel_shape.cuh), read by the queries and,
/// each token strictly after those that it reads, by the keys, whose outputs have the gradient
/// -beta R. Two launches of one kernel add up: the first takes what keys read, the other the rest.
#pragma once

#include <rondo/cuda/adjoint/channel_products.cuh>
#include <rondo/cuda/adjoint/delta_walks.cuh>
#include <rondo/cuda/adjoint/delta_weigh.cuh>
#include <rondo/cuda/chunk_launch.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// One call of `backward`.
///
/// Scratch: in bfloat16, for every 64 tokens of a head two states, three times the keys, and two
/// squares of 64; what is written, twice for the gradients of strengths, and once more the
/// gradients of keys and, unless they are wanted, of values.
template <class A>
class delta_channel_adjoint {
    using problem = detail::problem<A>;

public:
    delta_channel_adjoint(cudaStream_t stream, detail::adjoint_problem<A> const& from)
        : stream_(stream), from_(from), p_(from.call) {}

    bool fits() const {
        using cuda::fits;
        auto const& what = p_.what;
        bool const plain = what.delta && what.decay == decay_kind::vector && p_.group() == 1 &&
                           what.feature == feature_kind::identity && p_.passes.size() == 1;
        if (!plain || p_.passes[0].order != nullptr || p_.o.kind != element::bfloat16) return false;
        // What is handed in is divided by the scale.
        if (from_.d_out.s != nullptr && p_.scale == 0) return false;
        auto const known = [](tensor const& x) {
            return x.empty() || in_pieces(x, element::bfloat16);
        };
        if (!known(from_.d_q) || !known(from_.d_k) || !known(from_.d_v)) return false;
        if (!fits(from_.d_beta.time) || !known(from_.d_gate)) return false;
        if (p_.width > widest_heavy_depth || !chunks_fast(p_)) return false;
        int bytes = 0;
        with_side([&]<int Side>() {
            bytes = std::max(channel_shape<Side, true>::shared_bytes,
                             chunk_shared_bytes<delta_channel_walk_shape<Side, true>>(false));
        });
        return bytes <= shared_room();
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
    template <class Visit>
    void with_side(Visit const& visit) const {
        std::max(p_.depth, p_.width) <= 64 ? visit.template operator()<64>()
                                           : visit.template operator()<128>();
    }
    bool wants_keys() const { return !from_.d_k.empty() || from_.wants_gate(); }

    struct plan {
        delta_call w;
        tensor more;  // what the first launch adds to the gradients of keys as they are written
        std::size_t bytes;
    };
    /// The call with its parts of the memory, or what it needs of that.
    template <int Side>
    plan planned(scratch const* memory) const {
        using walk = delta_channel_walk_shape<Side, true>;
        plan to{};
        delta_call& w = to.w;
        w.d_q = from_.d_q, w.d_k = from_.d_k, w.d_v = from_.d_v;
        w.d_gate = from_.d_gate, w.d_beta = from_.d_beta;
        w.d_out = from_.d_out, w.d_in = from_.d_in;
        w.columns = Side;
        w.solved.slots =
            chunk_slots::slots_of(p_.sequences, p_.length, !p_.offsets.empty(), walk::rows);
        layout all;
        auto const take = [&](auto*& at, index each) {
            std::size_t const from = all.take(std::size_t(p_.heads * w.solved.slots * each));
            if (memory != nullptr) {
                at = memory->template at<std::remove_reference_t<decltype(*at)>>(from);
            }
        };
        take(w.solved.memory, walk::score_bytes);
        take(w.weighed.pairs, walk::score_bytes);
        take(w.weighed.queries, walk::depth_bytes);
        take(w.weighed.readers, walk::depth_bytes);
        take(w.weighed.writers, walk::depth_bytes);
        take(w.weighed.carries, walk::carry_bytes);
        take(w.states, Side * Side * 2);
        take(w.d_states, Side * Side * 2);
        auto const take_rows = [&](tensor& x) {
            index const sequences = p_.offsets.empty() ? p_.sequences : 1;
            x.kind = element::bfloat16;
            x.channel = 2, x.time = Side * 2;
            x.head = p_.length * x.time, x.batch = p_.heads * x.head;
            std::size_t const from = all.take(std::size_t(sequences * x.batch));
            if (memory != nullptr) x.data = memory->template at<std::byte>(from);
        };
        take_rows(w.u);
        if (!from_.d_beta.empty()) take_rows(w.u_rest);
        if (from_.d_v.empty()) take_rows(w.d_v);
        if (!from_.d_k.empty()) take_rows(to.more);
        to.bytes = all.bytes;
        return to;
    }

    template <int Side>
    void run() const {
        using weighed = delta_weighing_shape<Side>;
        scratch const memory(stream_, planned<Side>(nullptr).bytes);
        plan at = planned<Side>(&memory);
        delta_call& w = at.w;
        prepared<float> ready(stream_, p_, 1);
        ready.for_each_launch([&](call<float> const& c) { w.c = c; });
        index const slots = p_.heads * w.solved.slots;
        if (slots > 0) {
            launch("launch of weigh_delta", weigh_delta<weighed>, slots, weighed::threads,
                   chunk_shared_bytes<weighed>(false), w);
        }
        walks<Side>()(w, 1 / p_.scale);
        if (slots == 0) return;
        channel_call x{};
        x.c = w.c;
        x.x[of_gate] = p_.gate, x.x[of_k] = p_.k, x.x[of_v] = w.u;
        x.x[of_beta] = p_.beta, x.x[of_more] = at.more;
        x.x[to_gate] = from_.d_gate;
        x.states = w.states, x.slots = w.solved.slots, x.row_bytes = Side * 2;
        channel_call keys = x;
        keys.c.scale = -1, keys.c.passes[0].strict = true;
        keys.x[of_q] = p_.k, keys.x[of_d_o] = w.d_v;
        keys.x[to_q] = from_.d_k, keys.x[to_k] = at.more, keys.x[to_beta] = from_.d_beta;
        keys.x[of_rest] = w.u_rest;
        if (wants_keys() || !from_.d_beta.empty()) multiply<Side>(keys, slots);
        x.x[of_q] = p_.q, x.x[of_d_o] = p_.o;
        x.x[to_q] = from_.d_q, x.x[to_k] = from_.d_k;
        x.d_states = w.d_states;
        if (wants_keys() || !from_.d_q.empty()) multiply<Side>(x, slots);
    }

    template <int Side>
    delta_walks<delta_channel_walk_shape<Side, false>, delta_channel_walk_shape<Side, true>> walks()
        const {
        return {stream_, p_};
    }
    template <int Side>
    void multiply(channel_call const& w, index slots) const {
        using shape = channel_shape<Side, true>;
        index const slices = (p_.depth + shape::slice - 1) / shape::slice;
        launch("launch of multiply_channels", multiply_channels<shape>, slots * slices,
               shape::threads, shape::shared_bytes, w);
    }

    template <class Call>
    void launch(char const* name, void (*kernel)(Call), index blocks, int threads, int bytes,
                std::type_identity_t<Call> const& w) const {
        expect("cudaFuncSetAttribute",
               cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
        kernel<<<unsigned(blocks), unsigned(threads), std::size_t(bytes), stream_>>>(w);
        expect(name, cudaGetLastError());
    }

    cudaStream_t stream_;
    detail::adjoint_problem<A> const& from_;
    problem const& p_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
