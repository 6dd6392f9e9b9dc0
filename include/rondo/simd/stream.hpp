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
// Memory is often aligned to 16 bytes only: quarters that follow each other fill a line as well.
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
inline void stream_part(float* to, __m512 x) noexcept {
    if (reinterpret_cast<std::uintptr_t>(to) % 64 == 0) return _mm512_stream_ps(to, x);
    // Shuffles, since the intrinsics that extract look to g++ 12 like reads of what is not set.
    _mm_stream_ps(to, __m128(__builtin_shufflevector(x, x, 0, 1, 2, 3)));
    _mm_stream_ps(to + 4, __m128(__builtin_shufflevector(x, x, 4, 5, 6, 7)));
    _mm_stream_ps(to + 8, __m128(__builtin_shufflevector(x, x, 8, 9, 10, 11)));
    _mm_stream_ps(to + 12, __m128(__builtin_shufflevector(x, x, 12, 13, 14, 15)));
}
inline void stream_part(double* to, __m512d x) noexcept {
    if (reinterpret_cast<std::uintptr_t>(to) % 64 == 0) return _mm512_stream_pd(to, x);
    stream_part(reinterpret_cast<float*>(to), _mm512_castpd_ps(x));
}
#endif

/// Stores a pack at an address that is a multiple of 16, past the caches where lanes can.
template <class L>
inline void stream(typename L::value* to, typename L::pack const& x) noexcept {
    if constexpr (requires { stream_part(to, typename L::pack::register_type(x)); }) {
        stream_part(to, typename L::pack::register_type(x));
    } else {
        L::store(to, x);
    }
}

/// Streamed stores of this thread are seen by others after it.
inline void stream_fence() noexcept {
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

}  // namespace rondo::inline RONDO_ISA::detail
