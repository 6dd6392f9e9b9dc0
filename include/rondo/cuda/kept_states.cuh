/// @file
/// Walks that only write, and keep the state in front of each chunk.
#pragma once

#include <rondo/cuda/chunk_launch.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// visit(the shape of a walk that keeps its states)
template <class T, class Visit>
inline void with_keeping_decay(detail::problem<float> const& p, Visit const& visit) {
    if (p.what.per_channel()) {
        if constexpr (std::is_same_v<T, __nv_bfloat16>) {
            with_extents<T, weighing::channel, false, keeping::alone>(p, visit);
        }
    } else if (p.what.gated()) {
        with_extents<T, weighing::token, false, keeping::alone>(p, visit);
    } else {
        with_extents<T, weighing::none, false, keeping::alone>(p, visit);
    }
}

/// The walk over the keys and values of a call, from the state `in` to `out`. Every value counts
/// `scale` times. The call's one pass is that of the walk forwards; a walk back makes of queries
/// in the place of keys and gradients of outputs in the place of values the gradients of states.
class kept_states {
    using problem = detail::problem<float>;

public:
    kept_states(cudaStream_t stream, problem const& p, bool back = false)
        : stream_(stream), p_(p), how_(p.passes[0]), back_(back) {
        how_.read = how_.strict = how_.accumulate = false;
        how_.reversed = how_.reversed != back;
        p_.what.on_write = p.what.on_write != back;
        p_.query_heads = p.heads;
        with_shape([&]<class Shape>(Shape) {
            columns_ = (p.width + Shape::width - 1) / Shape::width * Shape::width;
            depth_ = Shape::depth;
            slots_ = chunk_slots::slots_of(p.sequences, p.length, !p.offsets.empty(), Shape::rows);
        });
    }

    /// Slots of a head, and columns and channels of a state as they lie in memory.
    index slots() const { return slots_; }
    index columns() const { return columns_; }
    index depth() const { return depth_; }
    std::size_t bytes() const { return std::size_t(p_.heads * slots_ * columns_ * depth_) * 2; }

    /// Bytes of device memory besides the states.
    std::size_t scratch_bytes() const {
        std::size_t bytes = 0;
        problem const call = walked();
        with_shape([&]<class Shape>(Shape) {
            bytes = chunk_launch<Shape>(nullptr, call).scratch_bytes(call);
        });
        return bytes;
    }

    void operator()(std::byte* to) const {
        problem const call = walked();
        with_shape([&]<class Shape>(Shape) {
            chunk_launch<Shape>(stream_, call)(call, {.keep = {to, slots_, back_}});
        });
    }

private:
    problem walked() const {
        problem call = p_;
        call.passes = std::span<pass const>(&how_, 1);
        return call;
    }
    template <class Visit>
    void with_shape(Visit const& visit) const {
        p_.v.kind == element::bfloat16 ? with_keeping_decay<__nv_bfloat16>(p_, visit)
                                       : with_keeping_decay<__half>(p_, visit);
    }

    cudaStream_t stream_;
    problem p_;
    pass how_;
    bool back_;
    index slots_ = 0, columns_ = 0, depth_ = 0;
};

}  // namespace rondo::inline RONDO_ISA::cuda
