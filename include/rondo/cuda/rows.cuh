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

/// An element as it lies in memory: loads that do not wait for their conversion may all be under
/// way at once.
template <class A>
using raw_element = std::conditional_t<std::is_same_v<A, double>, double, unsigned>;

template <class A>
__device__ inline raw_element<A> load_raw(std::byte const* from, element kind) {
    if constexpr (std::is_same_v<A, double>) {
        return *reinterpret_cast<double const*>(from);
    } else {
        return kind == element::float32 ? *reinterpret_cast<unsigned const*>(from)
                                        : *reinterpret_cast<unsigned short const*>(from);
    }
}
template <class A>
__device__ inline A widen(raw_element<A> raw, element kind) {
    if constexpr (std::is_same_v<A, double>) {
        return raw;
    } else {
        float const half = __half2float(__ushort_as_half(static_cast<unsigned short>(raw)));
        return kind == element::float16
                   ? half
                   : __uint_as_float(kind == element::float32 ? raw : raw << 16);
    }
}

/// The sum over the lanes of a warp, in every lane.
template <class A>
__device__ inline A sum_of_warp(A x) {
    for (int step = warp_size / 2; step > 0; step /= 2) x += __shfl_xor_sync(~0U, x, step);
    return x;
}

/// The sum over four neighbouring lanes, in each of them.
__device__ inline float sum_of_quad(float x) {
    x += __shfl_xor_sync(~0U, x, 1);
    return x + __shfl_xor_sync(~0U, x, 2);
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

/// body(r, d) for the channels d that belong to a lane; with Rows > 0 there are at most as many,
/// and r is known to the compiler.
template <int Rows, class Body>
__device__ inline void for_channels(int channels, int lane, Body const& body) {
    if constexpr (Rows > 0) {
#pragma unroll
        for (int r = 0; r < Rows; ++r) {
            if (lane + r * warp_size < channels) body(r, lane + r * warp_size);
        }
    } else {
        for (int d = lane; d < channels; d += warp_size) body(0, d);
    }
}

/// A warp maps one row of q or k, whose channel d is value(r, d).
template <int Rows, class A, class Value>
__device__ inline void put_mapped(A* to, int channels, feature_kind feature, int lane,
                                  Value const& value) {
    A squares = 0;
    for_channels<Rows>(channels, lane, [&](int r, int d) {
        A const x = mapped(feature, value(r, d));
        squares += x * x;
        to[d] = x;
    });
    if (feature != feature_kind::silu_half_unit) return;
    A const inverse = A(1) / sqrt(sum_of_warp(squares));
    for_channels<Rows>(channels, lane, [&](int, int d) { to[d] *= inverse; });
}

/// The same from memory.
template <class A>
__device__ inline void load_mapped(A* to, std::byte const* from, tensor const& x, int channels,
                                   feature_kind feature, int lane) {
    put_mapped<0>(to, channels, feature, lane, [&](int, int d) {
        return x.ones ? A(1) : load<A>(from + d * x.channel, x.kind);
    });
}

}  // namespace rondo::inline RONDO_ISA::cuda
