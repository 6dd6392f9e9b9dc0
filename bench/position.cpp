/// @file
/// Positions beside the machine's limits, one core: turns in shares of a copy, Toeplitz encodings
/// in shares of the multipliers. position/<encoding>/<extents>.
#include "support/row.hpp"

#include <rondo/position.hpp>

namespace {

namespace rd = rondo;

std::vector<float> values(rd::index n, float low, float high) {
    std::mt19937 generator{7};
    std::uniform_real_distribution<float> uniform{low, high};
    std::vector<float> result(std::size_t(n), 0);
    for (float& x : result) x = uniform(generator);
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
template <class Call>
void turn(benchmark::State& state, turn_shape const& s, rd::index widen, Call const& call) {
    rd::index const size = s.batch * s.time * s.heads * s.depth;
    auto const x = values(size, -1, 1), theta = values(s.heads * s.depth, 0, 1);
    std::vector<float> y(std::size_t(widen * size));
    auto const in = rd::bthd(x, s.batch, s.time, s.heads, s.depth);
    auto const out = rd::bthd(y, s.batch, s.time, s.heads, widen * s.depth);
    rd::index const angles = widen == 2 ? s.depth : s.depth / 2;
    rd::view<float const, 2> const angle(theta.data(), {s.heads, angles});
    bench::report(state, 6.0 * double(size), 4.0 * double((1 + widen) * size), -1, 1,
                  [&] { call(in, angle, out); });
}

/// tpe of x [time, channel] with m exponentials.
void toeplitz(benchmark::State& state, rd::index time, rd::index channels, rd::index m) {
    auto const x = values(time * channels, -1, 1), b = values(channels * m, -1, 1);
    auto const log_lambda = values(channels * m, -1, -0.01F);
    std::vector<float> y(x.size());
    rd::view<float const, 2> const in(x.data(), {time, channels});
    rd::view<float const, 2> const bs(b.data(), {channels, m}),
        ls(log_lambda.data(), {channels, m});
    rd::view<float, 2> const out(y.data(), {time, channels});
    bench::report(state, 4.0 * double(time * channels * m), 8.0 * double(time * channels), -1, 1,
                  [&] {
                      rd::position::tpe().forward(rd::exec::simd, {in, bs, ls}, out);
                  });
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
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
}
