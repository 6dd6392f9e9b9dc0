/// @file
/// The machine's limits, measured beside each row: a loop of fused multiply-adds, and a copy.
#pragma once

#include "memory.hpp"

#include <rondo/rondo.hpp>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>

namespace bench {

using rondo::index;

inline double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Flops a second of one core that only multiplies and adds, in float lanes: the best of several
/// tries.
inline double fma_rate() {
    using L = rondo::detail::simd_lanes<float>;
    constexpr int chains = 12, rounds = 100000;  // 2 units of 4 cycles' latency need 8 chains
    static volatile float sink = 0;
    double best = 0;
    for (int attempt = 0; attempt < 5; ++attempt) {
        typename L::pack x[chains];
        typename L::pack const a = L::broadcast(0.999F), b = L::broadcast(1e-3F);
        for (int c = 0; c < chains; ++c) x[c] = L::broadcast(float(c));
        auto const start = std::chrono::steady_clock::now();
        for (int i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
            for (int c = 0; c < chains; ++c) x[c] = L::fma(x[c], a, b);
        }
        double const seconds = seconds_since(start);
        for (int c = 1; c < chains; ++c) x[0] = x[0] + x[c];
        sink = sink + L::sum(x[0]);
        best = std::max(best, 2.0 * L::width * chains * rounds / seconds);
    }
    return best;
}

/// The bytes of a copy that is well beyond the caches.
inline constexpr std::size_t large_copy = std::size_t(256) << 20;

/// Copies `bytes`, at most large_copy, a part by each thread; returns bytes a second, read and
/// written.
inline double copy_once(std::size_t bytes = large_copy, [[maybe_unused]] int threads = 1) {
    static numbers<char> from(large_copy, 1), to(large_copy, 2);
    auto const start = std::chrono::steady_clock::now();
    std::size_t const part = bytes / std::size_t(threads);
#if defined(_OPENMP)
#pragma omp parallel for num_threads(threads)
#endif
    for (int t = 0; t < threads; ++t) {
        std::memcpy(to.data() + std::size_t(t) * part, from.data() + std::size_t(t) * part, part);
    }
    return 2.0 * double(part * std::size_t(threads)) / seconds_since(start);
}

/// The best of several tries.
inline double copy_rate() {
    double best = 0;
    for (int attempt = 0; attempt < 3; ++attempt) best = std::max(best, copy_once());
    return best;
}

template <class Call>
double seconds_of(Call const& call) {
    auto const start = std::chrono::steady_clock::now();
    call();
    return seconds_since(start);
}

/// Seconds of processor time, of all threads together: for ratios of calls on one thread, which
/// hold even where other programs run.
template <class Call>
double processor_seconds_of(Call const& call) {
    auto const start = std::clock();
    call();
    return double(std::clock() - start) / CLOCKS_PER_SEC;
}

}  // namespace bench
