/// @file
/// Lanes: a pack of values that one instruction works on. Kernels are written over a lanes type L:
/// `simd_lanes<A>` (the instruction set of this translation unit) or `one_lane<A>` (plain loops).
/// This header alone names xsimd; the operators + - * / of a pack come with it.
#pragma once

#include <rondo/config.hpp>

#include <array>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <type_traits>
#include <utility>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

// g++ 12 takes the deliberately undefined operands of its own AVX-512 intrinsics for uninitialised.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <xsimd/xsimd.hpp>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

namespace rondo::inline RONDO_ISA::detail {

/// One value at a time: the readable twin of every kernel.
template <class A>
struct one_lane {
    using value = A;
    using pack = A;
    static constexpr int width = 1;
    static constexpr int packs = 1;  // accumulators side by side in the micro-kernel
    static constexpr bool masks = false;

    static pack load(A const* from) noexcept { return *from; }
    static void store(A* to, pack x) noexcept { *to = x; }
    static pack load(A const* from, std::int64_t) noexcept { return *from; }
    static void store(A* to, pack x, std::int64_t) noexcept { *to = x; }
    static pack broadcast(A x) noexcept { return x; }
    /// a b + c
    static pack fma(pack a, pack b, pack c) noexcept { return a * b + c; }
    static pack max(pack a, pack b) noexcept { return a < b ? b : a; }
    static pack min(pack a, pack b) noexcept { return b < a ? b : a; }
    /// a < b ? x : y
    static pack where_less(pack a, pack b, pack x, pack y) noexcept { return a < b ? x : y; }
    static bool any_less(pack a, pack b) noexcept { return a < b; }
    /// 1 / x for a normal x, to 2 units in the last place; not a number where x is 0 or infinite.
    static pack inverse(pack x) noexcept { return A(1) / x; }
    static pack exp(pack x) noexcept { return std::exp(x); }
    static A sum(pack x) noexcept { return x; }
    /// The first `count` lanes, at most all; the others zero.
    static pack first(pack x, std::int64_t count) noexcept { return count > 0 ? x : A(0); }
    /// Packs as columns become packs as rows.
    static void turn(pack (&)[1]) noexcept {}
    /// Lane i is the sum of the lanes of x[i], which is not kept.
    static pack sums(pack (&x)[1]) noexcept { return x[0]; }
};

#if defined(XSIMD_NO_SUPPORTED_ARCHITECTURE)
template <class A>
using simd_lanes = one_lane<A>;
#else

/// The same bits as lanes of `To`; xsimd 8 names the pack, later releases the element.
template <class To, class From>
inline xsimd::batch<To> recast(xsimd::batch<From> const& x) noexcept {
    using pack = xsimd::batch<To>;
    if constexpr (requires {
                      { xsimd::bitwise_cast<pack>(x) } -> std::same_as<pack>;
                  }) {
        return xsimd::bitwise_cast<pack>(x);
    } else {
        return xsimd::bitwise_cast<To>(x);
    }
}

/// 2^n for integers n held as floating point, 2^n normal.
template <class A>
inline xsimd::batch<A> power_of_two(xsimd::batch<A> const& n) noexcept {
    using bits = std::conditional_t<sizeof(A) == 4, std::int32_t, std::int64_t>;
    // Adding 1.5 * 2^mantissa puts the integer into the low bits without a conversion.
    constexpr int mantissa = sizeof(A) == 4 ? 23 : 52;
    constexpr A magic = A(3) * A(bits(1) << (mantissa - 1));
    constexpr A bias = sizeof(A) == 4 ? 127 : 1023;
    return recast<A>(recast<bits>(n + xsimd::batch<A>(magic + bias)) << mantissa);
}

/// Lane l of the result is lane source(l) of a, or, from `width` on, of b. `Source` is a function
/// without a state.
template <class Pack, class Source, std::size_t... Lane>
inline Pack choose_lanes(Pack const& a, Pack const& b, Source,
                         std::index_sequence<Lane...>) noexcept {
#if defined(__CUDACC__)
    // nvcc drops the expansion of a pack among the arguments of a builtin.
    typename Pack::value_type lanes[2 * sizeof...(Lane)], chosen[sizeof...(Lane)];
    a.store_unaligned(lanes);
    b.store_unaligned(lanes + sizeof...(Lane));
    ((chosen[Lane] = lanes[Source{}(int(Lane))]), ...);
    return Pack::load_unaligned(chosen);
#else
    using native = typename Pack::register_type;
    return Pack(native(__builtin_shufflevector(native(a), native(b), Source{}(int(Lane))...)));
#endif
}

#if defined(__AVX512F__)
// The lanes whose bits are set; the others are neither read nor written.
inline __m512 load_first(float const* from, unsigned lanes) noexcept {
    return _mm512_maskz_loadu_ps(__mmask16(lanes), from);
}
inline __m512d load_first(double const* from, unsigned lanes) noexcept {
    return _mm512_maskz_loadu_pd(__mmask8(lanes), from);
}
inline void store_first(float* to, __m512 x, unsigned lanes) noexcept {
    _mm512_mask_storeu_ps(to, __mmask16(lanes), x);
}
inline void store_first(double* to, __m512d x, unsigned lanes) noexcept {
    _mm512_mask_storeu_pd(to, __mmask8(lanes), x);
}
#endif

/// The packs of the instruction set that this translation unit is compiled for.
template <class A>
struct simd_lanes {
    using value = A;
    using pack = xsimd::batch<A>;
    static constexpr int width = int(pack::size);
    // Accumulators side by side: with 4 rows 16 of 32 registers, or 8 of 16.
    static constexpr int packs = sizeof(pack) == 64 ? 4 : 2;
#if defined(__AVX512F__)
    // Whether some lanes are loaded or stored by one instruction.
    static constexpr bool masks = sizeof(pack) == 64;
#else
    static constexpr bool masks = false;
#endif

