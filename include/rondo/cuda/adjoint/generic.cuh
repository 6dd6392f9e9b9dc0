/// @file
/// The plain `backward` of whatever forward accepts: which kernels a call takes, and their memory.
#pragma once

#include <rondo/cuda/adjoint/fold.cuh>
#include <rondo/cuda/adjoint/leave.cuh>
#include <rondo/cuda/adjoint/prepare.cuh>
#include <rondo/cuda/adjoint/walk.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// One checked call of `backward` on its way through the kernels.
///
/// Scratch: rows of every input and gradient in the accumulator type, those of queries and keys
/// once more for every 32 columns of values, and a state for every 64 tokens when the gradient of a
/// log decay is wanted.
template <class A>
class generic_adjoint {
    using tensors = detail::adjoint_problem<A>;

public:
    generic_adjoint(cudaStream_t stream, tensors const& from)
        : stream_(stream), from_(from), p_(from.call), rows_(p_.depth) {
        describe();
        plan(nullptr);
    }

    std::size_t scratch_bytes() const { return bytes_.bytes + prepared<A>::scratch_bytes(p_, 1); }

    void operator()() {
        scratch const memory(stream_, bytes_.bytes);
        plan(&memory);
        prepared<A> ready(stream_, p_, 1);
        auto const for_each_chain = [&](auto const& body) {
            a_.add = false;
            ready.for_each_launch([&](call<A> const& c) {
                for (int end = 0; end < c.pass_count;) {
                    int const begin = end++;
                    while (end < c.pass_count && c.passes[end].keep) ++end;
                    a_.c = c;
                    a_.c.pass_count = end - begin;
                    std::copy(c.passes + begin, c.passes + end, a_.c.passes);
                    body();
                    a_.add = true;
                }
            });
        };
        ready.for_each_launch([&](call<A> const& c) { a_.c = c; });
        over_rows("map_rows", map_rows<A>, p_.query_heads + p_.heads);
        if (p_.what.normalized) for_each_chain([&] { read(); });
        over_rows("differentiate_outputs", differentiate_outputs<A>, p_.query_heads);
        for_each_chain([&] { differentiate(); });
        over_rows("leave_rows", leave_rows<A>, p_.query_heads + p_.heads);
        if (a_.constant && from_.wants_gate() && p_.heads > 0) {
            leave_constant<A><<<unsigned(p_.heads), 256, 0, stream_>>>(a_);
            expect("launch of leave_constant", cudaGetLastError());
        }
    }

private:
    void describe() {
        a_.d_q = from_.d_q, a_.d_k = from_.d_k, a_.d_v = from_.d_v;
        a_.d_gate = from_.d_gate, a_.d_beta = from_.d_beta;
        a_.d_out = from_.d_out, a_.d_in = from_.d_in;
        a_.tokens = (p_.offsets.empty() ? p_.sequences : 1) * p_.length;
        a_.columns = p_.width + (p_.what.normalized ? 1 : 0);
        a_.tiles = std::max<index>((a_.columns + walk_columns - 1) / walk_columns, 1);
        a_.constant = p_.what.decay == decay_kind::constant;
        index longest = 0;
        for (index s = 0; s < p_.sequences; ++s) longest = std::max(longest, p_.length_of(s));
        a_.slots = std::max<index>((longest + anchor_step - 1) / anchor_step, 1);
        units_ = p_.sequences * p_.query_heads;
        index const padded = rows_ > 0 ? rows_ * walk_warps : p_.depth;
        plan_.padded = int(padded);
        stage_ = walk_stage<A>::elements(padded);
    }

