/// @file
/// One additive scan of a grid against all that other operators need to see the whole of it:
/// multiscan/<operator>/<grid>/D<channels>/<forward or both>/<threads>, "both" being forward and
/// backward.
///
/// `over` is the operator's time over the single scan's, taken in turn with it; `of_fma` the share
/// of the multiply-adds that one scan needs. Rows multiscan/goal/... have other pairs, and what
/// their ratio is meant to be. Each row is the best of several tries. The longest rows, minutes
/// together, run only where a filter is given:
///     --benchmark_filter=goal            the goals alone
///     --benchmark_filter=D64/forward/1/  one thread, forward, 64 channels
///     --benchmark_filter=.               everything
#include "support/gradients.hpp"
#include "support/row.hpp"

#include <sstream>
#include <string_view>

namespace {

using bench::shape;
namespace rd = rondo;

/// An operator along paths; along the raster it is the operator itself.
template <auto Operator, class... Paths>
struct scans {
    static constexpr auto composition = Operator.composition;
    static constexpr auto all = rd::multiscan(Operator, Paths{}...);
};
template <class... Policies>
using raster = scans<rd::attention(Policies{}...), rd::path::raster_t>;
template <class... Policies>
using both_ways = raster<Policies..., rd::bidirectional_t>;

constexpr auto scalar = rd::attention(rd::decay::scalar);
constexpr auto vector = rd::attention(rd::decay::vector);
using single = both_ways<rd::decay::additive_t>;
using cross_scalar = scans<scalar, rd::path::cross_t>;
using cross_vector = scans<vector, rd::path::cross_t>;
using snakes_vector = scans<vector, rd::path::snake_t, rd::path::snake_column_t>;
using lion_curves = scans<rd::models::lion_s, rd::path::snake_t, rd::path::snake_column_t>;

struct setting {
    shape problem;
    bool backward;
    int threads;
};

/// Backward has six products of the state's size, forward two.
double flops_of(setting const& how) { return how.problem.flops() * (how.backward ? 4 : 1); }

/// Some scans of one grid with their data.
template <class Scans, int Rank>
class contender {
public:
    contender(rd::grid<Rank> const& tokens, setting const& how)
        : tokens_(tokens),
          how_(how),
          problem_(how.problem),
          gradients_(how.backward ? how.problem : shape{.time = 0}) {}

    /// Seconds of one go: of the processor where one thread runs, or of the clock.
    double seconds() {
        return how_.threads == 1
                   ? bench::processor_seconds_of([&] { run(rd::exec::simd); })
                   : bench::seconds_of([&] { run(rd::exec::openmp.threads(how_.threads)); });
    }

private:
    template <class Place>
    void run(Place const& place) {
        problem_.template with_inputs<Scans::composition>([&](auto const& in, auto const& o) {
            Scans::all.forward(place, tokens_, in, o);
            if (!how_.backward) return;
            shape const& s = how_.problem;
            Scans::all.backward(place, tokens_, in,
                                rd::bthd(gradients_.d_o, s.batch, s.time, s.heads, s.width),
                                gradients_.views(s));
        });
    }

