#include "support/law.hpp"

namespace support {

TEST_CASE("all forms agree, also on sequences too long for the oracle") {
    for (subject const& s : subjects()) {
        random r("forms " + s.name);
        auto p =
            random_problem(r, s.op, {1, 2, 1, 777, 6, 5}, r.one_of({gates::mild, gates::hard}));
        p.in = random_state(r, s.op, p.n);
        auto const want = s.forms[1].forward(p, {});  // recurrent, serial
        for (form const& f : s.forms) {
            auto const a = random_arrangement(r);
            check_equal(describe(s, f, p, a), f.forward(p, a), want, s.op, 1e-11);
        }
    }
}

}  // namespace support
