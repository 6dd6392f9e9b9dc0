/// @file
/// Stores that go past the caches: a large output need not be read before it is written, which is
/// a third of the traffic.
#pragma once

#include <rondo/simd/lanes.hpp>

// The header of all instructions is a tenth of the library's compile time.
#if defined(__AVX__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace rondo::inline RONDO_ISA::detail {

/// Bytes of an output from which it is streamed: it would leave the second cache anyway.
inline constexpr std::int64_t stream_from = std::int64_t(8) << 20;

#if defined(__SSE2__)
inline void stream_part(float* to, __m128 x) noexcept { _mm_stream_ps(to, x); }
inline void stream_part(double* to, __m128d x) noexcept { _mm_stream_pd(to, x); }
#endif
#if defined(__AVX__)
inline void stream_part(float* to, __m256 x) noexcept {
    _mm_stream_ps(to, _mm256_castps256_ps128(x));
    _mm_stream_ps(to + 4, _mm256_extractf128_ps(x, 1));
}
inline void stream_part(double* to, __m256d x) noexcept {
    _mm_stream_pd(to, _mm256_castpd256_pd128(x));
    _mm_stream_pd(to + 2, _mm256_extractf128_pd(x, 1));
}
#endif
#if defined(__AVX512F__)
inline void stream_part(float* to, __m512 x) noexcept { _mm512_stream_ps(to, x); }
inline void stream_part(double* to, __m512d x) noexcept { _mm512_stream_pd(to, x); }
#endif

/// Elements from an address, a multiple of 16, to the first where a pack may be streamed. Packs of
/// a cache line each are worth it: in quarters, which memory of std::vector calls for, they took a
/// third longer.
template <class L>
inline std::int64_t before_line(typename L::value const* to) noexcept {
    if constexpr (sizeof(typename L::pack) < 64) return 0;
    return std::int64_t(-reinterpret_cast<std::uintptr_t>(to) % 64 / sizeof(*to));
}

/// Stores a pack past the caches, where lanes can: at a multiple of 16, and of 64 if it has that
/// size.
template <class L>
inline void stream(typename L::value* to, typename L::pack const& x) noexcept {
    if constexpr (requires { stream_part(to, typename L::pack::register_type(x)); }) {
        stream_part(to, typename L::pack::register_type(x));
    } else {
        L::store(to, x);
    }
}

/// The first `count` elements, whole multiples of 16 bytes, at such a multiple.
template <class L>
inline void stream(typename L::value* to, typename L::pack const& x, std::int64_t count) noexcept {
#if defined(__SSE2__)
    alignas(64) typename L::value lanes[L::width];
    L::store(lanes, x);
    auto const* const from = reinterpret_cast<float const*>(lanes);
    auto* const part = reinterpret_cast<float*>(to);
    int const floats = int(count * std::int64_t(sizeof(*to) / sizeof(float)));
    for (int i = 0; i < floats; i += 4) _mm_stream_ps(part + i, _mm_load_ps(from + i));
#else
    L::store(to, x, count);
#endif
}

/// Streamed stores of this thread are seen by others after it.
inline void stream_fence() noexcept {
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

}  // namespace rondo::inline RONDO_ISA::detail
