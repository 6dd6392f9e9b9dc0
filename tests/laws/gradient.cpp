#include "support/gradient_law.hpp"

namespace support {

namespace {

constexpr double double_bound = 1e-9, float_bound = 5e-5;

}  // namespace

TEST_CASE("every form of every composition has the gradients of its definition") {
    for (gradient_subject const& s : gradient_subjects()) {
        random r("gradients " + s.name);
        for (int repeat = 0; repeat < 3; ++repeat) {
            auto p = random_problem(r, s.op, 3e4);
            // Without a token or a state there is no reference that a gradient could be relative
            // to.
            if (oracle::is_additive(s.op) && p.n.T == 0) p.in = random_state(r, s.op, p.n);
            auto call = random_gradient_call(r, p);
            round_to_float(p);
            round_to_float(call);
            auto const want = oracle::gradient(p, call.d_o, call.d_out);
            for (gradient_form const& f : s.forms) {
                for (element type : {element::float32, element::float64}) {
                    auto const a = random_arrangement(r, type);
                    double const bound = type == element::float32 ? float_bound : double_bound;
                    check_gradients(describe(s, f, p, call, a), f.backward(p, call, a), want, s.op,
                                    call, bound);
                }
            }
        }
    }
}

TEST_CASE("a gradient that is not wanted changes nothing but its own absence") {
    for (gradient_subject const& s : gradient_subjects()) {
        random r("wanted " + s.name);
        auto const p = small_problem(r, s.op);
        auto call = random_gradient_call(r, p);
        auto const want = oracle::gradient(p, call.d_o, call.d_out);
        for (unsigned wanted = 0; wanted < 32; ++wanted) {
            call.q = wanted & 1, call.k = wanted & 2, call.v = wanted & 4;
            call.gate = wanted & 8, call.beta = wanted & 16;
            auto const a = random_arrangement(r);
            gradient_form const& f = s.forms[wanted % s.forms.size()];
            check_gradients(describe(s, f, p, call, a), f.backward(p, call, a), want, s.op, call,
                            double_bound);
        }
    }
}

TEST_CASE("the gradient of a masked token or a hard reset is zero, never NaN") {
    for (gradient_subject const& s : gradient_subjects()) {
        if (!oracle::has_gate(s.op)) continue;
        random r("masked gradients " + s.name);
        for (double masked_share : {0.3, 1.0}) {
            auto p = random_problem(r, s.op, {2, 4, 2, 37, 5, 3});
            p.in = random_state(r, s.op, p.n);
            for (double& g : p.gate) g = r.chance(masked_share) ? -oracle::infinity : g;
            auto const call = random_gradient_call(r, p);
            auto const want = oracle::gradient(p, call.d_o, call.d_out);
            for (gradient_form const& f : s.forms) {
                for (element type : {element::float32, element::float64}) {
                    auto const a = random_arrangement(r, type);
                    auto const got = f.backward(p, call, a);
                    auto const what = describe(s, f, p, call, a);
                    INFO(what);
                    for (std::size_t i = 0; i < p.gate.size(); ++i) {
                        if (p.gate[i] == -oracle::infinity) REQUIRE(got.to.gate[i] == 0);
                    }
                    if (type == element::float32) continue;
                    check_gradients(what, got, want, s.op, call, double_bound);
                }
            }
        }
    }
}

TEST_CASE("gradients do not depend on the number of threads, bit for bit") {
    // The last two have more threads than heads, which then share time.
    oracle::extents const sizes[] = {
        {2, 6, 3, 90, 17, 9}, {1, 2, 1, 1100, 17, 9}, {1, 1, 1, 641, 16, 16}};
    for (gradient_subject const& s : gradient_subjects()) {
        random r("gradient threads " + s.name);
        for (oracle::extents const& n : sizes) {
            auto p = random_problem(r, s.op, n, r.one_of({gates::mild, gates::hard}));
            p.in = random_state(r, s.op, p.n);
            auto const call = random_gradient_call(r, p);
            auto const last = static_cast<index>(s.forms.size()) - 1;
            gradient_form const& f = s.forms[static_cast<std::size_t>(r.integer(0, last))];
            arrangement a{element::float32, place::openmp, 1};
            auto const want = f.backward(p, call, a);
            for (int threads : {2, 3, 16}) {
                a.threads = threads;
                auto const got = f.backward(p, call, a);
                INFO(describe(s, f, p, call, a));
                CHECK((got.to.q == want.to.q));
                CHECK((got.to.k == want.to.k));
                CHECK((got.to.v == want.to.v));
                CHECK((got.to.gate == want.to.gate));
                CHECK((got.to.beta == want.to.beta));
                CHECK((got.to.in.s == want.to.in.s));
            }
        }
    }
}

}  // namespace support
