/// @file
/// Subnormal numbers cost a hundred cycles each and a decaying state ends in them.
#pragma once

#include <rondo/config.hpp>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace rondo::inline RONDO_ISA::detail {

/// While it lives this thread takes subnormal numbers as zero; what was set before comes back
/// after.
class flush_subnormals {
public:
#if defined(__SSE2__)
    flush_subnormals() noexcept : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
    ~flush_subnormals() { _mm_setcsr(before_); }
    flush_subnormals(flush_subnormals const&) = delete;
    flush_subnormals& operator=(flush_subnormals const&) = delete;

private:
    unsigned before_;
#else
    flush_subnormals() noexcept {}
    ~flush_subnormals() {}
#endif
};

}  // namespace rondo::inline RONDO_ISA::detail
