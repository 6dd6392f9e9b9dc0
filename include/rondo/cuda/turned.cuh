/// @file
/// Fused positions: copies of the queries and keys, mapped and turned, for kernels that know
/// neither.
#pragma once

#include <rondo/cuda/chunk_launch.cuh>
#include <rondo/cuda/positions.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// The operands of a call whose tokens stand somewhere. The copies last as long as this.
template <class A>
class turned_operands {
public:
    turned_operands(cudaStream_t stream, detail::problem<A> const& from)
        : call_(planned(from)), memory_(stream, copied_bytes(from)) {
        if (from.depth * from.length == 0) return;
        layout bytes;
        call_.q.data = memory_.at<std::byte>(bytes.take(size_of(call_.q, from)));
        call_.k.data = memory_.at<std::byte>(bytes.take(size_of(call_.k, from)));
        index* const offsets = memory_.at<index>(bytes.take(from.offsets.size_bytes()));
        if (!from.offsets.empty()) {
            upload(stream, from.offsets.data(), from.offsets.size_bytes(), offsets);
        }
        turn(stream, from, from.q, call_.q, from.query_heads, offsets);
        turn(stream, from, from.k, call_.k, from.heads, offsets);
    }

    detail::problem<A> const& call() const { return call_; }

    /// The call on the copies, before there are any. They are rounded to 16 bits only where a
    /// kernel takes them so.
    static detail::problem<A> planned(detail::problem<A> const& from) {
        detail::problem<A> result = from;
        result.what.turned = false;
        result.what.feature = feature_kind::identity;
        auto const plan = [&](element kind) {
            result.q = rows_of(from, from.query_heads, kind);
            result.k = rows_of(from, from.heads, kind);
        };
        plan(from.o.kind);
        if constexpr (std::is_same_v<A, float>) {
            if (!chunks_fast(result)) plan(element::float32);
        }
        return result;
    }

    /// Bytes of the copies, and of what making them takes.
    static std::size_t scratch_bytes(detail::problem<A> const& from) {
        return copied_bytes(from) + std::max(turn_bytes(from, from.q, from.query_heads),
                                             turn_bytes(from, from.k, from.heads));
    }

private:
    static std::size_t copied_bytes(detail::problem<A> const& from) {
        auto const call = planned(from);
        layout bytes;
        bytes.take(size_of(call.q, from));
        bytes.take(size_of(call.k, from));
        bytes.take(from.offsets.size_bytes());
        return bytes.bytes;
    }

    static index batch_of(detail::problem<A> const& p) {
        return p.offsets.empty() ? p.sequences : 1;
    }

    /// [batch, time, head, channel]
    static tensor rows_of(detail::problem<A> const& p, index heads, element kind) {
        index const row = p.depth * detail::element_size(kind);
        return {nullptr,     p.length * heads * row,     row,
                heads * row, detail::element_size(kind), kind};
    }
    static std::size_t size_of(tensor const& x, detail::problem<A> const& p) {
        return std::size_t(batch_of(p) * x.batch);
    }

    static detail::turn_call<A> call_of(detail::problem<A> const& p, tensor const& from,
                                        tensor const& to, index heads) {
        detail::turn_call<A> call;
        call.places = p.places;
        call.x = from, call.y = to;
        call.batch = batch_of(p), call.heads = heads;
        call.length = p.length, call.channels = p.depth;
        call.base = p.base;
        return call;
    }

    /// What the turn itself needs, while it runs.
    static std::size_t turn_bytes(detail::problem<A> const& p, tensor const& from, index heads) {
        auto const call = call_of(p, from, from, heads);
        auto plan = plan_of(call);
        plan.feature = p.what.feature;
        layout bytes;
        bytes.take(std::size_t(call.block()) * sizeof(double));
        bytes.take(turn_launch<A>(plan).scratch_bytes());
        return bytes.bytes;
    }

    static void turn(cudaStream_t stream, detail::problem<A> const& p, tensor const& from,
                     tensor const& to, index heads, index const* offsets) {
        auto const call = call_of(p, from, to, heads);
        turn_forward(stream, call, detail::turn_request<A>{}, [&](turn_plan<A>& plan) {
            plan.feature = p.what.feature;
            plan.offsets = p.offsets.empty() ? nullptr : offsets;
            plan.sequences = p.sequences;
        });
    }

    detail::problem<A> call_;
    scratch memory_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
