/// @file
/// States that gradients begin and end with, on their way between what the user sees and what a
/// walk has: sums that are yet to be multiplied with the scale.
#pragma once

#include <rondo/cuda/call.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// to = factor * from; they may be the same.
static __global__ void scale_states(float const* from, float* to, index count, float factor) {
    index const item = index(blockIdx.x) * blockDim.x + threadIdx.x;
    if (item < count) to[item] = factor * from[item];
}

/// The same, of [count, rows, columns] with its axes exchanged.
static __global__ void transpose_states(float const* from, float* to, index count, index rows,
                                        index columns, float factor) {
    index const item = index(blockIdx.x) * blockDim.x + threadIdx.x;
    if (item >= count * rows * columns) return;
    index const block = item / (rows * columns), row = item / columns % rows;
    to[(block * columns + item % columns) * rows + row] = factor * from[item];
}

/// Those of one call.
class adjoint_states {
public:
    adjoint_states(cudaStream_t stream, detail::problem<float> const& p)
        : stream_(stream), heads_(p.sequences * p.heads), depth_(p.depth), width_(p.width) {}

    index size() const { return heads_ * depth_ * width_; }

    void scale(float const* from, float* to, float factor) const {
        if (size() == 0 || (from == to && factor == 1)) return;
        scale_states<<<blocks(), threads, 0, stream_>>>(from, to, size(), factor);
        expect("launch of scale_states", cudaGetLastError());
    }
    void transpose(float const* from, float* to, float factor) const {
        if (size() == 0) return;
        transpose_states<<<blocks(), threads, 0, stream_>>>(from, to, heads_, depth_, width_,
                                                            factor);
        expect("launch of transpose_states", cudaGetLastError());
    }

private:
    static constexpr int threads = 256;
    unsigned blocks() const { return unsigned((size() + threads - 1) / threads); }

    cudaStream_t stream_;
    index heads_, depth_, width_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
