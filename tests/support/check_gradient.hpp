#pragma once

#include "support/random.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace rondo {

/// How central differences are taken.
struct difference_options {
    /// Of a direction whose entries lie between -1 and 1. The differences take four values of f, so
    /// that their error is of order step^4, and rounding of order epsilon |f| / step.
    double step = 1e-3;
    int directions = 2;
};

/// The largest error of `gradient` as the gradient of f at x, by central differences in double
/// along random directions: |difference - gradient . direction| / max(1, |gradient|_2).
///
/// `f` takes a std::vector<double>. Entries of x that are infinite stay where they are.
template <class Function>
double check_gradient(Function const& f, std::vector<double> const& x,
                      std::vector<double> const& gradient, support::random& r,
                      difference_options const& with = {}) {
    double length = 0, worst = 0;
    for (double g : gradient) length += g * g;
    for (int n = 0; n < with.directions; ++n) {
        std::vector<double> direction(x.size());
        double slope = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
            direction[i] = r.uniform(-1, 1);
            slope += gradient[i] * direction[i];
        }
        auto at = [&](double step) {
            auto moved = x;
            for (std::size_t i = 0; i < x.size(); ++i) {
                if (std::isfinite(x[i])) moved[i] += step * direction[i];
            }
            return f(moved);
        };
        double const near = at(with.step) - at(-with.step);
        double const far = at(2 * with.step) - at(-2 * with.step);
        double const difference = (8 * near - far) / (12 * with.step);
        double const error = std::abs(difference - slope) / std::max(1.0, std::sqrt(length));
        if (!(error <= worst)) worst = error;  // NaN too
    }
    return worst;
}

}  // namespace rondo
