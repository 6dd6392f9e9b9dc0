// One head's gradients by several threads, which share its time.

#include "support/catch.hpp"
#include "support/random.hpp"

#include <rondo/rondo.hpp>

#include <algorithm>
#include <utility>
#include <vector>

namespace {

namespace rd = rondo;
using floats = std::vector<float>;

constexpr rd::index T = 1000, D = 16;

floats draw(support::random& r, rd::index count) {
    floats x(static_cast<std::size_t>(count));
    for (float& y : x) y = static_cast<float>(r.uniform(-1, 1));
    return x;
}

struct head {
    floats q, k, v, gate, state, d_o, d_out;

    explicit head(support::random& r)
        : q(draw(r, T * D)),
          k(draw(r, T * D)),
          v(draw(r, T * D)),
          gate(draw(r, T * D)),
          state(draw(r, D * D)),
          d_o(draw(r, T * D)),
          d_out(draw(r, D * D)) {
        for (float& g : gate) g = g > 0.95F ? -100 : (g - 1) / 8;
    }
};

/// How the state's gradients are handed in and out.
enum class states { none, apart, in_place };

template <class Operator>
head gradients(Operator const& op, head const& x, int threads, rd::index every, states how) {
    constexpr auto what = Operator::composition;
    auto const rows = [](auto& from) { return rd::bthd(from, 1, T, 1, D); };
    auto const gate = [&](auto& from) {
        if constexpr (what.per_channel()) {
            return rows(from);
        } else {
            return rd::bth(from, 1, T, 1);
        }
    };
    head to = x;
    rd::gradients<what, float> wanted{.q = rows(to.q), .k = rows(to.k), .v = rows(to.v)};
    if constexpr (what.gated()) wanted.gate = gate(to.gate);
    auto const in = [&] {
        using inputs = rd::inputs<what, float>;
        if constexpr (what.gated()) return inputs{rows(x.q), rows(x.k), rows(x.v), gate(x.gate)};
        if constexpr (!what.gated()) return inputs{rows(x.q), rows(x.k), rows(x.v)};
    }();
    auto state = op.template state<float>(1, 1, D, D), d_out = state, d_in = state;
    std::copy(x.state.begin(), x.state.end(), state.s().data());
    std::copy(x.d_out.begin(), x.d_out.end(), d_out.s().data());
    auto& d_front = how == states::in_place ? d_out : d_in;
    rd::gradient_options<float> with{.every = every};
    if (how != states::none) {
        with.in = std::as_const(state), with.d_out = std::as_const(d_out), with.d_in = d_front;
    }
    op.backward(rd::exec::openmp.threads(threads), in, rows(x.d_o), wanted, with);
    std::copy_n(d_front.s().data(), D * D, to.state.begin());
    return to;
}

template <class Operator>
void check(Operator const& op, char const* name) {
    support::random r(name);
    head const x(r);
    for (states how : {states::none, states::apart, states::in_place}) {
        for (rd::index every : {1, 3}) {
            auto const want = gradients(op, x, 1, every, how);
            for (int threads : {2, 3, 4, 16}) {
                auto const got = gradients(op, x, threads, every, how);
                INFO(name << " by " << threads << " threads, every " << every);
                CHECK((got.q == want.q));
                CHECK((got.k == want.k));
                CHECK((got.v == want.v));
                CHECK((got.gate == want.gate));
                CHECK((got.state == want.state));
            }
        }
    }
}

}  // namespace

TEST_CASE("threads that share one head's time leave its gradients bit for bit") {
    check(rd::attention(rd::decay::none), "none");
    check(rd::attention(rd::decay::scalar), "scalar");
    check(rd::attention(rd::decay::vector), "vector");
    check(rd::attention(rd::decay::additive), "additive");
}
