/// @file
/// Sines and cosines of packs of large angles, in double.
#pragma once

#include <rondo/simd/lanes.hpp>

#include <array>
#include <bit>

namespace rondo::inline RONDO_ISA::detail {

/// The double lanes beside lanes of another element.
template <class L>
using double_lanes = std::conditional_t<std::is_base_of_v<one_lane<typename L::value>, L>,
                                        one_lane<double>, simd_lanes<double>>;

/// A number in two parts of at most 27 bits each: both have exact products with an integer below
/// 2^26.
struct split_double {
    double high, low;

    explicit split_double(double x) noexcept
        : high(std::bit_cast<double>(std::bit_cast<std::uint64_t>(x) & ~std::uint64_t(0x7FFFFFF))),
          low(x - high) {}
};

/// Coefficients of the power series of sin (odd places) and cos (even places).
inline constexpr auto sincos_series = [] {
    std::array<double, 17> series{};
    double factorial = 1;
    for (int i = 0; i <= 16; factorial *= ++i) {
        series[std::size_t(i)] = (i % 4 < 2 ? 1 : -1) / factorial;
    }
    return series;
}();

/// sin and cos of high + low, low small against high: n = round((high + low) 2 / pi), the rest
/// r = high - n pi / 2 + low with pi / 2 in parts of 30 bits, exact for |n| < 2^23, and power
/// series of r (sin to r^15, cos to r^16).
///
/// Accuracy: 4e-16 for angles up to 8e6 (tests/unit/sincos.cpp).
template <class L>
inline void sincos_pack(typename L::pack high, typename L::pack low, typename L::pack& sine,
                        typename L::pack& cosine) noexcept {
    using P = typename L::pack;
    auto const number = [](double x) { return L::broadcast(x); };
    P const rounder = number(6755399441055744.0);
    P const n = ((high + low) * number(0.63661977236758134308) + rounder) - rounder;
    P r = high - n * number(0x1.921fb54p+0);
    r = r - n * number(0x1.10b46118p-30);
    r = r - n * number(0x1.313198ap-61);
    r = r + low;
    P const square = r * r;
    P odd = number(sincos_series[15]), even = number(sincos_series[16]);
#pragma GCC unroll 8
    for (int i = 13; i >= 1; i -= 2) {
        odd = L::fma(odd, square, number(sincos_series[std::size_t(i)]));
    }
#pragma GCC unroll 8
    for (int i = 14; i >= 0; i -= 2) {
        even = L::fma(even, square, number(sincos_series[std::size_t(i)]));
    }
    odd = odd * r;
    // The quarter, n - 4 round(n / 4), is -2, -1, 0, 1 or 2.
    P const quarter = n - number(4) * ((n * number(0.25) + rounder) - rounder);
    P const zero = number(0), distance = L::max(quarter, zero - quarter);
    P const way = L::where_less(zero, quarter, number(1), number(-1));
    auto const choose = [&](P const& none, P const& one, P const& two) {
        P const turned = L::where_less(distance, number(1.5), one, two);
        return L::where_less(distance, number(0.5), none, turned);
    };
    sine = choose(odd, way * even, zero - odd);
    cosine = choose(even, zero - way * odd, zero - even);
}

}  // namespace rondo::inline RONDO_ISA::detail
