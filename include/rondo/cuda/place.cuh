/// @file
/// The place.
#pragma once

#include <rondo/cuda/error.cuh>
#include <rondo/exec.hpp>

namespace rondo::inline RONDO_ISA::exec {

/// A stream of the current device. Views and states are of device memory; packed offsets stay in
/// host memory. Calls return at once: the work is ordered by the stream, may be captured in a
/// graph, and takes its scratch from the stream's pool (cuda::scratch_bytes).
///
/// Permutations (position::lrpe) stay in host memory, too.
///
/// 16-bit tensors whose channels are neighbours and whose rows begin at multiples of 16 bytes, with
///   up to 128 key channels, without weights by channel and update::delta up to 256, go through
///   tensor cores; everything else through a plain kernel.
/// Gradients of such tensors do, too, without normalize::sum, feature maps and paths: for none,
///   constant, scalar and additive decays, and for vector in one direction. Those by channel in one
///   direction ask for as many query heads as key heads, vector for no d_in and additive for no
///   states; the gradient of a log decay asks for those of q and k, for one direction, and for up
///   to 128 key and value channels. Those of update::delta ask for bfloat16, for none, constant or
///   scalar, for as many query heads as key heads and up to 128 channels. With fused positions they
///   are those of copies of q and k, turned back.
/// Accuracy, of the norm of the output in 16 bits: 3e-3; 4e-3 with weights by channel; 5e-3 with a
///   feature map, and 7e-3 with update::delta besides. float 1e-5 and double 1e-10 of the largest
///   output (tests/cuda). Gradients: 5e-3 of their norm in 16 bits, float 1e-4 and double 1e-9 of
///   the largest entry.
/// Errors: cuda_error names the call of the runtime that failed.
struct cuda {
    cudaStream_t stream = nullptr;
};

}  // namespace rondo::inline RONDO_ISA::exec
