/// @file
/// Element-wise recurrences in shares of a copy, one core: scan/<operator>/<extents>.
#include "support/row.hpp"

#include <rondo/scan.hpp>

namespace {

namespace rd = rondo;

/// x, log_a and y [time, channel], the same values in float and double.
template <class T>
struct recurrence_problem {
    rd::index time, channels;
    bench::numbers<T> x = values(-1, 1), log_a = values(-0.2F, 0), y = bench::numbers<T>(x.size());

    bench::numbers<T> values(float low, float high) const {
        std::mt19937 generator{7};
        std::uniform_real_distribution<float> uniform{low, high};
        bench::numbers<T> result(std::size_t(time * channels));
        for (T& value : result) value = uniform(generator);
        return result;
    }

    template <class Call>
    void run(Call const& call) {
        auto const seen = [&](bench::numbers<T> const& data) {
            return rd::view<T const, 2>(data.data(), {time, channels});
        };
        call(seen(x), seen(log_a), rd::view<T, 2>(y.data(), {time, channels}));
    }
};

/// call(x, log_a, y); `streams` is how many of them it moves.
template <class Call>
void recurrence(benchmark::State& state, rd::index time, rd::index channels, int streams,
                Call const& call) {
    recurrence_problem<float> problem{time, channels};
    recurrence_problem<double> exact{time, channels};
    problem.run(call);
    exact.run(call);
    double const elements = double(time * channels);
    bench::report(state, 2 * elements, 4 * streams * elements, bench::error_of(problem.y, exact.y),
                  1, [&] { problem.run(call); });
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
