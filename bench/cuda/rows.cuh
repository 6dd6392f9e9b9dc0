/// @file
/// What the rows of the forward benchmark share: the error of a call, and a row for each length.
#pragma once

#include "call.cuh"

namespace bench {

/// Error of one head of one sequence against the same in double on the same numbers; run(place,
/// inputs, o) is the call.
template <rd::detail::composition What, class T, class Run>
double error_of(tensors<T> const& x, unsigned seed, Run const& run) {
    tensors<double> const wide(x.s, What, x.ones, seed);
    wide.template with_inputs<What>(
        1, [&](auto const& in, auto const& o) { run(rd::exec::cuda{}, in, o); });
    x.template with_inputs<What>(
        0, [&](auto const& in, auto const& o) { run(rd::exec::cuda{}, in, o); });
    auto const got = on_host(x.o.data(), x.s.time * x.s.heads * x.s.width);
    auto const want = on_host(wide.o.data(), x.s.time * x.s.heads * x.s.width);
    std::vector<float> a;
    std::vector<double> b;
    for (rd::index t = 0; t < x.s.time; ++t) {
        for (rd::index e = 0; e < x.s.width; ++e) {
            auto const at = std::size_t(t * x.s.heads * x.s.width + e);
            a.push_back(float(got[at]));
            b.push_back(want[at]);
        }
    }
    return error_of(a, b);
}

/// A row for each length.
template <class T, class Operator>
void forward(report& to, std::string const& name, Operator op, bool ones = false,
             double least_gate = shape{}.least_gate) {
    static constexpr auto what = Operator::composition;
    for_each_length(to, name, [&](std::string const& title, shape s) {
        s.least_gate = least_gate;
        tensors<T> const one(s, what, ones, 1), other(s, what, ones, 11);
        double const error = error_of<what>(
            one, 1, [&](auto place, auto const& in, auto const& o) { op.forward(place, in, o); });
        double const ms = milliseconds(2, [&](cudaStream_t stream, int turn) {
            (turn == 0 ? one : other)
                .template with_inputs<what>(0, [&](auto const& in, auto const& o) {
                    op.forward(rd::exec::cuda{stream}, in, o);
                });
        });
        to.row(title, ms, one.bytes(what), error);
    });
}

}  // namespace bench
