/// @file
/// Fused positions: copies of the queries and keys, mapped and turned, for kernels that know
/// neither, and of gates by channel where a turn makes two channels of one.
#pragma once

#include <rondo/cuda/chunk_launch.cuh>
#include <rondo/cuda/positions.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// Rows [.., channels] to rows that hold them twice; a thread takes one element.
template <class A>
__global__ void double_rows(tensor const from, tensor const to, index batch, index length,
                            index heads, index channels) {
    index const item = index(blockIdx.x) * blockDim.x + threadIdx.x;
    index const d = item % channels, head = item / channels % heads;
    index const time = item / channels / heads % length, b = item / channels / heads / length;
    if (b >= batch) return;
    auto const place = [&](tensor const& x) {
        return x.data + b * x.batch + head * x.head + time * x.time;
    };
    A const value = load<A>(place(from) + d * from.channel, from.kind);
    store<A>(place(to) + d * to.channel, to.kind, value);
    store<A>(place(to) + (d + channels) * to.channel, to.kind, value);
}

/// The operands of a call whose tokens stand somewhere. The copies last as long as this.
template <class A>
class turned_operands {
public:
    turned_operands(cudaStream_t stream, detail::problem<A> const& from)
        : turned_operands(stream, from, kind_of(from)) {}
    turned_operands(cudaStream_t stream, detail::problem<A> const& from, element kind)
        : call_(planned(from, kind)), memory_(stream, copied_bytes(from, kind)) {
        if (from.depth * from.length == 0) return;
        layout bytes;
        call_.q.data = memory_.at<std::byte>(bytes.take(size_of(call_.q, from)));
        call_.k.data = memory_.at<std::byte>(bytes.take(size_of(call_.k, from)));
        if (doubles_gates(from)) {
            call_.gate.data = memory_.at<std::byte>(bytes.take(size_of(call_.gate, from)));
            double_gates(stream, from);
        }
        offsets_ = memory_.at<index>(bytes.take(from.offsets.size_bytes()));
        if (!from.offsets.empty()) {
            upload(stream, from.offsets.data(), from.offsets.size_bytes(), offsets_);
        }
        turn(stream, from, from.q, call_.q, from.query_heads);
        turn(stream, from, from.k, call_.k, from.heads);
    }

    detail::problem<A> const& call() const { return call_; }
    /// The offsets of packed sequences on the device.
    index const* offsets() const { return offsets_; }

    /// The call on the copies, before there are any.
    static detail::problem<A> planned(detail::problem<A> const& from, element kind) {
        detail::problem<A> result = from;
        result.what.turned = false;
        result.what.turned_as = turn_kind::interleaved;
        result.what.feature = feature_kind::identity;
        result.q = rows_of(from, from.query_heads, kind);
        result.k = rows_of(from, from.heads, kind);
        if (doubles_gates(from)) result.gate = rows_of(from, from.heads, from.gate.kind);
        return result;
    }
    static detail::problem<A> planned(detail::problem<A> const& from) {
        return planned(from, kind_of(from));
    }

    /// Bytes of the copies, and of what making them takes.
    static std::size_t scratch_bytes(detail::problem<A> const& from) {
        return scratch_bytes(from, kind_of(from));
    }
    static std::size_t scratch_bytes(detail::problem<A> const& from, element kind) {
        return copied_bytes(from, kind) + std::max(turn_bytes(from, from.q, from.query_heads),
                                                   turn_bytes(from, from.k, from.heads));
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
        call.kind = p.what.turned_as;
        call.places = p.places;
        call.x = from, call.y = to;
        call.batch = batch_of(p), call.heads = heads;
        call.length = p.length, call.channels = p.channels();
        call.base = p.base;
        return call;
    }
    static bool doubles_gates(detail::problem<A> const& p) {
        return p.what.per_channel() && p.channels() != p.depth;
    }

private:
    /// Copies are rounded to 16 bits only where a kernel takes them so.
    static element kind_of(detail::problem<A> const& from) {
        if constexpr (std::is_same_v<A, float>) {
            if (chunks_fast(planned(from, from.o.kind))) return from.o.kind;
        }
        return detail::element_traits<A>::kind;
    }

    static std::size_t copied_bytes(detail::problem<A> const& from, element kind) {
        auto const call = planned(from, kind);
        layout bytes;
        bytes.take(size_of(call.q, from));
        bytes.take(size_of(call.k, from));
        if (doubles_gates(from)) bytes.take(size_of(call.gate, from));
        bytes.take(from.offsets.size_bytes());
        return bytes.bytes;
    }

    /// A channel's gate counts for both that a turn makes of it.
    void double_gates(cudaStream_t stream, detail::problem<A> const& p) const {
        constexpr index threads = 256;
        index const items = batch_of(p) * p.length * p.heads * p.channels();
        if (items == 0) return;
        double_rows<A><<<unsigned((items + threads - 1) / threads), unsigned(threads), 0, stream>>>(
            p.gate, call_.gate, batch_of(p), p.length, p.heads, p.channels());
        expect("launch of double_rows", cudaGetLastError());
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

    void turn(cudaStream_t stream, detail::problem<A> const& p, tensor const& from,
              tensor const& to, index heads) const {
        auto const call = call_of(p, from, to, heads);
        turn_forward(stream, call, detail::turn_request<A>{}, [&](turn_plan<A>& plan) {
            plan.feature = p.what.feature;
            plan.offsets = p.offsets.empty() ? nullptr : offsets_;
            plan.sequences = p.sequences;
        });
    }

    detail::problem<A> call_;
    scratch memory_;
    index* offsets_ = nullptr;
};

}  // namespace rondo::inline RONDO_ISA::cuda
