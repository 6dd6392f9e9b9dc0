/// @file
/// One token of many sequences: decode/<operator>/D<channels>/<threads>. A step reads and writes
/// every state once, so a copy of memory is its limit; the limit and exec::serial, the plain loops,
/// are measured in turn with it.
#include "support/row.hpp"

namespace {

using bench::shape;
namespace rd = rondo;

constexpr shape decoded(rd::index channels) {
    return {.batch = 64, .time = 1, .heads = 8, .depth = channels, .width = channels};
}

/// The operator's state, and the problem's token, taken over and over.
template <class T, class Operator>
class decoder {
public:
    explicit decoder(shape const& s)
        : problem_(s), state_(Operator{}.template state<T>(s.batch, s.heads, s.depth, s.width)) {}

    template <class Place>
    void step(Place const& place) {
        problem_.template with_token<Operator::composition>(
            [&](auto const& in, auto const& o) { Operator{}.step(place, in, state_, o); });
    }

    bench::numbers<T> const& output() const { return problem_.output(); }

private:
    bench::problem<T> problem_;
    decltype(Operator{}.template state<T>(0, 0, 0, 0)) state_;
};

/// The difference from the same tokens in double.
template <class Operator>
double error_of_steps(shape const& s) {
    decoder<float, Operator> got(s);
    decoder<double, Operator> wanted(s);
    for (int token = 0; token < 16; ++token) {
        got.step(rd::exec::simd);
        wanted.step(rd::exec::serial);
    }
    return bench::error_of(got.output(), wanted.output());
}

template <class Operator>
void decode(benchmark::State& state, shape const& s, int threads) {
    double const error = error_of_steps<Operator>(
        {.batch = 2, .time = 1, .heads = s.heads, .depth = s.depth, .width = s.width});
    decoder<float, Operator> tokens(s);
    auto const step = [&] {
        if (threads == 1) {
            tokens.step(rd::exec::simd);
        } else {
            tokens.step(rd::exec::openmp.threads(threads));
        }
    };
    step();
    double const states = 2.0 * sizeof(float) * double(s.tokens() * s.depth * s.width);
    // What else runs on the machine slows whichever is running: the best of interleaved tries. The
    // copy is the faster one of a large one and one of the states' size.
    double fast = 1e9, plain = 1e9, copied = 0;
    for (int attempt = 0; attempt < 8; ++attempt) {
        copied = std::max({copied, bench::copy_once(bench::large_copy, threads),
                           bench::copy_once(std::size_t(states / 2), threads)});
        plain = std::min(plain, bench::seconds_of([&] { tokens.step(rd::exec::serial); }));
        for (int i = 0; i < 4; ++i) fast = std::min(fast, bench::seconds_of(step));
    }
    for (auto _ : state) step();
    state.counters["tokens"] =
        benchmark::Counter(double(s.batch * state.iterations()), benchmark::Counter::kIsRate);
    state.counters["of_copy"] = states / fast / copied;
    state.counters["over_serial"] = plain / fast;
    state.counters["error"] = error;
}

template <class Operator>
void add(std::string const& name, Operator) {
    for (rd::index channels : {64, 128}) {
        for (int threads : {1, rd::detail::threads_of(rd::exec::openmp)}) {
            std::string const title =
                "decode/" + name + "/D" + std::to_string(channels) + "/" + std::to_string(threads);
            benchmark::RegisterBenchmark(title.c_str(), [=](benchmark::State& state) {
                decode<Operator>(state, decoded(channels), threads);
            })->UseRealTime();
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    add("none", rd::attention());
    add("constant", rd::attention(rd::decay::constant));
    add("scalar", rd::attention(rd::decay::scalar));
    add("vector", rd::attention(rd::decay::vector));
    add("additive", rd::attention(rd::decay::additive));
    add("additive_scalar", rd::attention(rd::decay::additive_scalar));
    add("linear", rd::attention(rd::normalize::sum, rd::feature::elu_plus_one));
    add("delta", rd::attention(rd::update::delta));
    add("gated_delta", rd::attention(rd::decay::scalar, rd::update::delta));
    add("kda", rd::attention(rd::decay::vector, rd::update::delta));
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
}
