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

TEST_CASE("results do not depend on the number of threads, bit for bit, nor on the run") {
    for (subject const& s : subjects()) {
        random r("threads " + s.name);
        auto p = random_problem(r, s.op, {2, 3, 3, 200, 17, 9});
        p.in = random_state(r, s.op, p.n);
        round_to_float(p);
        for (element type : {element::float32, element::float64}) {
            arrangement a{type, place::openmp, 1};
            for (std::size_t i : {std::size_t{0}, s.forms.size() - 1}) {
                a.threads = 1;
                auto const want = s.forms[i].forward(p, a);
                for (int threads : {1, 2, 3, 16}) {
                    a.threads = threads;
                    check_equal(describe(s, s.forms[i], p, a), s.forms[i].forward(p, a), want, s.op,
                                0);
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
