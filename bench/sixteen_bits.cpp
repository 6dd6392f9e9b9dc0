/// @file
/// 16-bit inputs and outputs beside float: sixteen_bits/<operator>/<type>/<memory order>. The
/// arithmetic and the gates are float's; half as many bytes are read and written.
#include "support/row.hpp"

#include <Eigen/Core>

namespace {

using bench::layout;
using bench::shape;
namespace rd = rondo;

/// The difference from the recurrence in double on the same, rounded inputs.
template <class T, class Operator>
double error_of(bench::numbers<T> const& got, shape const& s) {
    static constexpr auto recurrence = [] {
        auto what = Operator::composition;
        what.form = rd::detail::form_kind::recurrent;
        return what;
    }();
    bench::problem<double, T> exact(s);
    exact.template with_inputs<recurrence>([](auto const& in, auto const& o) {
        rd::attention_t<recurrence>{}.forward(rd::exec::openmp, in, o);
    });
    return bench::error_of(got, exact.output());
}

template <class T, class Operator>
void against_float(benchmark::State& state, shape const& s) {
    bench::problem<T> narrow(s);
    bench::problem<float> wide(s);
    auto const run = [](auto& problem) {
        problem.template with_inputs<Operator::composition>(
            [](auto const& in, auto const& o) { Operator{}.forward(rd::exec::simd, in, o); });
    };
    run(narrow);
    double const error = error_of<T, Operator>(narrow.output(), s);
    double fast = 1e9, reference = 1e9;  // the best of interleaved tries
    for (int attempt = 0; attempt < 20; ++attempt) {
        reference = std::min(reference, bench::seconds_of([&] { run(wide); }));
        fast = std::min(fast, bench::seconds_of([&] { run(narrow); }));
    }
    for (auto _ : state) run(narrow);
    state.counters["tokens"] = benchmark::Counter(double(s.batch * s.time * state.iterations()),
                                                  benchmark::Counter::kIsRate);
    state.counters["over_float"] = reference / fast;
    state.counters["error"] = error;
}

template <class T, class Operator>
void add(std::string const& name) {
    for (layout memory : {layout::bthd, layout::bhtd}) {
        std::string const title =
            "sixteen_bits/" + name + (memory == layout::bthd ? "/bthd" : "/bhtd");
        benchmark::RegisterBenchmark(title.c_str(), [=](benchmark::State& state) {
            against_float<T, Operator>(state, {.time = 8192, .memory = memory});
        })->UseRealTime();
    }
}

template <class Operator>
void add_both(std::string const& name, Operator) {
    add<Eigen::bfloat16, Operator>(name + "/bfloat16");
    add<Eigen::half, Operator>(name + "/half");
}

}  // namespace

int main(int argc, char** argv) {
    add_both("none", rd::attention());
    add_both("scalar", rd::attention(rd::decay::scalar));
    add_both("vector", rd::attention(rd::decay::vector));
    add_both("additive", rd::attention(rd::decay::additive));
    add_both("gated_delta", rd::attention(rd::decay::scalar, rd::update::delta));
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
}
