/// @file
/// The place: where an operator's checked call meets its kernels.
#pragma once

#include <rondo/attention.hpp>
#include <rondo/cuda/adjoint/delta.cuh>
#include <rondo/cuda/adjoint/delta_channels.cuh>
#include <rondo/cuda/adjoint/prefix.cuh>
#include <rondo/cuda/adjoint/token.cuh>
#include <rondo/cuda/adjoint/total.cuh>
#include <rondo/cuda/adjoint/turned.cuh>
#include <rondo/cuda/both_launch.cuh>
#include <rondo/cuda/generic.cuh>
#include <rondo/cuda/place.cuh>
#include <rondo/cuda/step.cuh>
#include <rondo/cuda/turned.cuh>

namespace rondo::inline RONDO_ISA {
namespace cuda {

/// The generic kernel's launch for a call.
template <class A>
inline generic_launch<A> generic_launch_of(detail::problem<A> const& p) {
    return {p.depth, p.what.per_channel() ? p.depth : 1, p.sequences * p.query_heads, p.width};
}

/// Computes a checked call; kernels are compiled once for each accumulator type, not for each
/// operator.
template <class A>
inline void forward(cudaStream_t stream, detail::problem<A> const& from) {
    if (from.sequences * from.query_heads == 0) return;
    if (from.what.turned) return forward(stream, turned_operands<A>(stream, from).call());
    if constexpr (std::is_same_v<A, float>) {
        if (chunks_fast(from)) {
            if (both_suit(from)) {
                return with_both(stream, from, [](auto const& launch) { launch(); });
            }
            return with_chunk_shape(from, [&]<class Shape>(Shape) {
                chunk_launch<Shape> const launch(stream, from);
                launch(from);
            });
        }
    }
    auto const launch = generic_launch_of(from);
    prepared<A> ready(stream, from, launch.tiles());
    ready.for_each_launch([&](call<A> const& c) { launch(stream, c); });
}

/// Bytes of device memory that `forward` takes from the stream's pool for a checked call.
template <class A>
inline std::size_t forward_scratch(detail::problem<A> const& from) {
    std::size_t bytes = 0;
    if (from.sequences * from.query_heads == 0) return bytes;
    if (from.what.turned) {
        return turned_operands<A>::scratch_bytes(from) +
               forward_scratch(turned_operands<A>::planned(from));
    }
    if constexpr (std::is_same_v<A, float>) {
        if (chunks_fast(from)) {
            if (both_suit(from)) {
                with_both(nullptr, from, [&](auto const& x) { bytes = x.scratch_bytes(); });
                return bytes;
            }
            with_chunk_shape(from, [&]<class Shape>(Shape) {
                bytes = chunk_launch<Shape>(nullptr, from).scratch_bytes(from);
            });
            return bytes;
        }
    }
    auto const launch = generic_launch_of(from);
    return prepared<A>::scratch_bytes(from, launch.tiles()) + launch.scratch_bytes();
}

/// Bytes of device memory that a call of `forward` takes from the stream's pool: nothing, but for
/// outputs that several passes add up to, states between the chunks of both directions of decays by
/// token, sequences that several blocks share, tables (packed offsets), a state that is handed in
/// and out in place, and very wide channels.
/// Errors: shape_error as forward; cuda_error without a device.
template <detail::composition What, class T>
inline std::size_t scratch_bytes(
    attention_t<What> const&, std::type_identity_t<inputs<What, accumulator_t<T>>> const& in,
    view<T, 4> const& o,
    std::type_identity_t<detail::options_of<What, accumulator_t<T>>> const& with = {}) {
    auto call = detail::check_call<What, T, false>("attention", in, o, with);
    detail::take_places<What>("attention", call, with.at);
    auto passes = detail::passes_of(What);
    std::span<detail::pass> const used(passes.items.data(), passes.count);
    detail::merge(used);
    call.passes = used;
    return forward_scratch(call);
}

/// Moves the states of a checked call past one token.
template <class A>
inline void step(cudaStream_t stream, detail::problem<A> from) {
    if (from.sequences * from.heads == 0) return;
    if (from.what.turned) return step(stream, turned_operands<A>(stream, from).call());
    pass const one{};
    from.in = from.out;
    from.passes = std::span<pass const>(&one, 1);
    if constexpr (std::is_same_v<A, float>) {
        if (steps_fast(from)) return launch_step(stream, prepared<A>::plain(from));
    }
    forward(stream, from);
}

/// visit(the kernels that take a checked call of `backward`)
template <class A, class Visit>
inline void with_adjoint(cudaStream_t stream, detail::adjoint_problem<A> const& from,
                         Visit const& visit) {
    if constexpr (std::is_same_v<A, float>) {
        if (token_adjoint x(stream, from); x.fits()) return visit(x);
        if (mirrored_adjoint x(stream, from); x.fits()) return visit(x);
        if (total_adjoint x(stream, from); x.fits()) return visit(x);
        if (window_adjoint x(stream, from); x.fits()) return visit(x);
        if (channel_adjoint x(stream, from); x.fits()) return visit(x);
        if (prefix_adjoint x(stream, from); x.fits()) return visit(x);
        if (delta_adjoint x(stream, from); x.fits()) return visit(x);
        if (delta_channel_adjoint x(stream, from); x.fits()) return visit(x);
    }
    generic_adjoint<A> x(stream, from);
    visit(x);
}

/// visit(the call on turned copies) of a call with fused positions. They are rounded to 16 bits
/// only where tensor cores take them.
template <class A, class Visit>
inline void with_turned(cudaStream_t stream, detail::adjoint_problem<A> const& from,
                        Visit const& visit) {
    element const wide = detail::element_traits<A>::kind, given = from.call.o.kind;
    if (given != wide) {
        turned_adjoint<A> rounded(stream, from, given);
        bool tiles = false;
        with_adjoint(stream, rounded.inner(), [&]<class Kernels>(Kernels&) {
            tiles = !std::is_same_v<Kernels, generic_adjoint<A>>;
        });
        if (tiles) return visit(rounded);
    }
    turned_adjoint<A> exact(stream, from, wide);
    visit(exact);
}

/// Computes a checked call of `backward`.
template <class A>
inline void backward(cudaStream_t stream, detail::adjoint_problem<A> const& from) {
    if (from.call.sequences * from.call.query_heads == 0) return;
    auto const run = [&](detail::adjoint_problem<A> const& call) {
        with_adjoint(stream, call, [](auto& kernels) { kernels(); });
    };
    if (!from.call.what.turned) return run(from);
    with_turned(stream, from, [&](turned_adjoint<A>& turned) { turned(run); });
}

/// Bytes of device memory that `backward` takes from the stream's pool for a checked call.
template <class A>
inline std::size_t backward_scratch(detail::adjoint_problem<A> const& from) {
    std::size_t bytes = 0;
    if (from.call.sequences * from.call.query_heads == 0) return bytes;
    auto const add = [&](detail::adjoint_problem<A> const& call) {
        with_adjoint(nullptr, call, [&](auto& kernels) { bytes += kernels.scratch_bytes(); });
    };
    if (from.call.what.turned) {
        with_turned(nullptr, from, [&](turned_adjoint<A>& turned) {
            bytes = turned.scratch_bytes();
            add(turned.inner());
        });
    } else {
        add(from);
    }
    return bytes;
}

/// Bytes of device memory that a call of `backward` takes from the stream's pool, at its fullest.
/// Errors: shape_error as backward; cuda_error without a device.
template <detail::composition What, class T>
inline std::size_t scratch_bytes(
    attention_t<What> const&, std::type_identity_t<inputs<What, accumulator_t<T>>> const& in,
    view<T, 4> const& d_o, std::type_identity_t<gradients<What, accumulator_t<T>>> const& to,
    std::type_identity_t<detail::gradient_options_of<What, accumulator_t<T>>> const& with = {}) {
    using A = accumulator_t<T>;
    auto from = detail::check_backward<What, A>("attention backward", in,
                                                detail::operand<A, 4>(d_o), to, with);
    detail::take_places<What>("attention backward", from.call, with.at);
    auto const passes = detail::passes_of(What);
    from.call.passes = {passes.items.data(), passes.count};
    return backward_scratch(from);
}

}  // namespace cuda

namespace exec {

template <detail::composition What, class A>
inline void run_on(cuda const& place, detail::composition_constant<What>,
                   detail::problem<A> const& from) {
    rondo::cuda::forward(place.stream, from);
}
template <detail::composition What, class A>
inline void run_backward_on(cuda const& place, detail::composition_constant<What>,
                            detail::adjoint_problem<A> const& from) {
    rondo::cuda::backward(place.stream, from);
}
template <detail::composition What, class A>
inline void step_on(cuda const& place, detail::composition_constant<What>,
                    detail::problem<A> const& from) {
    rondo::cuda::step(place.stream, from);
}

}  // namespace exec
}  // namespace rondo::inline RONDO_ISA
