/// @file
/// Forward and backward: backward/<decay>/D<channels>/T<tokens>. `of_forward` is the time of both
/// over that of forward. And one head of a long sequence, whose time threads share:
/// backward/<decay>/one_head/<threads>.
#include "support/gradients.hpp"
#include "support/row.hpp"

namespace {

using bench::shape;
namespace rd = rondo;

/// Seconds of one call, the least of several.
template <class Call>
double seconds(Call const& call) {
    double best = 1e9;
    for (int i = 0; i < 5; ++i) {
        best = std::min(best, bench::processor_seconds_of([&] {
                                  for (int n = 0; n < 4; ++n) call();
                              }) / 4);
    }
    return best;
}

template <class Operator>
void measure(benchmark::State& state, Operator op, shape const& s) {
    constexpr auto what = Operator::composition;
    bench::gradient_buffers<double, what> exact(s);
    bench::problem<double>(s).template with_inputs<what>([&](auto const& in, auto const&) {
        op.backward(rd::exec::openmp, in, rd::bthd(exact.d_o, s.batch, s.time, s.heads, s.width),
                    exact.views(s));
    });
    bench::gradient_buffers<float, what> got(s);
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

template <class... Policies>
void add_one_head(std::string const& name, Policies...) {
    static constexpr auto op = rd::attention(Policies{}...);
    int const most = rd::detail::threads_of(rd::exec::openmp);
    for (int threads = 1; threads <= most; threads *= 2) {
        shape const s{.time = 65536, .heads = 1, .depth = 64, .width = 64};
        std::string const title = "backward/" + name + "/one_head/" + std::to_string(threads);
        benchmark::RegisterBenchmark(title.c_str(), [=](benchmark::State& state) {
            constexpr auto what = op.composition;
            bench::gradient_buffers<float, what> to(s);
            bench::problem<float>(s).template with_inputs<what>([&](auto const& in, auto const&) {
                auto const d_o = rd::bthd(to.d_o, s.batch, s.time, s.heads, s.width);
                bench::report(state, 3 * s.flops(), 3 * s.bytes(what), -1, threads, [&] {
                    op.backward(rd::exec::openmp.threads(threads), in, d_o, to.views(s));
                });
            });
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
    add_one_head("none", rd::decay::none);
    add_one_head("scalar", rd::decay::scalar);
    add_one_head("vector", rd::decay::vector);
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
}
