#pragma once

// What every law needs: a place to run in, a sentence about what ran, and a comparison.

#include "support/catch.hpp"
#include "support/measure.hpp"
#include "support/problems.hpp"
#include "support/subject.hpp"

#include <sstream>

namespace support {

inline arrangement random_arrangement(random& r, element type = element::float64) {
    arrangement a;
    a.element = type;
    a.place = r.one_of({place::serial, place::simd, place::openmp});
    a.threads = static_cast<int>(r.integer(1, 3));
    a.memory = r.one_of({memory::bthd, memory::bhtd, memory::scattered});
    return a;
}

inline double tolerance(element type) {
    return type == element::float64 ? double_tolerance : float_tolerance;
}

inline std::string describe(problem const& p) {
    std::ostringstream out;
    out << "B=" << p.n.B << " Hq=" << p.n.Hq << " Hkv=" << p.n.Hkv << " T=" << p.n.T
        << " D=" << p.n.D << " E=" << p.n.E << " scale=" << p.scale << " eps=" << p.eps;
    return out.str();
}

inline std::string describe(arrangement const& a) {
    static constexpr char const* elements[] = {"float", "double"};
    static constexpr char const* places[] = {"serial", "simd", "openmp"};
    static constexpr char const* memories[] = {"bthd", "bhtd", "scattered"};
    std::ostringstream out;
    out << elements[int(a.element)] << " " << places[int(a.place)];
    if (a.place == place::openmp) out << ".threads(" << a.threads << ")";
    out << " " << memories[int(a.memory)] << (a.ones ? " ones" : "");
    return out.str();
}

/// The calls that lead to a comparison, for the report of a failure.
inline std::string describe(subject const& s, form const& f, problem const& p,
                            arrangement const& a) {
    return s.name + " " + f.name + "\n  " + describe(p) + "\n  " + describe(a) +
           "\n  RONDO_SEED=" + std::to_string(base_seed());
}

/// Output, state and the memory around the output.
inline void check_equal(std::string const& what, outcome const& got, oracle::values const& o,
                        oracle::state const& out, oracle::composition const& op, double bound) {
    INFO(what);
    CHECK(error(got.o, o) <= bound);
    CHECK(error(got.out, out, op) <= bound);
    CHECK(got.gaps_intact);
}

inline void check_equal(std::string const& what, outcome const& got, oracle::result const& want,
                        oracle::composition const& op, double bound) {
    check_equal(what, got, want.o, want.out, op, bound);
}

inline void check_equal(std::string const& what, outcome const& got, outcome const& want,
                        oracle::composition const& op, double bound) {
    check_equal(what, got, want.o, want.out, op, bound);
}

}  // namespace support
