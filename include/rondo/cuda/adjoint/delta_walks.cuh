/// @file
/// Both walks of a delta update's gradients at once, long ones in segments.
#pragma once

#include <rondo/cuda/adjoint/delta_walk.cuh>
#include <rondo/cuda/chunk_launch.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// Block `number` of a walk.
template <class Shape, bool Back>
__device__ inline void walk_segment(delta_call const& w, chunk_plan const& plan, unsigned number,
                                    char* shared, float* record) {
    index const segment = number % plan.segments, part = number / plan.segments;
    index const tile = part % plan.tiles, unit = part / plan.tiles;
    // No segment starts from what the last one leaves.
    if (plan.leaves && segment + 1 == plan.segments) return;
    location const where(w.c, unit / w.c.heads, unit % w.c.heads);
    chunk_block<Shape> const block(w.c, where, tile * Shape::width, plan.tiles, shared);
    delta_walker<Shape, Back>(w, plan, block, shared, record).run(int(segment));
}

/// What a walk back by channel loads needs all of a multiprocessor's memory.
template <class Back>
inline constexpr int resident_walks = Back::weigh == weighing::channel&& Back::depth > 64 ? 1 : 2;

/// Half of the blocks walk forwards, half back.
template <class Forth, class Back>
__global__ void __launch_bounds__(Forth::threads, (resident_walks<Back>))
    walk_delta(delta_call const __grid_constant__ w, chunk_plan const __grid_constant__ plan) {
    extern __shared__ __align__(1024) char delta_shared[];
    static_assert(chunk_record<Forth>::size == chunk_record<Back>::size);
    unsigned const blocks = gridDim.x / 2, number = blockIdx.x % blocks;
    float* const record = plan.records == nullptr
                              ? nullptr
                              : plan.records + index(blockIdx.x) * chunk_record<Forth>::size;
    if (blockIdx.x < blocks) {
        walk_segment<Forth, false>(w, plan, number, delta_shared, record);
    } else {
        walk_segment<Back, true>(w, plan, number, delta_shared, record);
    }
}

/// The walks of one call, of the shapes forwards and back.
///
/// Scratch: where segments share a sequence, three states or so of each of them in float.
template <class Forth, class Back>
class delta_walks {
    using record = chunk_record<Forth>;

public:
    delta_walks(cudaStream_t stream, detail::problem<float> const& p) : stream_(stream) {
        tiles_ = (p.width + Forth::width - 1) / Forth::width;
        units_ = 2 * p.sequences * p.heads;
        if (p.offsets.empty()) segments_ = segments_of(units_ * tiles_, p.length, 1);
        if (segments_ < least_delta_segments) segments_ = 1;
        index const chunks = (p.length + Forth::rows - 1) / Forth::rows;
        each_ = std::max<index>((chunks + segments_ - 1) / segments_, 1);
        if (segments_ > 1) segments_ = (chunks + each_ - 1) / each_;
    }

    /// Of what segments leave, and of what they start from.
    std::size_t bytes() const {
        return segments_ == 1 ? 0 : size_of(2 * tiles_ + transition_tiles<Forth>);
    }

    /// `factor`: of the gradient of the state behind all tokens.
    void operator()(delta_call const& w, float factor) const {
        scratch const memory(stream_, bytes());
        chunk_plan plan{tiles_, int(segments_), int(each_ * Forth::rows)};
        if (segments_ > 1) {
            chunk_plan left = plan;
            left.tiles += transition_tiles<Forth>;
            left.records = memory.at<float>(0), left.leaves = true;
            plan.records = memory.at<float>(size_of(left.tiles)), plan.starts = true;
            launch(w, left);
            join(w.c, left, plan.records, 1);
            call<float> back = w.c;
            back.in = w.d_out;
            left.records += size_of(left.tiles) / sizeof(float) / 2;
            join(back, left, plan.records + size_of(tiles_) / sizeof(float) / 2, factor);
        }
        launch(w, plan);
    }

private:
    /// Of the records of so many tiles.
    std::size_t size_of(index tiles) const {
        return std::size_t(units_ * tiles * segments_) * record::size * sizeof(float);
    }
    void launch(delta_call const& w, chunk_plan const& plan) const {
        constexpr int bytes =
            std::max(chunk_shared_bytes<Forth>(false), chunk_shared_bytes<Back>(false));
        auto* const kernel = walk_delta<Forth, Back>;
        expect("cudaFuncSetAttribute",
               cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
        unsigned const blocks = unsigned(units_ * plan.tiles * segments_);
        kernel<<<blocks, Forth::threads, bytes, stream_>>>(w, plan);
        expect("launch of walk_delta", cudaGetLastError());
    }
    void join(call<float> const& c, chunk_plan const& left, float* to, float factor) const {
        dim3 const grid(unsigned(units_ / 2 * tiles_), unsigned(Forth::warps));
        join_transitions<Forth><<<grid, transition_threads, 0, stream_>>>(c, left, to, factor);
        expect("launch of join_transitions", cudaGetLastError());
    }

    cudaStream_t stream_;
    index tiles_, units_, segments_ = 1, each_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
