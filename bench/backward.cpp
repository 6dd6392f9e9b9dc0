/// @file
/// Forward and backward: backward/<decay>/D<channels>/T<tokens>. `of_forward` is the time of both
/// over that of forward.
#include "support/row.hpp"

#include <ctime>

namespace {

using bench::shape;
namespace rd = rondo;

template <class T, rd::detail::composition What>
struct gradient_buffers {
    rd::index tokens, depth, width;
    std::vector<T> d_o, q, k, v, gate, beta;

    explicit gradient_buffers(shape const& s)
        : tokens(s.tokens()),
          depth(s.depth),
          width(s.width),
          d_o(std::size_t(tokens * width)),
          q(std::size_t(tokens * depth)),
          k(q.size()),
          v(d_o.size()),
          gate(std::size_t(What.decay == rd::detail::decay_kind::constant ? s.heads
                           : What.per_channel()                           ? tokens * depth
                                                                          : tokens)),
          beta(std::size_t(tokens)) {
        std::mt19937 generator(11);
        std::uniform_real_distribution<float> uniform(-1, 1);
        for (T& x : d_o) x = T(uniform(generator));
    }

    rd::gradients<What, T> views(shape const& s) {
        rd::gradients<What, T> to;
        to.q = rd::bthd(q, s.batch, s.time, s.heads, depth);
        to.k = rd::bthd(k, s.batch, s.time, s.heads, depth);
        to.v = rd::bthd(v, s.batch, s.time, s.heads, width);
        if constexpr (What.decay == rd::detail::decay_kind::constant) {
            to.gate = rd::view<T, 1>(gate.data(), {s.heads});
        } else if constexpr (What.per_channel()) {
            to.gate = rd::bthd(gate, s.batch, s.time, s.heads, depth);
        } else if constexpr (What.gated()) {
            to.gate = rd::bth(gate, s.batch, s.time, s.heads);
        }
        if constexpr (What.delta) to.beta = rd::bth(beta, s.batch, s.time, s.heads);
        return to;
    }
};

/// Seconds of one call, the least of several, of processor time: one thread, and a ratio of two
/// calls is asked for even where other programs run.
template <class Call>
double seconds(Call const& call) {
    double best = 1e9;
    for (int i = 0; i < 5; ++i) {
        auto const start = std::clock();
        for (int n = 0; n < 4; ++n) call();
        best = std::min(best, double(std::clock() - start) / (4.0 * CLOCKS_PER_SEC));
    }
    return best;
}

template <class Operator>
void measure(benchmark::State& state, Operator op, shape const& s) {
    constexpr auto what = Operator::composition;
    gradient_buffers<double, what> exact(s);
    bench::problem<double>(s).template with_inputs<what>([&](auto const& in, auto const&) {
        op.backward(rd::exec::openmp, in, rd::bthd(exact.d_o, s.batch, s.time, s.heads, s.width),
                    exact.views(s));
    });
    gradient_buffers<float, what> got(s);
    bench::problem<float>(s).template with_inputs<what>([&](auto const& in, auto const& o) {
        auto const d_o = rd::bthd(got.d_o, s.batch, s.time, s.heads, s.width);
        auto const forward = [&] { op.forward(rd::exec::simd, in, o); };
        auto const backward = [&] { op.backward(rd::exec::simd, in, d_o, got.views(s)); };
        double const once = seconds(forward), back = seconds(backward);
        double const error =
            std::max(bench::error_of(got.k, exact.k), bench::error_of(got.gate, exact.gate));
        // Six products of the state's size stand against the forward pass's two.
        bench::report(state, 3 * s.flops(), 3 * s.bytes(what), error, 1, backward);
        state.counters["of_forward"] = (once + back) / once;
    });
}

template <class... Policies>
void add(std::string const& name, Policies...) {
    constexpr auto op = rd::attention(Policies{}...);
    for (rd::index channels : {64, 128}) {
        shape const s{.time = 2048, .heads = 4, .depth = channels, .width = channels};
        std::string const title =
            "backward/" + name + "/D" + std::to_string(channels) + "/T" + std::to_string(s.time);
        benchmark::RegisterBenchmark(title.c_str(), [=](benchmark::State& state) {
            measure(state, op, s);
        })->UseRealTime();
    }
}

}  // namespace

int main(int argc, char** argv) {
    add("none", rd::decay::none);
    add("constant", rd::decay::constant);
    add("scalar", rd::decay::scalar);
    add("vector", rd::decay::vector);
    add("additive", rd::decay::additive);
    add("single_scan", rd::decay::additive, rd::bidirectional);
    add("gated_delta", rd::decay::scalar, rd::update::delta);
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
}
