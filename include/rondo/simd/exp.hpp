/// @file
/// The exponential of a pack. e^x = 2^n e^r with n = round(x / ln 2) and |r| <= ln 2 / 2, e^r by
/// its power series: 7 terms leave 5e-9 for float, 13 leave 4e-18 for double.
///
/// Accuracy: 2 units in the last place (tests/unit/exp.cpp). Results below the smallest normal
/// number are 0, since a subnormal weight says nothing and costs a hundred cycles; NaN stays NaN.
#pragma once

#include <rondo/simd/lanes.hpp>

#include <array>
#include <limits>

namespace rondo::inline RONDO_ISA::detail {

template <class A>
struct exp_constants;

template <>
struct exp_constants<float> {
    static constexpr int degree = 7;
    static constexpr float ln2_high = 0.693359375F, ln2_low = -2.12194440e-4F;
    static constexpr float lowest = -87.0F, highest = 88.72F;
};

template <>
struct exp_constants<double> {
    static constexpr int degree = 13;
    static constexpr double ln2_high = 6.93145751953125e-1, ln2_low = 1.42860682030941723212e-6;
    static constexpr double lowest = -708.0, highest = 709.78;
};

/// 1 / n!
template <class A>
constexpr A inverse_factorial(int n) noexcept {
    double product = 1;
    for (int i = 2; i <= n; ++i) product *= i;
    return A(1 / product);
}

/// The coefficients of the power series; a table, since g++ -O2 would compute them at run time.
template <class A>
inline constexpr auto exp_series = [] {
    std::array<A, exp_constants<A>::degree + 1> series{};
    for (int n = 0; n <= exp_constants<A>::degree; ++n) {
        series[std::size_t(n)] = inverse_factorial<A>(n);
    }
    return series;
}();

template <class L>
inline typename L::pack exp_pack(typename L::pack x) noexcept {
    using A = typename L::value;
    using P = typename L::pack;
    using constants = exp_constants<A>;
    constexpr A infinity = std::numeric_limits<A>::infinity();
    // Rounds to the nearest integer without leaving floating point.
    constexpr A magic = sizeof(A) == 4 ? A(12582912.0) : A(6755399441055744.0);
    P const rounder = L::broadcast(magic);
    P const n = L::fma(x, L::broadcast(A(1.4426950408889634)), rounder) - rounder;
    P r = L::fma(n, L::broadcast(-constants::ln2_high), x);
    r = L::fma(n, L::broadcast(-constants::ln2_low), r);
    P series = L::broadcast(exp_series<A>.back());
    RONDO_UNROLL
    for (int i = constants::degree - 1; i >= 0; --i) {
        series = L::fma(series, r, L::broadcast(exp_series<A>[std::size_t(i)]));
    }
    // 2^(n - 1) twice over, since 2^128 is no float while e^88.5 is.
    P const half = power_of_two<A>(n - L::broadcast(A(1)));
    P const result = (series * half) * L::broadcast(A(2));
    P const bounded = L::where_less(x, L::broadcast(constants::lowest), L::broadcast(A(0)), result);
    return L::where_less(L::broadcast(constants::highest), x, L::broadcast(infinity), bounded);
}

#if !defined(XSIMD_NO_SUPPORTED_ARCHITECTURE)
template <class A>
inline typename simd_lanes<A>::pack simd_lanes<A>::exp(pack x) noexcept {
    return exp_pack<simd_lanes<A>>(x);
}
#endif

}  // namespace rondo::inline RONDO_ISA::detail
