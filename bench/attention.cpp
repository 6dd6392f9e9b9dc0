/// @file
/// Every decay in every form: attention/<decay>/<form>/D<channels>/T<tokens>/<memory
/// order>/<threads>.
#include "support/row.hpp"

#include <map>

namespace {

using bench::layout;
using bench::shape;
namespace rd = rondo;

/// The output of the recurrence in double, once for each problem.
template <class Operator>
std::vector<double> const& reference(Operator op, shape const& s) {
    static std::map<std::pair<rd::index, rd::index>, std::vector<double>> known;
    auto& result = known[{s.time + 1000000 * int(s.memory), s.depth}];
    if (result.empty()) {
        static constexpr auto recurrence = [] {
            auto what = Operator::composition;
            what.form = rd::detail::form_kind::recurrent;
            return what;
        }();
        bench::problem<double> exact(s);
        exact.with_inputs<recurrence>([](auto const& in, auto const& o) {
            rd::attention_t<recurrence>{}.forward(rd::exec::openmp, in, o);
        });
        result = exact.output();
    }
    static_cast<void>(op);
    return result;
}

template <class Operator>
void forward(benchmark::State& state, Operator op, shape const& s, int threads) {
    bench::problem<float> problem(s);
    problem.with_inputs<Operator::composition>([&](auto const& in, auto const& o) {
        auto const call = [&] {
            if (threads == 1) {
                op.forward(rd::exec::simd, in, o);
            } else {
                op.forward(rd::exec::openmp.threads(threads), in, o);
            }
        };
        call();
        double const error = bench::error_of(problem.output(), reference(op, s));
        bench::report(state, s.flops(), s.bytes(Operator::composition), error, threads, call);
    });
}

template <class Operator>
void add(std::string const& name, Operator op, shape const& s, int threads) {
    std::string const title =
        "attention/" + name + "/D" + std::to_string(s.depth) + "/T" + std::to_string(s.time) +
        (s.memory == layout::bthd ? "/bthd/" : "/bhtd/") + std::to_string(threads);
    benchmark::RegisterBenchmark(title.c_str(), [=](benchmark::State& state) {
        forward(state, op, s, threads);
    })->UseRealTime();
}

/// The operator that picks its form on all shapes, and each form by name on a short one.
template <class... Policies>
void add_all(std::string const& name, Policies... policies) {
    constexpr auto op = rd::attention(Policies{}...);
    for (layout memory : {layout::bthd, layout::bhtd}) {
        for (rd::index time : {128, 512, 2048, 8192, 65536}) {
            add(name + "/picked", op, {.time = time, .memory = memory}, 1);
        }
        add(name + "/picked", op, {.time = 2048, .depth = 128, .width = 128, .memory = memory}, 1);
        add(name + "/picked", op, {.time = 2048, .depth = 60, .width = 60, .memory = memory}, 1);
    }
    add(name + "/picked", op, {.time = 8192}, 2);
    add(name + "/picked", op, {.time = 65536, .heads = 1}, 2);
    add(name + "/recurrent", rd::attention(Policies{}..., rd::recurrent), {}, 1);
    add(name + "/quadratic", rd::attention(Policies{}..., rd::quadratic), {}, 1);
    (static_cast<void>(policies), ...);
}

}  // namespace

int main(int argc, char** argv) {
    add_all("none", rd::decay::none);
    add_all("constant", rd::decay::constant);
    add_all("scalar", rd::decay::scalar);
    add_all("vector", rd::decay::vector);
    add_all("additive", rd::decay::additive);
    add_all("additive_scalar", rd::decay::additive_scalar);
    add_all("single_scan", rd::decay::additive, rd::bidirectional);
    add_all("lion_s", rd::decay::scalar, rd::decay::on_write, rd::bidirectional, rd::normalize::sum,
            rd::feature::silu_half_unit);
    add_all("delta", rd::update::delta);
    add_all("gated_delta", rd::decay::scalar, rd::update::delta);
    add_all("kda", rd::decay::vector, rd::update::delta);
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
}
