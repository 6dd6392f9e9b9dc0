#pragma once

// Positions by their definitions: rotations in long double, Toeplitz products in O(T^2).

#include "problem.hpp"

#include <cmath>
#include <cstdlib>

namespace oracle {

/// The coordinates of token t on a grid, the first axis slowest.
inline std::vector<index> coordinates(std::vector<index> const& grid, index t) {
    std::vector<index> at(grid.size());
    for (std::size_t axis = grid.size(); axis-- > 0;) {
        at[axis] = axis == 0 ? t : t % grid[axis];
        t /= grid[axis] == 0 ? 1 : grid[axis];
    }
    return at;
}

/// concat(s_1 theta, ..., s_r theta)[:count]
inline std::vector<long double> angles(std::vector<index> const& at, values const& theta,
                                       index count) {
    std::vector<long double> result;
    for (index s : at) {
        for (double angle : theta) {
            if (static_cast<index>(result.size()) < count) {
                result.push_back(static_cast<long double>(s) * static_cast<long double>(angle));
            }
        }
    }
    return result;
}

/// theta_i = base^(-i / n)
inline values fixed_theta(index n, double base = 10000) {
    values theta(n);
    for (index i = 0; i < n; ++i) theta[i] = std::pow(base, -double(i) / double(n));
    return theta;
}

/// Channels a and b of a pair i, `half` apart or next to each other, turned by angle i.
inline values rotated(values x, std::vector<long double> const& angle, bool half_split) {
    auto const pairs = static_cast<index>(x.size()) / 2;
    for (index i = 0; i < pairs; ++i) {
        index const a = half_split ? i : 2 * i, b = half_split ? i + pairs : 2 * i + 1;
        long double const c = std::cos(angle[i]), s = std::sin(angle[i]);
        long double const x_a = x[a], x_b = x[b];
        x[a] = static_cast<double>(x_a * c - x_b * s);
        x[b] = static_cast<double>(x_a * s + x_b * c);
    }
    return x;
}

/// concat(x cos, x sin)
inline values doubled(values const& x, std::vector<long double> const& angle) {
    values y(2 * x.size());
    for (std::size_t c = 0; c < x.size(); ++c) {
        y[c] = static_cast<double>(x[c] * std::cos(angle[c]));
        y[c + x.size()] = static_cast<double>(x[c] * std::sin(angle[c]));
    }
    return y;
}

/// A sum of exponentials of the distance, w(t, s) = sum_m b_m exp(log_lambda_m |t - s|), over the
/// tokens of x [T] that the direction allows.
inline values toeplitz(values const& x, values const& b, values const& log_lambda, direction way) {
    auto const T = static_cast<index>(x.size());
    values y(x.size());
    for (index t = 0; t < T; ++t) {
        for (index s = 0; s < T; ++s) {
            if (way == direction::causal && s > t) continue;
            if (way == direction::anticausal && s < t) continue;
            for (std::size_t m = 0; m < b.size(); ++m) {
                index const distance = std::abs(t - s);
                double const decay = distance == 0 ? 1 : std::exp(log_lambda[m] * double(distance));
                y[t] += b[m] * decay * x[s];
            }
        }
    }
    return y;
}

/// MD-TPE of x [grid] of one channel: the sum over the axes, b and log_lambda [axis][m].
inline values toeplitz(values const& x, std::vector<index> const& grid,
                       std::vector<values> const& b, std::vector<values> const& log_lambda,
                       direction way) {
    values y(x.size());
    for (std::size_t axis = 0; axis < grid.size(); ++axis) {
        index step = 1;
        for (std::size_t a = axis + 1; a < grid.size(); ++a) step *= grid[a];
        for (index t = 0; t < static_cast<index>(x.size()); ++t) {
            if (coordinates(grid, t)[axis] != 0) continue;
            values line(grid[axis]);
            for (index i = 0; i < grid[axis]; ++i) line[i] = x[t + i * step];
            line = toeplitz(line, b[axis], log_lambda[axis], way);
            for (index i = 0; i < grid[axis]; ++i) y[t + i * step] += line[i];
        }
    }
    return y;
}

}  // namespace oracle
