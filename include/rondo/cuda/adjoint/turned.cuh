/// @file
/// Gradients of an operator with fused positions: those of one without, of copies mapped and
/// turned, which are then turned back and taken through the feature map.
#pragma once

#include <rondo/cuda/adjoint/call.cuh>
#include <rondo/cuda/adjoint/leave.cuh>
#include <rondo/cuda/turned.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// The sum of both halves of rows [.., 2 channels]; a thread takes one element.
template <class A>
__global__ void fold_halves(tensor const from, tensor const to, index batch, index length,
                            index heads, index channels) {
    index const item = index(blockIdx.x) * blockDim.x + threadIdx.x;
    index const d = item % channels, head = item / channels % heads;
    index const time = item / channels / heads % length, b = item / channels / heads / length;
    if (b >= batch) return;
    auto const part = [&](index e) {
        auto const* const row = from.data + b * from.batch + head * from.head + time * from.time;
        return load<A>(row + e * from.channel, from.kind);
    };
    auto* const row = to.data + b * to.batch + head * to.head + time * to.time;
    store<A>(row + d * to.channel, to.kind, part(d) + part(d + channels));
}

/// A warp takes one row of gradients by mapped channels, packed [.., channels], to those by x.
template <class A>
__global__ void leave_unmapped(feature_kind feature, tensor const x, tensor const d_mapped,
                               tensor const d_x, index rows, index length, index heads,
                               index channels) {
    warp_item const at(heads);
    if (at.row >= rows) return;
    auto const row = [&](tensor const& of) {
        return of.data + at.row / length * of.batch + at.head * of.head + at.row % length * of.time;
    };
    leave_mapped(feature, channels, row(x), x, reinterpret_cast<A const*>(row(d_mapped)), row(d_x),
                 d_x, at.lane);
}

/// One checked call, with gradients of the copies that are of element type `kind`.
template <class A>
class turned_adjoint {
    using operands = turned_operands<A>;
    using problem = detail::problem<A>;

public:
    turned_adjoint(cudaStream_t stream, detail::adjoint_problem<A> const& from, element kind)
        : stream_(stream),
          from_(from),
          p_(from.call),
          kind_(kind),
          inner_(planned()),
          bytes_(place(nowhere())) {}

    /// The call without positions; its copies and their gradients are not there yet.
    detail::adjoint_problem<A> const& inner() const { return inner_; }

    /// What this takes beside the call without positions.
    std::size_t scratch_bytes() const { return bytes_ + operands::scratch_bytes(p_, kind_); }

    /// run(the call without positions) computes its gradients.
    template <class Run>
    void operator()(Run const& run) {
        scratch const memory(stream_, bytes_);
        place(memory.template at<std::byte>(0));
        operands const copies(stream_, p_, kind_);
        inner_.call = copies.call();
        run(inner_);
        turn_back(copies, p_.q, inner_.d_q, mapped_q_, from_.d_q, p_.query_heads);
        turn_back(copies, p_.k, inner_.d_k, mapped_k_, from_.d_k, p_.heads);
        index const items = rows() * p_.heads * p_.channels();
        if (!folds() || items == 0) return;
        fold_halves<A><<<unsigned((items + threads - 1) / threads), threads, 0, stream_>>>(
            inner_.d_gate, from_.d_gate, operands::batch_of(p_), p_.length, p_.heads,
            p_.channels());
        expect("launch of fold_halves", cudaGetLastError());
    }

private:
    static constexpr unsigned threads = 256;

    index rows() const { return operands::batch_of(p_) * p_.length; }
    bool folds() const { return from_.wants_gate() && operands::doubles_gates(p_); }

    detail::adjoint_problem<A> planned() const {
        detail::adjoint_problem<A> result = from_;
        result.call = operands::planned(p_, kind_);
        return result;
    }

    /// Where gradients are while the call is planned: aligned as scratch is, and not null, which
    /// would be a gradient that is not wanted.
    static std::byte* nowhere() { return reinterpret_cast<std::byte*>(std::uintptr_t(4096)); }

    /// Puts the gradients into memory; returns how much they need.
    std::size_t place(std::byte* memory) {
        layout all;
        auto const take = [&](tensor& to, bool wanted, tensor const& like) {
            if (!wanted) return;
            to = like;
            to.data = memory + all.take(std::max<std::size_t>(operands::size_of(like, p_), 1));
        };
        element const wide = detail::element_traits<A>::kind;
        bool const maps = p_.what.feature != feature_kind::identity;
        bool const q = !from_.d_q.empty(), k = !from_.d_k.empty();
        take(inner_.d_q, q, operands::rows_of(p_, p_.query_heads, kind_));
        take(inner_.d_k, k, operands::rows_of(p_, p_.heads, kind_));
        take(inner_.d_gate, folds(), operands::rows_of(p_, p_.heads, kind_));
        take(mapped_q_, q && maps, operands::rows_of(p_, p_.query_heads, wide));
        take(mapped_k_, k && maps, operands::rows_of(p_, p_.heads, wide));
        return all.bytes;
    }

    void turn_back(operands const& copies, tensor const& x, tensor const& d_turned,
                   tensor const& d_mapped, tensor const& d_x, index heads) const {
        if (d_x.empty()) return;
        bool const maps = !d_mapped.empty();
        auto call = operands::call_of(p_, x, {}, heads);
        call.d_y = d_turned, call.d_x = maps ? d_mapped : d_x;
        turn_backward(stream_, call, detail::turn_request<A>{}, [&](turn_plan<A>& plan) {
            plan.offsets = p_.offsets.empty() ? nullptr : copies.offsets();
            plan.sequences = p_.sequences;
        });
        index const items = rows() * heads * warp_size;
        if (!maps || items == 0) return;
        leave_unmapped<A><<<unsigned((items + threads - 1) / threads), threads, 0, stream_>>>(
            p_.what.feature, x, d_mapped, d_x, rows(), p_.length, heads, p_.channels());
        expect("launch of leave_unmapped", cudaGetLastError());
    }

    cudaStream_t stream_;
    detail::adjoint_problem<A> const& from_;
    problem const& p_;
    element kind_;
    detail::adjoint_problem<A> inner_;
    tensor mapped_q_, mapped_k_;
    std::size_t bytes_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
