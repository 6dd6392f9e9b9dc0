#include "support/law.hpp"

namespace support {

namespace {

/// Every form, both element types, anywhere in memory, in a random place: one reference for all.
void check_all_forms(subject const& s, problem p, random& r) {
    round_to_float(p);
    auto const want = oracle::forward(p);
    for (form const& f : s.forms) {
        for (element type : {element::float32, element::float64}) {
            auto const a = random_arrangement(r, type);
            check_equal(describe(s, f, p, a), f.forward(p, a), want, s.op, tolerance(type));
        }
    }
}

}  // namespace

TEST_CASE("every form of every composition computes its definition") {
    for (subject const& s : subjects()) {
        random r(s.name);
        for (int repeat = 0; repeat < 3; ++repeat) check_all_forms(s, random_problem(r, s.op), r);
    }
}

TEST_CASE("the longest and widest problems compute their definition") {
    for (subject const& s : subjects()) {
        random r("long " + s.name);
        // A whole window is summed in stretches of about a thousand tokens.
        bool const window = s.op.direction == oracle::direction::bidirectional;
        check_all_forms(s, random_problem(r, s.op, {1, 1, 1, window ? 1100 : 300, 13, 7}), r);
        check_all_forms(s, random_problem(r, s.op, {1, 2, 1, 37, 130, 129}), r);
    }
}

TEST_CASE("resets, near resets, huge and masked logits compute their definition") {
    for (subject const& s : subjects()) {
        random r("hard " + s.name);
        auto p = random_problem(r, s.op, {2, 2, 2, 70, 5, 6}, gates::hard);
        p.in = random_state(r, s.op, p.n);
        check_all_forms(s, p, r);
    }
}

TEST_CASE("every feature map is applied to q and k, also when k is ones") {
    for (subject const& s : subjects()) {
        random r("ones " + s.name);
        auto p = random_problem(r, s.op, {2, 4, 2, 19, 9, 5});
        std::fill(p.k.begin(), p.k.end(), 1);
        p.beta = random_beta(r, p);
        p.in = random_state(r, s.op, p.n);
        auto const want = oracle::forward(p);
        for (form const& f : s.forms) {
            auto a = random_arrangement(r);
            a.ones = true;
            check_equal(describe(s, f, p, a), f.forward(p, a), want, s.op, double_tolerance);
        }
    }
}

}  // namespace support
