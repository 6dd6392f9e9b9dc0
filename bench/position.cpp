/// @file
/// Positions beside the machine's limits, one core: turns in shares of a copy, Toeplitz encodings
/// in shares of the multipliers. position/<encoding>/<extents>.
#include "support/row.hpp"

#include <rondo/position.hpp>

#include <algorithm>

namespace {

namespace rd = rondo;

/// The same values in float and double.
template <class T>
bench::numbers<T> values(rd::index n, float low, float high) {
    std::mt19937 generator{7};
    std::uniform_real_distribution<float> uniform{low, high};
    bench::numbers<T> result(std::size_t(n), 0);
    for (T& x : result) x = uniform(generator);
    return result;
}

struct turn_shape {
    rd::index batch, time, heads, depth;
    std::string name() const {
        return std::to_string(batch) + "x" + std::to_string(time) + "x" + std::to_string(heads) +
               "x" + std::to_string(depth);
    }
};

/// An encoding of x [batch, time, head, channel]; `widen` is how many channels y has for each of x.
template <class T>
struct turn_problem {
    turn_shape s;
    rd::index widen;
    bench::numbers<T> x = values<T>(s.batch * s.time * s.heads * s.depth, -1, 1);
    bench::numbers<T> theta = values<T>(s.heads * s.depth, 0, 1);
    bench::numbers<T> y = bench::numbers<T>(std::size_t(widen) * x.size());

    template <class Call>
    void run(Call const& call) {
        rd::index const angles = widen == 2 ? s.depth : s.depth / 2;
        rd::view<T const, 2> const angle(theta.data(), {s.heads, angles});
        call(rd::bthd(std::as_const(x), s.batch, s.time, s.heads, s.depth), angle,
             rd::bthd(y, s.batch, s.time, s.heads, widen * s.depth));
    }
};

template <class Call>
void turn(benchmark::State& state, turn_shape const& s, rd::index widen, Call const& call) {
    turn_problem<float> problem{s, widen};
    turn_problem<double> exact{s, widen};
    problem.run(call);
    exact.run(call);
    auto const size = double(problem.x.size());
    bench::report(state, 6 * size, 4 * double(1 + widen) * size,
                  bench::error_of(problem.y, exact.y), 1, [&] { problem.run(call); });
}

/// tpe of x [time, channel] with m exponentials.
template <class T>
struct toeplitz_problem {
    rd::index time, channels, m;
    bench::numbers<T> x = values<T>(time * channels, -1, 1), b = values<T>(channels * m, -1, 1);
    bench::numbers<T> log_lambda = values<T>(channels * m, -1, -0.01F);
    bench::numbers<T> y = bench::numbers<T>(x.size());

