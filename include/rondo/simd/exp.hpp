/// @file
/// The exponential of a pack. e^x = 2^n e^r with n = round(x / ln 2) and |r| <= ln 2 / 2, e^r by
/// the polynomial 1 + r + ... of least relative error: 3e-9 with degree 6 for float, 4e-18 with
/// degree 11 for double.
///
/// Accuracy: 2 units in the last place (tests/unit/exp.cpp). Results below about the smallest
/// normal number are 0, since a subnormal weight says nothing and costs a hundred cycles; NaN stays
/// NaN.
#pragma once

#include <rondo/simd/lanes.hpp>

#include <array>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace rondo::inline RONDO_ISA::detail {

template <class A>
struct exp_constants;

template <>
struct exp_constants<float> {
    static constexpr float ln2_high = 0.693359375F, ln2_low = -2.12194440e-4F;
    // Beyond them results are 0 and infinity. At the lowest, 2^(n - 1) is still a normal number.
    static constexpr float lowest = -86.9F, highest = 88.8F;
    static constexpr std::array<float, 7> series{1,
                                                 1,
                                                 0.49999993447796487F,
                                                 0.16666520631709497F,
                                                 0.041668388045313997F,
                                                 0.0083687168797281399F,
                                                 0.0013814598646664034F};
};

template <>
struct exp_constants<double> {
    static constexpr double ln2_high = 6.93145751953125e-1, ln2_low = 1.42860682030941723212e-6;
    static constexpr double lowest = -708.0, highest = 709.9;
    static constexpr std::array<double, 12> series{1,
                                                   1,
                                                   0.50000000000000106271,
                                                   0.16666666666666412523,
                                                   0.04166666666653015859,
                                                   0.0083333333334944616641,
                                                   0.0013888888943630112946,
                                                   0.00019841269506578687653,
                                                   0.000024801493098906550659,
                                                   2.7557586373840163694e-6,
                                                   2.7630248379211443975e-7,
                                                   2.5000061602835666699e-8};
};

/// 2^n x for integers n held as floating point, up to overflow.
template <class P>
inline P scale_by_power(P const& x, P const& n) noexcept {
    using A = typename P::value_type;
    // Twice over, since 2^128 is no float while e^88.5 is.
    return (x * power_of_two<A>(n - P(A(1)))) * P(A(2));
}
#if defined(__AVX512F__)
// With a mask of all lanes: without one, g++ 12 takes the intrinsic for a read of what is not set.
inline xsimd::batch<float> scale_by_power(xsimd::batch<float> const& x,
                                          xsimd::batch<float> const& n) noexcept {
    return {_mm512_maskz_scalef_ps(__mmask16(-1), x, n)};
}
inline xsimd::batch<double> scale_by_power(xsimd::batch<double> const& x,
                                           xsimd::batch<double> const& n) noexcept {
    return {_mm512_maskz_scalef_pd(__mmask8(-1), x, n)};
}
#endif

template <class L>
inline typename L::pack exp_pack(typename L::pack x) noexcept {
    using A = typename L::value;
    using P = typename L::pack;
    using constants = exp_constants<A>;
    // Rounds to the nearest integer without leaving floating point.
    constexpr A magic = sizeof(A) == 4 ? A(12582912.0) : A(6755399441055744.0);
    P const rounder = L::broadcast(magic);
    P const bounded = L::min(L::broadcast(constants::highest), x);  // the second one where NaN
    P const n = L::fma(bounded, L::broadcast(A(1.4426950408889634)), rounder) - rounder;
    P r = L::fma(n, L::broadcast(-constants::ln2_high), bounded);
    r = L::fma(n, L::broadcast(-constants::ln2_low), r);
    P series = L::broadcast(constants::series.back());
    RONDO_UNROLL
    for (std::size_t i = constants::series.size() - 1; i > 0; --i) {
        series = L::fma(series, r, L::broadcast(constants::series[i - 1]));
    }
    P const result = scale_by_power(series, n);
    return L::where_less(x, L::broadcast(constants::lowest), L::broadcast(A(0)), result);
}

#if !defined(XSIMD_NO_SUPPORTED_ARCHITECTURE)
template <class A>
inline typename simd_lanes<A>::pack simd_lanes<A>::exp(pack x) noexcept {
    return exp_pack<simd_lanes<A>>(x);
}
#endif

}  // namespace rondo::inline RONDO_ISA::detail
