/// @file
/// Lanes: a pack of values that one instruction works on. Kernels are written over a lanes type L:
/// `simd_lanes<A>` (the instruction set of this translation unit) or `one_lane<A>` (plain loops).
/// This header alone names xsimd; the operators + - * / of a pack come with it.
#pragma once

#include <rondo/config.hpp>

#include <cmath>
#include <concepts>
#include <cstdint>
#include <type_traits>
#include <utility>

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

    static pack load(A const* from) noexcept { return *from; }
    static void store(A* to, pack x) noexcept { *to = x; }
    static pack load(A const* from, std::int64_t) noexcept { return *from; }
    static void store(A* to, pack x, std::int64_t) noexcept { *to = x; }
    static pack broadcast(A x) noexcept { return x; }
    /// a b + c
    static pack fma(pack a, pack b, pack c) noexcept { return a * b + c; }
    static pack max(pack a, pack b) noexcept { return a < b ? b : a; }
    static pack sqrt(pack x) noexcept { return std::sqrt(x); }
    /// a < b ? x : y
    static pack where_less(pack a, pack b, pack x, pack y) noexcept { return a < b ? x : y; }
    static bool any_less(pack a, pack b) noexcept { return a < b; }
    static pack exp(pack x) noexcept { return std::exp(x); }
    static A sum(pack x) noexcept { return x; }
    /// The sums of `width` packs, one in each lane.
    static pack sums(pack const (&x)[1]) noexcept { return x[0]; }
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

/// One step of adding up packs: half of the lanes of `a + its other half`, then the same of `b`.
/// Halves are taken within 128 bits first, where shuffles are cheap, then across.
template <class A, int Level, std::size_t... Lane>
inline xsimd::batch<A> fold(xsimd::batch<A> const& a, xsimd::batch<A> const& b,
                            std::index_sequence<Lane...>) noexcept {
    using pack = xsimd::batch<A>;
    using native [[maybe_unused]] = typename pack::register_type;
    constexpr int width = int(sizeof...(Lane)), quad = 16 / int(sizeof(A));
    constexpr int inner = quad == 4 ? 2 : 1;  // levels within 128 bits
    constexpr auto source = [](int lane, bool upper) {
        if (Level < inner) {  // interleave runs of 2^Level lanes
            constexpr int run = 1 << Level;
            int const block = lane / quad * quad, within = lane % quad;
            int const position = within / (2 * run) * run + within % run;
            return block + position + (upper ? quad / 2 : 0) + (within / run % 2) * width;
        }
        // whole 128-bit blocks, in which 2^(Level - inner) groups of partial sums follow each other
        int const blocks = width / quad, group = blocks >> (Level < inner ? 0 : Level - inner);
        int const half = group / 2, block = lane / quad, mine = block % (blocks / 2);
        int const position = mine / half * group + mine % half + (upper ? half : 0);
        return position * quad + lane % quad + (block < blocks / 2 ? 0 : width);
    };
#if defined(__CUDACC__)
    // nvcc drops the expansion of a pack among the arguments of a builtin.
    A lanes[2 * width], sums[width];
    a.store_unaligned(lanes);
    b.store_unaligned(lanes + width);
    ((sums[Lane] = lanes[source(int(Lane), false)] + lanes[source(int(Lane), true)]), ...);
    return pack::load_unaligned(sums);
#else
    auto const x = native(a), y = native(b);
    return pack(native(__builtin_shufflevector(x, y, source(int(Lane), false)...))) +
           pack(native(__builtin_shufflevector(x, y, source(int(Lane), true)...)));
#endif
}

/// The sums of `width` packs, in order, one in each lane: 2 (width - 1) shuffles. xsimd's own
/// (haddp) puts them in the wrong order for 16 floats in release 8.1.
template <class A, int Level = 0, std::size_t Count>
inline xsimd::batch<A> fold_all(xsimd::batch<A> const (&x)[Count]) noexcept {
    if constexpr (Count == 1) {
        return x[0];
    } else {
        xsimd::batch<A> half[Count / 2];
        RONDO_UNROLL
        for (std::size_t i = 0; i < Count / 2; ++i) {
            half[i] = fold<A, Level>(x[2 * i], x[2 * i + 1],
                                     std::make_index_sequence<xsimd::batch<A>::size>{});
        }
        return fold_all<A, Level + 1>(half);
    }
}

/// The packs of the instruction set that this translation unit is compiled for.
template <class A>
struct simd_lanes {
    using value = A;
    using pack = xsimd::batch<A>;
    static constexpr int width = int(pack::size);
    // Accumulators side by side: with 4 rows 16 of 32 registers, or 8 of 16.
    static constexpr int packs = sizeof(pack) == 64 ? 4 : 2;

    static pack load(A const* from) noexcept { return pack::load_unaligned(from); }
    static void store(A* to, pack x) noexcept { x.store_unaligned(to); }
    /// The first `count` lanes, at least one and at most all; the others are zero.
    static pack load(A const* from, std::int64_t count) noexcept {
        if (count == width) return load(from);
        A lanes[width] = {};
        for (std::int64_t i = 0; i < count; ++i) lanes[i] = from[i];
        return load(lanes);
    }
    static void store(A* to, pack x, std::int64_t count) noexcept {
        if (count == width) return store(to, x);
        A lanes[width];
        store(lanes, x);
        for (std::int64_t i = 0; i < count; ++i) to[i] = lanes[i];
    }
    static pack broadcast(A x) noexcept { return pack(x); }
    static pack fma(pack a, pack b, pack c) noexcept { return xsimd::fma(a, b, c); }
    static pack max(pack a, pack b) noexcept { return xsimd::max(a, b); }
    static pack sqrt(pack x) noexcept { return xsimd::sqrt(x); }
    static pack where_less(pack a, pack b, pack x, pack y) noexcept {
        return xsimd::select(a < b, x, y);
    }
    static bool any_less(pack a, pack b) noexcept { return xsimd::any(a < b); }
    static pack exp(pack x) noexcept;
    static A sum(pack x) noexcept {
        A lanes[width];
        store(lanes, x);
        for (int half = width / 2; half > 0; half /= 2) {
            for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
        }
        return lanes[0];
    }
    static pack sums(pack const (&x)[width]) noexcept { return fold_all<A>(x); }
};

#endif

/// `count` rounded up to whole packs of L and to whole tiles of 4 rows, at least one.
template <class L>
constexpr std::int64_t padded(std::int64_t count) noexcept {
    constexpr std::int64_t unit = L::width < 4 ? 4 : L::width;
    return count < 1 ? unit : (count + unit - 1) / unit * unit;
}

}  // namespace rondo::inline RONDO_ISA::detail
