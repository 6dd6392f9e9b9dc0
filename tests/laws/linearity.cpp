#include "support/law.hpp"

namespace support {

namespace {

values combined(double a, values const& x, double b, values const& y) {
    values z(x.size());
    for (std::size_t i = 0; i < z.size(); ++i) z[i] = a * x[i] + b * y[i];
    return z;
}

}  // namespace

TEST_CASE("every operator is linear in its values and its incoming state") {
    for (subject const& s : subjects()) {
        random r("linear " + s.name);
        auto p = random_problem(r, s.op, {2, 2, 1, 60, 5, 9});
        p.in = random_state(r, s.op, p.n);
        auto q = p;  // the same but for v and s
        q.v = uniform(r, static_cast<index>(p.v.size()), -1, 1);
        q.in.s = uniform(r, static_cast<index>(p.in.s.size()), -1, 1);
        auto both = p;
        both.v = combined(0.75, p.v, -0.5, q.v);
        both.in.s = combined(0.75, p.in.s, -0.5, q.in.s);

        for (form const& f : s.forms) {
            auto const a = random_arrangement(r);
            auto const one = f.forward(p, a), other = f.forward(q, a), sum = f.forward(both, a);
            INFO(describe(s, f, p, a));
            CHECK(error(sum.o, combined(0.75, one.o, -0.5, other.o)) <= same_in_double);
            if (oracle::has_state(s.op)) {
                auto const want = combined(0.75, one.out.s, -0.5, other.out.s);
                CHECK(error(sum.out.s, want) <= same_in_double);
            }
        }
    }
}

TEST_CASE("scale multiplies the output and leaves the state alone") {
    for (subject const& s : subjects()) {
        random r("scale " + s.name);
        auto p = random_problem(r, s.op, {1, 2, 2, 30, 8, 8});
        auto const a = random_arrangement(r);
        auto want = s.forward()(p, a);
        p.scale = -0.3;
        for (double& x : want.o) x *= -0.3;
        check_equal(describe(s, s.forms[0], p, a), s.forward()(p, a), want, s.op, same_in_double);
    }
}

TEST_CASE("adding a number to all additive logits changes nothing but the maximum") {
    for (subject const& s : subjects()) {
        if (!oracle::is_additive(s.op)) continue;
        random r("shift " + s.name);
        auto p = random_problem(r, s.op, {1, 2, 1, 66, 5, 4});
        for (double& z : p.gate) z = std::round(z * 1024) / 1024;  // so that the sum is exact
        for (double shift : {-10000.0, 3.0, 10000.0}) {
            auto shifted = p;
            for (double& z : shifted.gate) z += shift;
            for (form const& f : s.forms) {
                auto const a = random_arrangement(r);
                auto want = f.forward(p, a);
                for (double& m : want.out.max) m += shift;
                check_equal(describe(s, f, shifted, a), f.forward(shifted, a), want, s.op,
                            double_tolerance);
            }
        }
    }
}

}  // namespace support
