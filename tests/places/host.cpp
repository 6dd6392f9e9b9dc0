#include "support/law.hpp"

// Where an operator runs, and how its tensors lie in memory, does not change what it computes.

namespace support {

TEST_CASE("serial, simd and openmp agree within rounding") {
    for (subject const& s : subjects()) {
        random r("places " + s.name);
        auto p =
            random_problem(r, s.op, {2, 4, 2, 90, 19, 21}, r.one_of({gates::mild, gates::hard}));
        p.in = random_state(r, s.op, p.n);
        for (form const& f : s.forms) {
            auto const want = f.forward(p, {element::float64, place::serial});
            for (place where : {place::simd, place::openmp}) {
                arrangement const a{element::float64, where};
                check_equal(describe(s, f, p, a), f.forward(p, a), want, s.op, same_in_double);
            }
        }
    }
}

/// The first tokens weigh next to nothing, so that their chunk is halved for its readers.
static void begin_low(problem& p) {
    index const row = oracle::gate_channels(p.op, p.n);
    for (index head = 0; head < p.n.B * p.n.Hkv; ++head) {
        for (index i = 0; i < 5 * row; ++i) p.gate[std::size_t(head * p.n.T * row + i)] -= 90;
    }
}

TEST_CASE("results do not depend on the number of threads, bit for bit, nor on the run") {
    for (subject const& s : subjects()) {
        random r("threads " + s.name);
        // A whole window is summed in stretches of about a thousand tokens.
        bool const window = s.op.direction == oracle::direction::bidirectional;
        auto p = random_problem(r, s.op, {2, 2, 2, window ? 1100 : 330, 17, 9});
        if (oracle::is_additive(s.op)) begin_low(p);
        auto const in = random_state(r, s.op, p.n);
        // Without a state handed on in place, readers of one sequence are shared out as well.
        for (auto const& start : {in, oracle::state{}}) {
            p.in = start;
            round_to_float(p);
            for (element type : {element::float32, element::float64}) {
                for (std::size_t i : {std::size_t{0}, s.forms.size() - 1}) {
                    auto const want = s.forms[i].forward(p, {type, place::openmp, 1});
                    for (int threads : {1, 2, 3, 16}) {
                        arrangement const a{type, place::openmp, threads};
                        check_equal(describe(s, s.forms[i], p, a), s.forms[i].forward(p, a), want,
                                    s.op, 0);
                    }
                }
            }
        }
    }
}

TEST_CASE("results do not depend on the order of the memory") {
    for (subject const& s : subjects()) {
        random r("memory " + s.name);
        auto p = random_problem(r, s.op, {2, 4, 2, 70, 11, 13});
        p.in = random_state(r, s.op, p.n);
        for (place where : {place::serial, place::simd, place::openmp}) {
            arrangement a{element::float64, where};
            auto const want = s.forward()(p, a);
            for (memory order : {memory::bhtd, memory::scattered}) {
                a.memory = order;
                check_equal(describe(s, s.forms[0], p, a), s.forward()(p, a), want, s.op,
                            same_in_double);
            }
        }
    }
}

}  // namespace support
