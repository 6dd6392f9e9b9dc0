#pragma once

#include "oracle/problem.hpp"

#include <algorithm>
#include <cmath>

namespace support {

/// Errors are relative to the largest entry of the reference, or absolute where that is below 1:
/// max_i |got_i - want_i| / max(1, max_i |want_i|). Entry by entry an error has no meaning: an
/// output is a sum of signed terms, and may be as small as their rounding. Entries that are not
/// finite must be equal, a NaN anywhere is an infinite error.
inline double error(oracle::values const& got, oracle::values const& want) {
    if (got.size() != want.size()) return oracle::infinity;
    double largest = 1, difference = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        if (got[i] == want[i]) {
            if (std::isfinite(want[i])) largest = std::max(largest, std::abs(want[i]));
            continue;
        }
        if (!std::isfinite(got[i]) || !std::isfinite(want[i])) return oracle::infinity;
        largest = std::max(largest, std::abs(want[i]));
        difference = std::max(difference, std::abs(got[i] - want[i]));
    }
    return difference / largest;
}

/// The largest error of the members that the operator gives a meaning.
inline double error(oracle::state const& got, oracle::state const& want,
                    oracle::composition const& op) {
    if (!oracle::has_state(op)) return 0;
    double worst = error(got.s, want.s);
    if (op.normalized) worst = std::max(worst, error(got.normalizer, want.normalizer));
    if (oracle::is_additive(op)) {
        worst = std::max({worst, error(got.max, want.max), error(got.sum, want.sum)});
    }
    return worst;
}

/// What the library promises against the definition, by element type.
inline constexpr double double_tolerance = 1e-10, float_tolerance = 2e-5;

/// What it promises where two of its own ways compute the same thing in double precision.
inline constexpr double same_in_double = 1e-12;

}  // namespace support
