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

constexpr auto cross = rd::multiscan(vector, rd::path::cross);

/// Runs `scan(place, inputs, output)` in float, beside its error against the same in double.
template <rd::detail::composition What, class Scan>
void row(benchmark::State& state, shape const& s, int threads, Scan const& scan) {
    bench::problem<double> exact(s);
    exact.with_inputs<What>([&](auto const& in, auto const& o) { scan(rd::exec::openmp, in, o); });
    bench::problem<float> problem(s);
    problem.with_inputs<What>([&](auto const& in, auto const& o) {
        auto const call = [&] { scan(rd::exec::openmp.threads(threads), in, o); };
        call();
        double const error = bench::error_of(problem.output(), exact.output());
        bench::report(state, s.flops(), s.bytes(What), error, threads, call);
    });
    state.counters["tokens"] = benchmark::Counter(double(s.time) * double(state.iterations()),
                                                  benchmark::Counter::kIsRate);
}

template <class Operator>
void scan_with(benchmark::State& state, Operator op, shape const& s, int threads) {
    row<Operator::composition>(state, s, threads, [=](auto place, auto const& in, auto const& o) {
        op.forward(place, in, o);
    });
}

void scan_cross(benchmark::State& state, shape const& s, int threads, rd::grid<2> const& tokens) {
    row<vector.composition>(state, s, threads, [&](auto place, auto const& in, auto const& o) {
        cross.forward(place, tokens, in, o);
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
            add("single_additive", [=](auto& state) { scan_with(state, single, s, threads); });
            add("bidirectional_vector", [=](auto& state) { scan_with(state, both, s, threads); });
            add("cross_vector", [=](auto& state) { scan_cross(state, s, threads, tokens); });
        }
    }
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
}