    static pack load(A const* from) noexcept { return pack::load_unaligned(from); }
    static void store(A* to, pack x) noexcept { x.store_unaligned(to); }
    /// The first `count` lanes, at least one and at most all; the others are zero.
    static pack load(A const* from, std::int64_t count) noexcept {
        if (count == width) return load(from);
#if defined(__AVX512F__)
        if constexpr (masks) return pack(load_first(from, (1U << count) - 1));
#endif
        A lanes[width] = {};
        for (std::int64_t i = 0; i < count; ++i) lanes[i] = from[i];
        return load(lanes);
    }
    static void store(A* to, pack x, std::int64_t count) noexcept {
        if (count == width) return store(to, x);
#if defined(__AVX512F__)
        if constexpr (masks) return store_first(to, x, (1U << count) - 1);
#endif
        A lanes[width];
        store(lanes, x);
        for (std::int64_t i = 0; i < count; ++i) to[i] = lanes[i];
    }
    static pack broadcast(A x) noexcept { return pack(x); }
    static pack fma(pack a, pack b, pack c) noexcept { return xsimd::fma(a, b, c); }
    static pack max(pack a, pack b) noexcept { return xsimd::max(a, b); }
    static pack min(pack a, pack b) noexcept { return xsimd::min(a, b); }
    static pack where_less(pack a, pack b, pack x, pack y) noexcept {
        return xsimd::select(a < b, x, y);
    }
    static bool any_less(pack a, pack b) noexcept { return xsimd::any(a < b); }
    static pack inverse(pack x) noexcept {
        if constexpr (sizeof(A) == 8) {
            return pack(A(1)) / x;
        } else {  // an estimate, its bits doubled by each step: a division takes 16 cycles
            constexpr int steps = sizeof(pack) == 64 ? 1 : 2;  // AVX-512 begins with 14 bits
            pack estimate = xsimd::reciprocal(x);
            pack const minus_x = pack(A(0)) - x;
            RONDO_UNROLL
            for (int i = 0; i < steps; ++i) {
                estimate = estimate * xsimd::fma(estimate, minus_x, pack(A(2)));
            }
            return estimate;
        }
    }
    static pack exp(pack x) noexcept;
    static A sum(pack x) noexcept {
        A lanes[width];
        store(lanes, x);
        for (int half = width / 2; half > 0; half /= 2) {
            for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
        }
        return lanes[0];
    }
    static pack first(pack x, std::int64_t count) noexcept {
        static constexpr auto numbers = []<std::size_t... Lane>(std::index_sequence<Lane...>) {
            return std::array<A, width>{A(Lane)...};
        }
        (std::make_index_sequence<width>{});
        return where_less(load(numbers.data()), broadcast(A(count)), x, broadcast(A(0)));
    }
    static void turn(pack (&x)[width]) noexcept { turn_blocks<1>(x); }
    static pack sums(pack (&x)[width]) noexcept {
        add_blocks<1>(x);
        return x[0];
    }

private:
    // Of two rows the first halves of their blocks, or the second halves.
    template <int Block>
    static pack first_halves(pack const& a, pack const& b) noexcept {
        constexpr auto source = [](int lane) {
            return (lane & ~Block) + ((lane & Block) != 0 ? width : 0);
        };
        return choose_lanes(a, b, source, std::make_index_sequence<width>{});
    }
    template <int Block>
    static pack second_halves(pack const& a, pack const& b) noexcept {
        constexpr auto source = [](int lane) {
            return (lane | Block) + ((lane & Block) != 0 ? width : 0);
        };
        return choose_lanes(a, b, source, std::make_index_sequence<width>{});
    }

    template <int Block>
    static void turn_blocks(pack (&x)[width]) noexcept {
        if constexpr (Block < width) {
            RONDO_UNROLL
            for (int i = 0; i < width; ++i) {
                if ((i & Block) != 0) continue;
                pack const a = x[i], b = x[i + Block];
                x[i] = first_halves<Block>(a, b);
                x[i + Block] = second_halves<Block>(a, b);
            }
            turn_blocks<2 * Block>(x);
        }
    }
    template <int Block>
    static void add_blocks(pack (&x)[width]) noexcept {
        if constexpr (Block < width) {
            RONDO_UNROLL
            for (int i = 0; i < width; i += 2 * Block) {
                pack const a = x[i], b = x[i + Block];
                x[i] = first_halves<Block>(a, b) + second_halves<Block>(a, b);
            }
            add_blocks<2 * Block>(x);
        }
    }
};

#endif

/// The same address, which the compiler cannot know to be the same: of loads from both it makes no
/// single one, and of steps that go on from it no offsets, for which registers would not suffice.
template <class A>
[[gnu::always_inline]] inline A* another(A* at) noexcept {
    asm("" : "+r"(at));
    return at;
}

/// `count` rounded up to whole packs of L and to whole tiles of 4 rows, at least one.
template <class L>
constexpr std::int64_t padded(std::int64_t count) noexcept {
    constexpr std::int64_t unit = L::width < 4 ? 4 : L::width;
    return count < 1 ? unit : (count + unit - 1) / unit * unit;
}

}  // namespace rondo::inline RONDO_ISA::detail
