/// @file
/// The place: where an operator's checked call meets its kernels.
#pragma once

#include <rondo/attention.hpp>
#include <rondo/cuda/chunk_launch.cuh>
#include <rondo/cuda/generic.cuh>
#include <rondo/cuda/step.cuh>

namespace rondo::inline RONDO_ISA {
namespace exec {

/// A stream of the current device. Views are of device memory; packed offsets stay in host memory.
/// Calls return at once: the work is ordered by the stream, may be captured in a graph, and takes
/// its scratch from the stream's pool. Errors of the runtime are cuda_error.
struct cuda {
    cudaStream_t stream = nullptr;
};

}  // namespace exec

namespace cuda {

/// Computes a checked call; kernels are compiled once for each accumulator type, not for each
/// operator.
template <class A>
inline void forward(cudaStream_t stream, detail::problem<A> const& from) {
    index const units = from.sequences * from.query_heads;
    if (units == 0) return;
    if constexpr (std::is_same_v<A, float>) {
        if (chunks_fast(from)) {
            return from.o.kind == element::bfloat16 ? launch_chunks<__nv_bfloat16>(stream, from)
                                                    : launch_chunks<__half>(stream, from);
        }
    }
    index const gates = from.what.per_channel() ? from.depth : 1;
    generic_launch<A> const launch(from.depth, gates, units, from.width);
    prepared<A> ready(stream, from, launch.tiles());
    ready.for_each_launch([&](call<A> const& c) { launch(stream, c); });
}

/// Moves the states of a checked call past one token.
template <class A>
inline void step(cudaStream_t stream, detail::problem<A> from) {
    if (from.sequences * from.heads == 0) return;
    pass const one{};
    from.in = from.out;
    from.passes = std::span<pass const>(&one, 1);
    if constexpr (std::is_same_v<A, float>) {
        if (steps_fast(from)) return launch_step(stream, prepared<A>::plain(from));
    }
    forward(stream, from);
}

}  // namespace cuda

namespace exec {

template <detail::composition What, class A>
inline void run_on(cuda const& place, detail::composition_constant<What>,
                   detail::problem<A> const& from) {
    rondo::cuda::forward(place.stream, from);
}
template <detail::composition What, class A>
inline void step_on(cuda const& place, detail::composition_constant<What>,
                    detail::problem<A> const& from) {
    rondo::cuda::step(place.stream, from);
}

}  // namespace exec
}  // namespace rondo::inline RONDO_ISA
