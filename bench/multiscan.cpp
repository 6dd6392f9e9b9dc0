/// @file
/// One additive scan of a grid against several scans of a vector decay:
/// multiscan/<operator>/<grid>/<threads>.
#include "support/row.hpp"

namespace {

using bench::shape;
namespace rd = rondo;

constexpr auto single = rd::attention(rd::decay::additive, rd::bidirectional);
constexpr auto vector = rd::attention(rd::decay::vector);
constexpr auto both = rd::attention(rd::decay::vector, rd::bidirectional);

template <class Run>
void row(benchmark::State& state, shape const& s, int threads, Run const& run) {
    bench::report(state, s.flops(), s.bytes(single.composition), 0, threads, run);
    state.counters["tokens"] = benchmark::Counter(double(s.time) * double(state.iterations()),
                                                  benchmark::Counter::kIsRate);
}

void scan_once(benchmark::State& state, shape const& s, int threads) {
    bench::problem<float> problem(s);
    problem.with_inputs<single.composition>([&](auto const& in, auto const& o) {
        row(state, s, threads, [&] { single.forward(rd::exec::openmp.threads(threads), in, o); });
    });
}

void scan_both_ways(benchmark::State& state, shape const& s, int threads) {
    bench::problem<float> problem(s);
    problem.with_inputs<both.composition>([&](auto const& in, auto const& o) {
        row(state, s, threads, [&] { both.forward(rd::exec::openmp.threads(threads), in, o); });
    });
}

void scan_cross(benchmark::State& state, shape const& s, int threads, rd::grid<2> const& tokens) {
    bench::problem<float> problem(s);
    constexpr auto cross = rd::multiscan(vector, rd::path::cross);
    problem.with_inputs<vector.composition>([&](auto const& in, auto const& o) {
        row(state, s, threads,
            [&] { cross.forward(rd::exec::openmp.threads(threads), tokens, in, o); });
    });
}

}  // namespace

int main(int argc, char** argv) {
    for (int threads : {1, 2}) {
        for (rd::index side : {14, 32, 64, 128}) {
            rd::grid<2> const tokens(side, side);
            shape const s{.time = tokens.size()};
            std::string const at =
                std::to_string(side) + "x" + std::to_string(side) + "/" + std::to_string(threads);
            auto const add = [&](char const* name, auto body) {
                benchmark::RegisterBenchmark((std::string("multiscan/") + name + "/" + at).c_str(),
                                             body)
                    ->UseRealTime();
            };
            add("single_additive", [=](auto& state) { scan_once(state, s, threads); });
            add("bidirectional_vector", [=](auto& state) { scan_both_ways(state, s, threads); });
            add("cross_vector", [=](auto& state) { scan_cross(state, s, threads, tokens); });
        }
    }
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
}
