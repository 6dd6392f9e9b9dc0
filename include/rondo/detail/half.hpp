/// @file
/// Conversions between float and 16 bits, one value or a register of them at a time: integer
/// operations without branches, so that subnormals are right in every floating-point mode.
#pragma once

#include <rondo/error.hpp>

#include <bit>

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace rondo::inline RONDO_ISA::detail {

/// `Count` values side by side as the compilers' own vectors; one value is a plain number.
template <class Value, int Count>
struct vector_of {
    typedef Value type __attribute__((vector_size(sizeof(Value) * Count)));
};

template <int Count>
struct words {
    using half = typename vector_of<std::uint16_t, Count>::type;
    using whole = typename vector_of<std::uint32_t, Count>::type;
    using real = typename vector_of<float, Count>::type;

    static whole widen(half const& x) noexcept { return __builtin_convertvector(x, whole); }
    static half narrow(whole const& x) noexcept { return __builtin_convertvector(x, half); }
    /// Of small integers: they go through the signed ones, which every instruction set converts.
    static real to_real(whole const& x) noexcept {
        using number = typename vector_of<std::int32_t, Count>::type;
        return __builtin_convertvector(std::bit_cast<number>(x), real);
    }
};

template <>
struct words<1> {
    using half = std::uint16_t;
    using whole = std::uint32_t;
    using real = float;

    static whole widen(half x) noexcept { return x; }
    static half narrow(whole x) noexcept { return half(x); }
    static real to_real(whole x) noexcept { return real(std::int32_t(x)); }
};

/// Eigen::bfloat16: the upper half of a float.
struct bfloat16_format {
    template <int Count>
    static void widen(typename words<Count>::half const& bits,
                      typename words<Count>::real& value) noexcept {
        using w = words<Count>;
        value = std::bit_cast<typename w::real>(w::widen(bits) << 16);
    }

    /// To nearest, ties to even; NaN stays NaN.
    template <int Count>
    static void round(typename words<Count>::real const& value,
                      typename words<Count>::half& bits) noexcept {
        using w = words<Count>;
        using whole = typename w::whole;
        auto const from = std::bit_cast<whole>(value);
        whole const rounded = (from + 0x7FFFU + ((from >> 16) & 1U)) >> 16;
        whole const quiet = (from >> 16) | 0x40U;
        bits = w::narrow((from & 0x7FFFFFFFU) > 0x7F800000U ? quiet : rounded);
    }
};

#if defined(__F16C__)
// The processor's own conversions of half, which are three times as fast. They too are right for
// subnormals in every floating-point mode.
inline void widen_half(words<8>::half const& bits, words<8>::real& value) noexcept {
    value = std::bit_cast<words<8>::real>(_mm256_cvtph_ps(std::bit_cast<__m128i>(bits)));
}
inline void round_half(words<8>::real const& value, words<8>::half& bits) noexcept {
    bits = std::bit_cast<words<8>::half>(
        _mm256_cvtps_ph(std::bit_cast<__m256>(value), _MM_FROUND_TO_NEAREST_INT));
}
#endif
#if defined(__F16C__) && defined(__AVX512F__)
// With a mask of all lanes: g++ 12 takes the forms without one for uninitialised.
inline void widen_half(words<16>::half const& bits, words<16>::real& value) noexcept {
    value =
        std::bit_cast<words<16>::real>(_mm512_maskz_cvtph_ps(0xFFFF, std::bit_cast<__m256i>(bits)));
}
inline void round_half(words<16>::real const& value, words<16>::half& bits) noexcept {
    bits = std::bit_cast<words<16>::half>(_mm512_maskz_cvtps_ph(
        0xFFFF, std::bit_cast<__m512>(value), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
#endif

/// Eigen::half: 5 bits of exponent, 10 of fraction.
struct half_format {
    template <int Count>
    static void widen(typename words<Count>::half const& bits,
                      typename words<Count>::real& value) noexcept {
        using w = words<Count>;
        if constexpr (requires { widen_half(bits, value); }) return widen_half(bits, value);
        using whole = typename w::whole;
        whole const from = w::widen(bits), magnitude = from & 0x7FFFU;
        // A subnormal half is a small integer times 2^-24, and a normal float.
        whole const small = std::bit_cast<whole>(w::to_real(magnitude & 0x3FFU) * 0x1p-24F);
        whole const normal = (magnitude << 13) + (112U << 23);
        whole const endless = (magnitude << 13) + (224U << 23);
        whole const finite = magnitude < 0x400U ? small : normal;
        whole const any = magnitude >= 0x7C00U ? endless : finite;
        value = std::bit_cast<typename w::real>(any | ((from & 0x8000U) << 16));
    }

    /// To nearest, ties to even; from 65520 on to infinity; NaN stays NaN.
    template <int Count>
    static void round(typename words<Count>::real const& value,
                      typename words<Count>::half& bits) noexcept {
        using w = words<Count>;
        if constexpr (requires { round_half(value, bits); }) return round_half(value, bits);
        using whole = typename w::whole;
        auto const from = std::bit_cast<whole>(value);
        whole const magnitude = from & 0x7FFFFFFFU;
        // A subnormal: the last place of the sum is 2^-24, so the addition rounds it.
        auto const sum = std::bit_cast<typename w::real>(magnitude) + 0.5F;
        whole const small = std::bit_cast<whole>(sum) - 0x3F000000U;
        whole const even = (magnitude >> 13) & 1U;
        whole const normal = (magnitude + 0xFFFU + even - (112U << 23)) >> 13;
        whole const finite = magnitude < 0x38800000U ? small : normal;
        whole const endless = (magnitude & 0U) + 0x7C00U;
        whole const quiet = (magnitude & 0U) + 0x7E00U;
        whole const bounded = magnitude >= 0x477FF000U ? endless : finite;
        whole const any = magnitude > 0x7F800000U ? quiet : bounded;
        bits = w::narrow(any | ((from >> 16) & 0x8000U));
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
