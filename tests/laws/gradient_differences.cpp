#include "support/check_gradient.hpp"
#include "support/gradient_law.hpp"

#include <cstdio>

namespace support {

namespace {

constexpr double difference_bound = 1e-6;

/// sum(d_o o) + sum(d_out out), by the library's own forward pass. An additive state is taken
/// relative to the maxima `reference`, since that is what its gradient is by.
double loss(subject const& s, problem const& p, gradient_call const& call,
            oracle::values const& reference) {
    auto const got = s.forward()(p, {});
    double sum = 0;
    for (std::size_t i = 0; i < got.o.size(); ++i) sum += call.d_o[i] * got.o[i];
    if (!oracle::has_state(p.op) || !call.hands_d_out) return sum;
    bool const additive = oracle::is_additive(p.op);
    index const C = oracle::gate_channels(p.op, p.n), heads = p.n.B * p.n.Hkv;
    for (index row = 0; row < heads * p.n.D; ++row) {
        index const gate = C == 1 ? row / p.n.D : row;
        double scale = 1;
        if (additive && reference[gate] != -oracle::infinity) {
            scale = std::exp(got.out.max[gate] - reference[gate]);
        }
        double terms = 0;
        for (index e = 0; e < p.n.E; ++e) {
            terms += call.d_out.s[row * p.n.E + e] * got.out.s[row * p.n.E + e];
        }
        if (p.op.normalized) terms += call.d_out.normalizer[row] * got.out.normalizer[row];
        bool const first = C > 1 || row % p.n.D == 0;
        if (additive && first) terms += call.d_out.sum[gate] * got.out.sum[gate];
        sum += scale * terms;
    }
    return sum;
}

/// The gradient by each argument in turn against differences along random directions.
void check_differences(std::string const& what, subject const& s, problem const& p,
                       gradient_call const& call, oracle::gradients const& to, random& r) {
    auto const reference = s.forward()(p, {}).out.max;
    auto check = [&](char const* argument, auto const& place, values const& gradient) {
        problem moved = p;
        values& x = place(moved);
        if (x.empty()) return;
        auto const f = [&](values const& at) {
            x = at;
            return loss(s, moved, call, reference);
        };
        values const here = x;
        INFO(what << "\n  the gradient by " << argument);
        CHECK(rondo::check_gradient(f, here, gradient, r) <= difference_bound);
    };
    check(
        "q", [](problem& x) -> values& { return x.q; }, to.q);
    check(
        "k", [](problem& x) -> values& { return x.k; }, to.k);
    check(
        "v", [](problem& x) -> values& { return x.v; }, to.v);
    check(
        "gate", [](problem& x) -> values& { return x.gate; }, to.gate);
    check(
        "beta", [](problem& x) -> values& { return x.beta; }, to.beta);
    if (!oracle::has_state(p.op)) return;
    check(
        "in.s", [](problem& x) -> values& { return x.in.s; }, to.in.s);
    if (p.op.normalized) {
        check(
            "in.normalizer", [](problem& x) -> values& { return x.in.normalizer; },
            to.in.normalizer);
    }
    if (oracle::is_additive(p.op)) {
        check(
            "in.sum", [](problem& x) -> values& { return x.in.sum; }, to.in.sum);
    }
}

}  // namespace

TEST_CASE("gradients are finite differences of the forward pass") {
    int compositions = 0;
    for (gradient_subject const& s : gradient_subjects()) {
        subject const* const forward = find(s.op);
        REQUIRE(forward != nullptr);
        for (gradient_form const& f : s.forms) {
            random r("differences " + s.name + f.name);
            auto const p = small_problem(r, s.op);
            auto const call = random_gradient_call(r, p);
            auto const a = random_arrangement(r);
            auto const what = describe(s, f, p, call, a);
            check_differences(what, *forward, p, call, f.backward(p, call, a).to, r);
            ++compositions;
        }
    }
    std::printf("%d random compositions against differences, RONDO_SEED=%llu\n", compositions,
                static_cast<unsigned long long>(base_seed()));
    CHECK(compositions >= 200);
}

}  // namespace support
