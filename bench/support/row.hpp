/// @file
/// A row of a table: time beside the machine's limits measured around it.
#pragma once

#include "case.hpp"
#include "reference.hpp"

#include <benchmark/benchmark.h>

namespace bench {

/// Runs `call` and reports the useful rate, its shares of the limits, and the error where one was
/// measured (not negative).
template <class Call>
void report(benchmark::State& state, double flops, double bytes, double error, int threads,
            Call const& call) {
    double limit = fma_rate();
    for (auto _ : state) call();
    limit = std::max(limit, fma_rate());  // the clock moves: the limit is taken on both sides
    double const seconds_inverse = double(state.iterations());
    using benchmark::Counter;
    state.counters["GFLOPS"] = Counter(flops * seconds_inverse / 1e9, Counter::kIsRate);
    state.counters["of_fma"] =
        Counter(flops * seconds_inverse / (limit * threads), Counter::kIsRate);
    state.counters["of_copy"] = Counter(bytes * seconds_inverse / copy_rate(), Counter::kIsRate);
    if (error >= 0) state.counters["error"] = error;
}

}  // namespace bench