    /// Adds up the memory, or takes it.
    void plan(scratch const* memory) {
        layout all;
        auto const take = [&](A*& to, index elements, bool needed) {
            std::size_t const at = all.take(needed ? std::size_t(elements) * sizeof(A) : 0);
            to = needed && memory != nullptr ? memory->template at<A>(at) : nullptr;
        };
        bool const additive = p_.what.additive(), gates = from_.wants_gate();
        bool const written = from_.needs_state(), delta = p_.what.delta;
        bool const anchored = gates && !additive, sums = additive && (gates || !from_.d_in.empty());
        index const queries = a_.tokens * p_.query_heads, keys = a_.tokens * p_.heads;
        index const weights = keys * (p_.what.per_channel() ? p_.depth : 1);
        index const blocks = units_ * a_.tiles, parts = a_.tiles * queries * p_.depth;
        take(a_.q, queries * p_.depth, true);
        take(a_.k, keys * p_.depth, true);
        take(a_.v, keys * a_.columns, true);
        take(a_.factor, weights, p_.what.gated());
        take(a_.beta, keys, delta);
        take(a_.weight, weights, additive);
        take(a_.share, weights, additive);
        take(a_.num, queries * a_.columns, p_.what.normalized);
        take(a_.d_num, queries * a_.columns, true);
        take(a_.rest, queries * a_.columns, delta);
        take(a_.by_query, parts, from_.needs_queries());
        take(a_.by_key, parts, written);
        take(a_.by_reading_key, parts, written && delta);
        take(a_.by_value, queries * a_.columns, written);
        take(a_.by_beta, a_.tiles * queries, written && delta);
        take(a_.by_state, units_ * p_.depth * a_.columns, !from_.d_in.empty());
        take(a_.saved, units_ * a_.slots * p_.depth * a_.columns, anchored);
        take(a_.anchors, blocks * a_.slots * p_.depth, anchored);
        take(a_.terms, weights, anchored || sums);
        take(a_.sums, weights, sums);
        take(a_.sum_q, queries * p_.depth, from_.needs_queries());
        take(a_.sum_k, keys * p_.depth, written);
        take(a_.sum_v, keys * a_.columns, written);
        take(a_.sum_gate, weights, anchored || sums);
        take(a_.sum_beta, keys, written && delta);
        take(plan_.stages, blocks * stage_, rows_.none());
        take(plan_.states, blocks * p_.depth * walk_columns, rows_.none());
        bytes_ = all;
    }

    /// What all queries read in one chain.
    void read() {
        weigh();
        walk(errand::readings);
    }

    void differentiate() {
        weigh();
        if (a_.by_query != nullptr) walk(errand::queries);
        if (from_.needs_state())
            walk_all([&]<int Rows>() { launch("walk_back", walk_back<A, Rows>, a_, plan_); });
        if (a_.by_reading_key != nullptr) walk(errand::keys);
        over_rows("fold_rows", fold_rows<A>, p_.heads);
        index const units = p_.sequences * p_.heads;
        if (a_.saved != nullptr) over("sum_decays", sum_decays<A>, units * a_.slots * gates());
        if (a_.sums != nullptr) over("sum_logits", sum_logits<A>, units * gates());
        if (a_.by_state != nullptr) {
            over("fold_states", fold_states<A>, units * p_.depth * a_.columns);
        }
    }

    void weigh() {
        if (!p_.what.additive()) return;
        over("weigh_logits", weigh_logits<A>, p_.sequences * p_.heads * gates());
    }
    void walk(errand what) {
        walk_all(
            [&]<int Rows>() { launch("walk_forward", walk_forward<A, Rows>, a_, plan_, what); });
    }

    /// Rows of the state that a warp keeps in registers; none of deeper states.
    struct row_count {
        int value;
        explicit row_count(index depth) : value(depth <= 64 ? 8 : depth <= 128 ? 16 : 0) {}
        operator int() const { return value; }
        bool none() const { return value == 0; }
    };

    template <class Body>
    void walk_all(Body const& body) const {
        switch (rows_) {
            case 8: return body.template operator()<8>();
            case 16: return body.template operator()<16>();
            default: return body.template operator()<0>();
        }
    }
    template <class Kernel, class... Arguments>
    void launch(char const* name, Kernel* kernel, Arguments const&... arguments) const {
        std::size_t const bytes = rows_.none() ? 0 : std::size_t(stage_) * sizeof(A);
        kernel<<<unsigned(units_ * a_.tiles), walk_threads, bytes, stream_>>>(arguments...);
        expect(name, cudaGetLastError());
    }

    index gates() const { return p_.what.per_channel() ? p_.depth : 1; }

    static constexpr int threads = 256;

    /// A thread for each item.
    void over(char const* name, void (*kernel)(adjoint_call<A>), index items) const {
        if (items == 0) return;
        kernel<<<unsigned((items + threads - 1) / threads), threads, 0, stream_>>>(a_);
        expect(name, cudaGetLastError());
    }
    /// A warp for each head of each token.
    void over_rows(char const* name, void (*kernel)(adjoint_call<A>), index heads) const {
        over(name, kernel, a_.tokens * heads * warp_size);
    }

    cudaStream_t stream_;
    tensors const& from_;
    detail::problem<A> const& p_;
    row_count rows_;
    index units_ = 0, stage_ = 0;
    layout bytes_;
    adjoint_call<A> a_{};
    walk_plan<A> plan_{};
};

}  // namespace rondo::inline RONDO_ISA::cuda