    void run() {
        rd::view<T const, 2> const in(x.data(), {time, channels}), bs(b.data(), {channels, m}),
            ls(log_lambda.data(), {channels, m});
        rd::position::tpe().forward(rd::exec::simd, {in, bs, ls},
                                    rd::view<T, 2>(y.data(), {time, channels}));
    }
};

void toeplitz(benchmark::State& state, rd::index time, rd::index channels, rd::index m) {
    toeplitz_problem<float> problem{time, channels, m};
    toeplitz_problem<double> exact{time, channels, m};
    problem.run();
    exact.run();
    bench::report(state, 4.0 * double(time * channels * m), 8.0 * double(time * channels),
                  bench::error_of(problem.y, exact.y), 1, [&] { problem.run(); });
}

/// Time of `other` over that of `one`, the median of turns that alternate, in time of the
/// processor.
template <class One, class Other>
double median_ratio(One const& one, Other const& other) {
    std::vector<double> ratios;
    for (int attempt = 0; attempt < 41; ++attempt) {
        double const first = bench::processor_seconds_of(one);
        ratios.push_back(bench::processor_seconds_of(other) / first);
    }
    std::nth_element(ratios.begin(), ratios.begin() + 20, ratios.end());
    return ratios[20];
}

/// An operator with fused rotation; of_plain: its time over that of the operator without.
template <class... Policies>
void fused(benchmark::State& state) {
    static constexpr auto plain = rd::attention(Policies{}...);
    static constexpr auto turned =
        rd::attention(Policies{}..., rd::position::fused(rd::lrpe::rotation));
    bench::shape const s{.time = 4096};
    bench::problem<float> problem(s);
    bench::problem<double> exact(s);
    auto const run = [](auto op, auto& on) {
        on.template with_inputs<decltype(op)::composition>(
            [&](auto const& in, auto const& o) { op.forward(rd::exec::simd, in, o); });
    };
    double const ratio = median_ratio([&] { run(plain, problem); }, [&] { run(turned, problem); });
    run(turned, exact);
    bench::report(state, s.flops(), s.bytes(plain.composition),
                  bench::error_of(problem.output(), exact.output()), 1,
                  [&] { run(turned, problem); });
    state.counters["of_plain"] = ratio;
}

/// An operator with fused cosine; of_apart: its time over that of lrpe on q and k and then the
/// operator of twice the channels, taken as above.
void fused_cosine(benchmark::State& state) {
    static constexpr auto plain = rd::attention(rd::decay::none);
    static constexpr auto op =
        rd::attention(rd::decay::none, rd::position::fused(rd::lrpe::cosine));
    rd::index const T = 4096, H = 8, D = 64;
    auto const q = values<float>(T * H * D, -1, 1), k = values<float>(T * H * D, -0.1F, 0.1F);
    bench::numbers<float> wide_q(2 * q.size()), wide_k(wide_q.size()), o(q.size()), want(q.size());
    auto const view = [=](auto& x) { return rd::bthd(x, 1, T, H, D); };
    auto const wide = [=](auto& x) { return rd::bthd(x, 1, T, H, 2 * D); };
    auto const apart = [&] {
        rd::position::lrpe(rd::lrpe::cosine).forward(rd::exec::simd, {view(q)}, wide(wide_q));
        rd::position::lrpe(rd::lrpe::cosine).forward(rd::exec::simd, {view(k)}, wide(wide_k));
        plain.forward(rd::exec::simd, {wide(wide_q), wide(wide_k), view(q)}, view(want));
    };
    auto const together = [&] { op.forward(rd::exec::simd, {view(q), view(k), view(q)}, view(o)); };
    double const ratio = median_ratio(apart, together);
    bench::report(state, 8.0 * double(T * H * D * D), 16.0 * double(q.size()),
                  bench::error_of(o, std::vector<double>(want.begin(), want.end())), 1, together);
    state.counters["of_apart"] = ratio;
}

}  // namespace

int main(int argc, char** argv) {
    auto const add = [](std::string const& name, auto body) {
        benchmark::RegisterBenchmark(("position/" + name).c_str(), body);
    };
    for (turn_shape s : {turn_shape{1, 4096, 8, 64}, {1, 16384, 1, 64}, {8, 1024, 8, 128}}) {
        add("rope/" + s.name(), [=](auto& state) {
            turn(state, s, 1, [](auto x, auto, auto y) {
                rd::position::rope().forward(rd::exec::simd, {x}, y);
            });
        });
        add("rotation/" + s.name(), [=](auto& state) {
            turn(state, s, 1, [](auto x, auto theta, auto y) {
                rd::position::lrpe(rd::lrpe::rotation).forward(rd::exec::simd, {x, theta}, y);
            });
        });
        add("cosine/" + s.name(), [=](auto& state) {
            turn(state, s, 2, [](auto x, auto theta, auto y) {
                rd::position::lrpe(rd::lrpe::cosine).forward(rd::exec::simd, {x, theta}, y);
            });
        });
    }
    for (rd::index channels : {64, 480, 512}) {
        for (rd::index m : {4, 16}) {
            add("tpe/4096x" + std::to_string(channels) + "/m" + std::to_string(m),
                [=](auto& state) { toeplitz(state, 4096, channels, m); });
        }
    }
    add("fused/none/T4096", fused<rd::decay::none_t>);
    add("fused/scalar/T4096", fused<rd::decay::scalar_t>);
    add("fused/vector/T4096", fused<rd::decay::vector_t>);
    add("fused/additive/T4096", fused<rd::decay::additive_t>);
    add("fused/cosine/T4096", fused_cosine);
    add("fused/single_scan/T4096", fused<rd::decay::additive_t, rd::bidirectional_t>);
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
}
