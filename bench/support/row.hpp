/// @file
/// A row of a table: time beside the machine's limits measured around it.
#pragma once

#include "case.hpp"
#include "reference.hpp"

#include <benchmark/benchmark.h>

namespace bench {

/// Runs `call` and reports the useful rate of its fastest go, its shares of the limits, and the
/// error where one was measured (not negative). One thread is timed by the processor's time.
template <class Call>
void report(benchmark::State& state, double flops, double bytes, double error, int threads,
            Call const& call) {
    double limit = fma_rate(), best = 1e9;
    for (auto _ : state) {
        best = std::min(best, threads == 1 ? processor_seconds_of(call) : seconds_of(call));
    }
    limit = std::max(limit, fma_rate());  // the clock moves: the limit is taken on both sides
    state.counters["GFLOPS"] = flops / best / 1e9;
    state.counters["of_fma"] = flops / (best * limit * threads);
    state.counters["of_copy"] = bytes / (best * copy_rate());
    if (error >= 0) state.counters["error"] = error;
}

}  // namespace bench