    rd::grid<Rank> tokens_;
    setting how_;
    bench::problem<float> problem_;
    bench::gradient_buffers<float, Scans::composition> gradients_;
};

/// The difference from the recurrence in double, for one head.
template <class Scans, int Rank>
double error_of(rd::grid<Rank> const& tokens, shape s) {
    s.heads = 1;
    bench::problem<float> got(s);
    bench::problem<double> wanted(s);
    auto const run = [&](auto& problem, auto place) {
        problem.template with_inputs<Scans::composition>(
            [&](auto const& in, auto const& o) { Scans::all.forward(place, tokens, in, o); });
    };
    run(got, rd::exec::simd);
    run(wanted, rd::exec::openmp);
    return bench::error_of(got.output(), wanted.output());
}

/// Times `Scans` in turn with `Reference`.
template <class Scans, class Reference, int Rank>
void row(benchmark::State& state, rd::grid<Rank> const& tokens, setting const& how) {
    double const error = how.backward ? -1 : error_of<Scans>(tokens, how.problem);
    contender<Reference, Rank> reference(tokens, how);
    contender<Scans, Rank> rival(tokens, how);
    double limit = bench::fma_rate(), referred = reference.seconds(), best = rival.seconds();
    double const budget = 0.3;  // seconds
    int const tries = int(std::clamp(budget / (referred + best), 1.0, 20.0));
    for (auto _ : state) {
        for (int i = 0; i < tries; ++i) {
            referred = std::min(referred, reference.seconds());
            best = std::min(best, rival.seconds());
        }
        state.SetIterationTime(best);
    }
    limit = std::max(limit, bench::fma_rate());
    state.counters["of_fma"] = flops_of(how) / (best * limit * how.threads);
    state.counters["tokens"] = double(how.problem.batch * how.problem.time) / best;
    state.counters["over"] = best / referred;
    if (error >= 0) state.counters["error"] = error;
}

template <int Rank>
std::string name_of(rd::grid<Rank> const& tokens) {
    std::ostringstream name;
    name << tokens.extent(0);
    for (int axis = 1; axis < Rank; ++axis) name << "x" << tokens.extent(axis);
    return name.str();
}

template <class Scans, class Reference = single, int Rank>
void add(std::string const& name, rd::grid<Rank> const& tokens, setting const& how,
         double goal = 0) {
    std::ostringstream title;
    title << "multiscan/" << name << "/" << name_of(tokens) << "/D" << how.problem.depth
          << (how.backward ? "/both/" : "/forward/") << how.threads;
    benchmark::RegisterBenchmark(title.str().c_str(),
                                 [=](benchmark::State& state) {
                                     row<Scans, Reference>(state, tokens, how);
                                     if (goal > 0) state.counters["goal"] = goal;
                                 })
        ->UseManualTime()
        ->Iterations(1);
}

template <int Rank>
void add_all(rd::grid<Rank> const& tokens, setting const& how) {
    add<single>("single_additive", tokens, how);
    add<both_ways<>>("bidirectional_none", tokens, how);
    add<both_ways<rd::decay::constant_t>>("bidirectional_constant", tokens, how);
    add<both_ways<rd::decay::scalar_t>>("bidirectional_scalar", tokens, how);
    add<both_ways<rd::decay::vector_t>>("bidirectional_vector", tokens, how);
    if (Rank == 1) return;  // a line has no second path
    add<cross_scalar>("cross_scalar", tokens, how);
    add<cross_vector>("cross_vector", tokens, how);
    add<snakes_vector>("snakes_vector", tokens, how);
    add<lion_curves>("snakes_lion_s", tokens, how);
}

/// Rows of more flops than this wait for a filter.
constexpr double long_row = 1e10;

template <int Rank>
void add_settings(rd::grid<Rank> const& tokens, bool everything) {
    int const most = rd::detail::threads_of(rd::exec::openmp);
    for (rd::index channels : {64, 128}) {
        for (bool backward : {false, true}) {
            shape const s{.time = tokens.size(), .depth = channels, .width = channels};
            if (!everything && flops_of({s, backward, 1}) > long_row) continue;
            add_all(tokens, {s, backward, 1});
            if (most > 1) add_all(tokens, {s, backward, most});
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    bool const filtered = std::any_of(argv + 1, argv + argc, [](std::string_view argument) {
        return argument.starts_with("--benchmark_filter");
    });
    for (rd::index side : {14, 32, 64, 128, 256}) add_settings(rd::grid{side, side}, filtered);
    add_settings(rd::grid{16, 32, 32}, filtered);
    add_settings(rd::grid{16384}, filtered);

    rd::grid const image{128, 128};
    setting const how{{.time = image.size()}, false, 1};
    using raster_scalar = raster<rd::decay::scalar_t>;
    using raster_vector = raster<rd::decay::vector_t>;
    using column_vector = scans<vector, rd::path::column_t>;
    add<both_ways<rd::decay::scalar_t>, raster_scalar>("goal/bidirectional_over_causal_scalar",
                                                       image, how, 1.7);
    add<column_vector, raster_vector>("goal/column_over_raster_vector", image, how, 1.3);
    add<cross_vector, single>("goal/cross_vector_over_single", image, how, 4.5);
    add<both_ways<rd::decay::vector_t>, single>("goal/bidirectional_vector_over_single", image, how,
                                                2.3);
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
}
