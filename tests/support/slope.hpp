#pragma once

#include "oracle/problem.hpp"
#include "support/measure.hpp"

namespace support {

/// d loss / d x by central differences; `loss` is called with x changed in one place.
template <class Loss>
oracle::values slope(oracle::values x, Loss loss, double step = 1e-5) {
    oracle::values d(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        double const before = x[i];
        x[i] = before + step;
        double const above = loss(x);
        x[i] = before - step;
        d[i] = (above - loss(x)) / (2 * step);
        x[i] = before;
    }
    return d;
}

inline double dot(oracle::values const& x, oracle::values const& y) {
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
    return sum;
}

/// What central differences with a step of 1e-5 leave of a smooth function.
inline constexpr double slope_tolerance = 1e-7;

}  // namespace support
