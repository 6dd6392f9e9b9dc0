/// @file
/// Walks that only write, and keep the state in front of each chunk.
#pragma once

#include <rondo/cuda/chunk_launch.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// Two walks at a time, of which neither fills the chip.
struct walk_pair {
    call<float> c[2];
    chunk_plan plan[2];
};
template <class Shape>
__global__ void __launch_bounds__(Shape::threads, Shape::depth > 64 ? resident_blocks<Shape> : 4)
    walk_two(walk_pair const __grid_constant__ w) {
    extern __shared__ __align__(1024) char chunk_shared[];
    unsigned const blocks = gridDim.x / 2, which = blockIdx.x >= blocks ? 1 : 0;
    walk_chunks<Shape>(w.c[which], w.plan[which], blockIdx.x - which * blocks, chunk_shared);
}

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

    /// This walk and another one over as many tokens and channels.
    void with(std::byte* to, kept_states const& other, std::byte* others_to) const {
        problem const calls[2] = {walked(), other.walked()};
        chunk_keep const keep[2] = {{to, slots_, back_}, {others_to, slots_, other.back_}};
        with_shape([&]<class Shape>(Shape) {
            chunk_launch<Shape> const cut(stream_, calls[0], 2);
            std::size_t const records = cut.record_bytes();
            scratch const memory(stream_, 2 * records);
            prepared<float> one(stream_, calls[0], 1), two(stream_, calls[1], 1);
            walk_pair w{};
            one.for_each_launch([&](call<float> const& c) { w.c[0] = c; });
            two.for_each_launch([&](call<float> const& c) { w.c[1] = c; });
            auto const run = [&](bool starts, bool leaves) {
                for (int i = 0; i < 2; ++i) {
                    auto* const own = memory.at<float>(std::size_t(i) * records);
                    w.plan[i] =
                        cut.plan(records == 0 ? nullptr : own, starts, leaves, {.keep = keep[i]});
                }
                launch<Shape>(w, 2 * cut.blocks_of(w.plan[0]));
            };
            if (records > 0) {
                run(false, true);
                for (int i = 0; i < 2; ++i) cut.join(w.c[i], w.plan[i].records, false);
            }
            run(records > 0, false);
        });
    }
    /// Bytes of device memory besides the states, of two walks.
    std::size_t scratch_bytes_of_two() const {
        std::size_t bytes = 0;
        problem const call = walked();
        with_shape([&]<class Shape>(Shape) {
            chunk_launch<Shape> const cut(nullptr, call, 2);
            bytes = 2 * (cut.record_bytes() + prepared<float>::scratch_bytes(call, 1));
        });
        return bytes;
    }

private:
    template <class Shape>
    void launch(walk_pair const& w, unsigned blocks) const {
        constexpr int bytes = chunk_shared_bytes<Shape>(false);
        auto* const kernel = walk_two<Shape>;
        expect("cudaFuncSetAttribute",
               cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
        kernel<<<blocks, Shape::threads, bytes, stream_>>>(w);
        expect("launch of walk_two", cudaGetLastError());
    }

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
