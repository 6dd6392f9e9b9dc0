#include "support/law.hpp"

#include <cmath>

namespace support {

namespace {

using oracle::infinity;

/// The gate row of one token, all heads and channels, set to x.
void set_gate(problem& p, index t, double x) {
    index const C = oracle::gate_channels(p.op, p.n);
    for (index head = 0; head < p.n.B * p.n.Hkv; ++head) {
        for (index c = 0; c < C; ++c) p.gate[(head * p.n.T + t) * C + c] = x;
    }
}

bool gated_by_token(subject const& s) {
    return s.op.decay == oracle::decay::scalar || s.op.decay == oracle::decay::vector;
}

bool all_zero(values const& x) {
    return std::all_of(x.begin(), x.end(), [](double a) { return a == 0; });
}

}  // namespace

TEST_CASE("a log decay of -inf forgets everything before it, exactly") {
    for (subject const& s : subjects()) {
        if (!gated_by_token(s) || s.op.direction != oracle::direction::causal) continue;
        random r("reset " + s.name);
        auto p = random_problem(r, s.op, {1, 2, 2, 90, 6, 5});
        index const reset = 40;
        set_gate(p, reset, -infinity);
        // on_read the reset token is the first that is remembered, on_write the last forgotten
        index const first = s.op.placement == oracle::placement::on_read ? reset : reset + 1;
        auto changed = p;
        changed.in = random_state(r, s.op, p.n);
        for (index head = 0; head < p.n.Hkv; ++head) {
            for (index t = 0; t < first; ++t) {
                for (index e = 0; e < p.n.E; ++e) {
                    changed.v[(head * p.n.T + t) * p.n.E + e] = r.uniform(-1e6, 1e6);
                }
            }
        }
        for (form const& f : s.forms) {
            auto const a = random_arrangement(r);
            auto const got = f.forward(changed, a), want = f.forward(p, a);
            INFO(describe(s, f, p, a));
            CHECK(tokens(got.o, p.n.T, p.n.E, first, p.n.T) ==
                  tokens(want.o, p.n.T, p.n.E, first, p.n.T));
            CHECK(got.out.s == want.out.s);
        }
    }
}

TEST_CASE("a window with no weight gives zeros, not NaN") {
    for (subject const& s : subjects()) {
        if (!oracle::is_additive(s.op)) continue;
        random r("masked " + s.name);
        auto p = random_problem(r, s.op, {2, 2, 1, 40, 5, 6});
        std::fill(p.gate.begin(), p.gate.end(), -infinity);
        for (form const& f : s.forms) {
            for (element type : {element::float32, element::float64}) {
                auto const a = random_arrangement(r, type);
                auto const got = f.forward(p, a);
                INFO(describe(s, f, p, a));
                CHECK(all_zero(got.o));
                CHECK(error(got.out, p.in, s.op) == 0);
            }
        }
    }
}

TEST_CASE("a masked token changes nothing, wherever it stands") {
    for (subject const& s : subjects()) {
        if (!oracle::is_additive(s.op)) continue;
        random r("masked token " + s.name);
        auto p = random_problem(r, s.op, {1, 2, 2, 70, 4, 3});
        index const masked = r.integer(0, p.n.T - 1);
        set_gate(p, masked, -infinity);
        auto changed = p;
        for (index head = 0; head < p.n.Hkv; ++head) {
            for (index e = 0; e < p.n.E; ++e) changed.v[(head * p.n.T + masked) * p.n.E + e] = 1e6;
        }
        for (form const& f : s.forms) {
            auto const a = random_arrangement(r);
            check_equal(describe(s, f, p, a), f.forward(changed, a), f.forward(p, a), s.op, 0);
        }
    }
}

TEST_CASE("a logit far above the others takes the whole window") {
    for (subject const& s : subjects()) {
        if (!oracle::is_additive(s.op)) continue;
        random r("winner " + s.name);
        auto p = random_problem(r, s.op, {1, 1, 1, 50, 3, 2});
        std::fill(p.gate.begin(), p.gate.end(), -1e4);
        index const winner = 25;
        set_gate(p, winner, 1e4);
        round_to_float(p);
        auto const want = oracle::forward(p);
        for (form const& f : s.forms) {
            for (element type : {element::float32, element::float64}) {
                auto const a = random_arrangement(r, type);
                check_equal(describe(s, f, p, a), f.forward(p, a), want, s.op, tolerance(type));
            }
        }
    }
}

TEST_CASE("denormal inputs compute their definition") {
    for (subject const& s : subjects()) {
        random r("denormal " + s.name);
        for (element type : {element::float32, element::float64}) {
            double const tiny = type == element::float32 ? 1e-41 : 1e-310;
            auto p = random_problem(r, s.op, {1, 2, 1, 45, 7, 6});
            p.in = random_state(r, s.op, p.n);
            for (values* x : {&p.q, &p.k, &p.v, &p.gate, &p.beta, &p.in.s}) {
                for (double& a : *x) {
                    if (r.chance(0.4)) a = std::copysign(tiny, oracle::is_additive(s.op) ? 1 : -1);
                }
            }
            if (needs_positive_scores(s.op)) {
                for (values* x : {&p.q, &p.k}) {
                    for (double& a : *x) a = std::abs(a);
                }
            }
            if (type == element::float32) round_to_float(p);
            auto const want = oracle::forward(p);
            for (form const& f : s.forms) {
                auto const a = random_arrangement(r, type);
                check_equal(describe(s, f, p, a), f.forward(p, a), want, s.op, tolerance(type));
            }
        }
    }
}

TEST_CASE("growing decays are right as long as the mathematics stays finite") {
    for (subject const& s : subjects()) {
        if (oracle::is_additive(s.op) || !oracle::has_gate(s.op)) continue;
        if (s.op.update == oracle::update::delta) continue;
        random r("growing " + s.name);
        auto p = random_problem(r, s.op, {1, 2, 1, 80, 5, 4});
        for (double& g : p.gate) g = r.uniform(-0.2, 0.3);
        auto const want = oracle::forward(p);
        for (form const& f : s.forms) {
            auto const a = random_arrangement(r);
            check_equal(describe(s, f, p, a), f.forward(p, a), want, s.op, double_tolerance);
        }
    }
}

TEST_CASE("no tokens: the state passes through; no channels, heads or batches: zeros or nothing") {
    for (subject const& s : subjects()) {
        random r("empty " + s.name);
        for (oracle::extents const& n : {oracle::extents{2, 2, 1, 0, 3, 4},
                                         {2, 2, 1, 5, 0, 4},
                                         {2, 2, 1, 5, 3, 0},
                                         {0, 2, 1, 5, 3, 4},
                                         {2, 0, 0, 5, 3, 4},
                                         {1, 1, 1, 1, 1, 1}}) {
            auto p = random_problem(r, s.op, n);
            p.in = random_state(r, s.op, p.n);
            bool const no_head = n.Hkv == 0 || n.B == 0;
            auto const want = no_head ? oracle::result{{}, p.in} : oracle::forward(p);
            for (form const& f : s.forms) {
                auto const a = random_arrangement(r);
                check_equal(describe(s, f, p, a), f.forward(p, a), want, s.op, double_tolerance);
                if (n.T == 0) check_equal("state", f.forward(p, a), values{}, p.in, s.op, 0);
                if (n.D == 0) CHECK(all_zero(f.forward(p, a).o));
            }
        }
    }
}

}  // namespace support
