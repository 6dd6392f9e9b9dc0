/// @file
/// Single elements of the user's memory, and rows of channels that a warp maps.
#pragma once

#include <rondo/cuda/call.cuh>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace rondo::inline RONDO_ISA::cuda {

inline constexpr int warp_size = 32;

template <class A>
__device__ inline A load(std::byte const* from, element kind) {
    if constexpr (std::is_same_v<A, double>) {
        return *reinterpret_cast<double const*>(from);
    } else {
        if (kind == element::float32) return *reinterpret_cast<float const*>(from);
        if (kind == element::bfloat16) {
            return __bfloat162float(*reinterpret_cast<__nv_bfloat16 const*>(from));
        }
        return __half2float(*reinterpret_cast<__half const*>(from));
    }
}

template <class A>
__device__ inline void store(std::byte* to, element kind, A value) {
    if constexpr (std::is_same_v<A, double>) {
        *reinterpret_cast<double*>(to) = value;
    } else if (kind == element::float32) {
        *reinterpret_cast<float*>(to) = value;
    } else if (kind == element::bfloat16) {
        *reinterpret_cast<__nv_bfloat16*>(to) = __float2bfloat16(value);
    } else {
        *reinterpret_cast<__half*>(to) = __float2half(value);
    }
}

/// The sum over the lanes of a warp, in every lane.
template <class A>
__device__ inline A sum_of_warp(A x) {
    for (int step = warp_size / 2; step > 0; step /= 2) x += __shfl_xor_sync(~0U, x, step);
    return x;
}

/// A feature map of one channel; silu_half_unit still has to be divided by its norm.
template <class A>
__device__ inline A mapped(feature_kind feature, A x) {
    switch (feature) {
        case feature_kind::elu_plus_one: return x > A(0) ? x + A(1) : exp(x);
        case feature_kind::silu: return x / (A(1) + exp(-x));
        case feature_kind::exp: return exp(x);
        case feature_kind::relu: return x > A(0) ? x : A(0);
        case feature_kind::silu_half_unit: return x / (A(1) + exp(-x)) + A(0.5);
        default: return x;
    }
}

/// A warp loads one row of q or k and maps it.
template <class A>
__device__ inline void load_mapped(A* to, std::byte const* from, tensor const& x, int channels,
                                   feature_kind feature, int lane) {
    A squares = 0;
#pragma unroll 4
    for (int d = lane; d < channels; d += warp_size) {
        A const value = mapped(feature, x.ones ? A(1) : load<A>(from + d * x.channel, x.kind));
        squares += value * value;
        to[d] = value;
    }
    if (feature != feature_kind::silu_half_unit) return;
    A const inverse = A(1) / sqrt(sum_of_warp(squares));
    for (int d = lane; d < channels; d += warp_size) to[d] *= inverse;
}

}  // namespace rondo::inline RONDO_ISA::cuda
