/// @file
/// The natural logarithm of a pack of positive normal numbers: x = 2^e m with m in [1/sqrt2,
/// sqrt2), log m = 2 atanh z, z = (m - 1) / (m + 1), by its power series.
///
/// Accuracy: 3 units in the last place of the larger of log x and 1 (tests/unit/exp.cpp).
#pragma once

#include <rondo/simd/exp.hpp>

namespace rondo::inline RONDO_ISA::detail {

template <class L>
inline typename L::pack log_pack(typename L::pack const& x) noexcept {
    using A = typename L::value;
    using P = typename L::pack;
    if constexpr (std::is_same_v<L, one_lane<A>>) {
        return std::log(x);
    } else {
        using bits = std::conditional_t<sizeof(A) == 4, std::int32_t, std::int64_t>;
        constexpr int mantissa = sizeof(A) == 4 ? 23 : 52, terms = sizeof(A) == 4 ? 5 : 11;
        constexpr A bias = sizeof(A) == 4 ? 127 : 1023, magic = A(bits(1) << mantissa);
        auto const number = [](A value) { return L::broadcast(value); };
        auto const raw = recast<bits>(x);
        using integers = std::remove_const_t<decltype(raw)>;
        // An integer in the low bits of 2^mantissa is added to it, without a conversion.
        P exponent = recast<A>((raw >> mantissa) + recast<bits>(number(magic)));
        exponent = exponent - number(magic + bias);
        integers const fraction = raw & integers((bits(1) << mantissa) - 1);
        P m = recast<A>(fraction | recast<bits>(number(A(1))));
        P const above = L::where_less(number(A(1.4142135623730951)), m, number(1), number(0));
        m = L::fma(number(A(-0.5)) * m, above, m);
        exponent = exponent + above;
        P const z = (m - number(1)) / (m + number(1)), square = z * z;
        P series = number(A(2) / A(2 * terms - 1));
        for (int i = terms - 2; i >= 0; --i) {
            series = L::fma(series, square, number(A(2) / A(2 * i + 1)));
        }
        return L::fma(exponent, number(A(0.6931471805599453)), series * z);
    }
}

}  // namespace rondo::inline RONDO_ISA::detail
