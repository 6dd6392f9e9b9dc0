#pragma once

#include "problem.hpp"

#include <algorithm>
#include <cmath>

namespace oracle {

inline double silu(double x) { return x / (1 + std::exp(-x)); }

/// The feature map of one token of one head, x [D].
inline values apply(feature map, values x) {
    for (double& a : x) {
        switch (map) {
            case feature::identity: break;
            case feature::elu_plus_one: a = a > 0 ? a + 1 : std::exp(a); break;
            case feature::silu: a = silu(a); break;
            case feature::exp: a = std::exp(a); break;
            case feature::relu: a = std::max(a, 0.0); break;
            case feature::silu_half_unit: a = silu(a) + 0.5; break;
        }
    }
    if (map == feature::silu_half_unit) {
        double squares = 0;
        for (double a : x) squares += a * a;
        for (double& a : x) a /= std::sqrt(squares);
    }
    return x;
}

}  // namespace oracle
