/// @file
/// Every decay in every form, and a rival:
/// attention/<decay>/<form>/D<channels>/T<tokens>/H<heads>/<memory order>/<threads>.
/// Filters: --benchmark_filter='picked/D64/T(512|8192)/' is what most tables need.
#include "support/rival.hpp"
#include "support/row.hpp"

#include <sstream>

namespace {

using bench::layout;
using bench::shape;
namespace rd = rondo;

/// What runs: an operator in float, and its recurrent form, in double the reference of its error.
template <class Operator>
struct library {
    static constexpr auto composition = Operator::composition;
    static constexpr auto recurrence = [] {
        auto what = Operator::composition;
        what.form = rd::detail::form_kind::recurrent;
        return what;
    }();

    static void forward(shape const&, int threads, auto const& in, auto const& o) {
        if (threads == 1) {
            Operator{}.forward(rd::exec::simd, in, o);
        } else {
            Operator{}.forward(rd::exec::openmp.threads(threads), in, o);
        }
    }
};

struct eigen : library<decltype(rd::attention())> {
    static void forward(shape const& s, int, auto const& in, auto const& o) {
        Eigen::setNbThreads(1);
        bench::eigen_chunks(s, in, o);
    }
};

/// The difference from the recurrence in double, for one head of the same length.
template <class Subject>
double error_of(shape s) {
    s.heads = 1;
    bench::problem<double> exact(s);
    exact.with_inputs<Subject::recurrence>([](auto const& in, auto const& o) {
        rd::attention_t<Subject::recurrence>{}.forward(rd::exec::simd, in, o);
    });
    bench::problem<float> got(s);
    got.with_inputs<Subject::composition>(
        [&](auto const& in, auto const& o) { Subject::forward(s, 1, in, o); });
    return bench::error_of(got.output(), exact.output());
}

template <class Subject>
void add(std::string const& name, shape const& s, int threads = 1) {
    std::ostringstream title;
    title << "attention/" << name << "/D" << s.depth << "/T" << s.time << "/H" << s.heads
          << (s.memory == layout::bthd ? "/bthd/" : "/bhtd/") << threads;
    auto const run = [=](benchmark::State& state) {
        double const error = error_of<Subject>(s);
        bench::problem<float> problem(s);
        problem.with_inputs<Subject::composition>([&](auto const& in, auto const& o) {
            auto const call = [&] { Subject::forward(s, threads, in, o); };
            call();
            bench::report(state, s.flops(), s.bytes(Subject::composition), error, threads, call);
        });
    };
    benchmark::RegisterBenchmark(title.str().c_str(), run)->UseRealTime();
}

/// The operator that picks its form on all shapes, and each form by name on a short one.
template <class... Policies>
void add_all(std::string const& name, Policies...) {
    using picked = library<decltype(rd::attention(Policies{}...))>;
    int const most = rd::detail::threads_of(rd::exec::openmp);
    for (layout memory : {layout::bthd, layout::bhtd}) {
        for (rd::index time : {128, 512, 2048, 8192, 65536}) {
            add<picked>(name + "/picked", {.time = time, .memory = memory});
        }
        for (rd::index channels : {60, 128}) {
            add<picked>(name + "/picked",
                        {.time = 2048, .depth = channels, .width = channels, .memory = memory});
        }
        if (most > 1) add<picked>(name + "/picked", {.time = 8192, .memory = memory}, most);
    }
    add<picked>(name + "/picked", {.time = 65536, .heads = 1});
    if (most > 1) add<picked>(name + "/picked", {.time = 65536, .heads = 1}, most);
    add<library<decltype(rd::attention(Policies{}..., rd::recurrent))>>(name + "/recurrent", {});
    add<library<decltype(rd::attention(Policies{}..., rd::quadratic))>>(name + "/quadratic", {});
}

}  // namespace

int main(int argc, char** argv) {
    add_all("none", rd::decay::none);
    for (layout memory : {layout::bthd, layout::bhtd}) {
        for (rd::index time : {512, 8192})
            add<eigen>("none/eigen", {.time = time, .memory = memory});
        add<eigen>("none/eigen", {.time = 2048, .depth = 128, .width = 128, .memory = memory});
    }
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
