/// @file
/// Element-wise recurrences in shares of a copy, one core: scan/<operator>/<extents>.
#include "support/row.hpp"

#include <rondo/scan.hpp>

namespace {

namespace rd = rondo;

/// call(x, log_a, y) for views [time, channel]; `streams` is how many of them it moves.
template <class Call>
void recurrence(benchmark::State& state, rd::index time, rd::index channels, int streams,
                Call const& call) {
    std::vector<float> const x(std::size_t(time * channels), 0.5F);
    std::vector<float> const log_a(x.size(), -0.1F);
    std::vector<float> y(x.size());
    rd::view<float const, 2> const in(x.data(), {time, channels}),
        a(log_a.data(), {time, channels});
    rd::view<float, 2> const out(y.data(), {time, channels});
    bench::report(state, 2.0 * double(time * channels), 4.0 * streams * double(time * channels), -1,
                  1, [&] { call(in, a, out); });
}

}  // namespace

int main(int argc, char** argv) {
    for (rd::index channels : {64, 512}) {
        std::string const at = "4096x" + std::to_string(channels);
        benchmark::RegisterBenchmark(("scan/linear/" + at).c_str(), [=](auto& state) {
            recurrence(state, 4096, channels, 3, [](auto x, auto a, auto y) {
                rd::scan().forward(rd::exec::simd, {x, a}, y, {.axis = 0});
            });
        });
        benchmark::RegisterBenchmark(("scan/log_cumsum_exp/" + at).c_str(), [=](auto& state) {
            recurrence(state, 4096, channels, 2, [](auto x, auto, auto y) {
                rd::log_cumsum_exp().forward(rd::exec::simd, {x}, y, {.axis = 0});
            });
        });
    }
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
}
