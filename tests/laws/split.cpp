#include "support/law.hpp"

namespace support {

namespace {

/// The call in two pieces, the state handed from the one that is walked first to the other.
outcome in_pieces(form const& f, problem const& p, index at, arrangement const& a) {
    bool const from_the_right = p.op.direction == oracle::direction::anticausal;
    auto left = slice(p, 0, at), right = slice(p, at, p.n.T);
    auto& first = from_the_right ? right : left;
    auto& second = from_the_right ? left : right;

    auto const first_outcome = f.forward(first, a);
    second.in = first_outcome.out;
    auto const second_outcome = f.forward(second, a);

    auto const& o_left = from_the_right ? second_outcome.o : first_outcome.o;
    auto const& o_right = from_the_right ? first_outcome.o : second_outcome.o;
    return {joined(o_left, o_right, p.n, at), second_outcome.out,
            first_outcome.gaps_intact && second_outcome.gaps_intact};
}

}  // namespace

TEST_CASE("a sequence split at any token, the state handed over, is the whole sequence") {
    for (subject const& s : subjects()) {
        if (!oracle::has_state(s.op)) continue;
        random r("split " + s.name);
        auto p = random_problem(r, s.op, {2, 2, 1, 37, 5, 3}, r.one_of({gates::mild, gates::hard}));
        if (r.chance(0.5)) p.in = random_state(r, s.op, p.n);
        auto const a = random_arrangement(r);
        auto const whole = s.forward()(p, a);
        for (index at = 0; at <= p.n.T; ++at) {
            INFO("split at " << at);
            check_equal(describe(s, s.forms[0], p, a), in_pieces(s.forms[0], p, at, a), whole, s.op,
                        same_in_double);
        }
    }
}

TEST_CASE("every form can be split, at sizes beside its chunks") {
    for (subject const& s : subjects()) {
        if (!oracle::has_state(s.op)) continue;
        random r("split forms " + s.name);
        auto const p = random_problem(r, s.op, {1, 2, 2, 150, 9, 17});
        auto const a = random_arrangement(r);
        for (form const& f : s.forms) {
            auto const whole = f.forward(p, a);
            for (index at : {index(64), r.integer(0, p.n.T)}) {
                INFO("split at " << at);
                check_equal(describe(s, f, p, a), in_pieces(f, p, at, a), whole, s.op,
                            same_in_double);
            }
        }
    }
}

TEST_CASE("one token after the other is the whole sequence") {
    for (subject const& s : subjects()) {
        if (!s.steps) continue;
        random r("steps " + s.name);
        for (gates kind : {gates::mild, gates::hard}) {
            auto p =
                random_problem(r, s.op, {2, 4, 2, 40, r.integer(1, 33), r.integer(1, 33)}, kind);
            p.in = random_state(r, s.op, p.n);
            p.scale = 0.5;
            round_to_float(p);
            for (element type : {element::float32, element::float64}) {
                auto const a = random_arrangement(r, type);
                double const bound = type == element::float64 ? same_in_double : float_tolerance;
                check_equal(describe(s, s.forms[0], p, a), s.steps(p, a), s.forward()(p, a), s.op,
                            bound);
            }
        }
    }
}

}  // namespace support
