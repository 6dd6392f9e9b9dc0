#pragma once

// Element-wise recurrences as sums over all earlier places, O(T^2).

#include "problem.hpp"

#include <algorithm>
#include <cmath>

namespace oracle {

/// A tensor [outer, T, inner] is walked along T, from the other end when `reversed`.
struct walk {
    index outer = 1, T = 0, inner = 1;
    bool reversed = false;

    index at(index o, index step, index i) const {
        index const t = reversed ? T - 1 - step : step;
        return (o * T + t) * inner + i;
    }
    index size() const { return outer * T * inner; }
};

/// y_t = sum_(s <= t) exp(sum_(s < r <= t) log_a_r) x_s, and the state before t = 0 as x_(-1).
inline values scan(walk const& w, values const& x, values const& log_a, values const& in) {
    values y(w.size());
    for (index o = 0; o < w.outer; ++o) {
        for (index i = 0; i < w.inner; ++i) {
            for (index t = 0; t < w.T; ++t) {
                double sum = 0, decay = 0;
                for (index s = t; s >= 0; --s) {
                    sum += std::exp(decay) * x[w.at(o, s, i)];
                    decay += log_a[w.at(o, s, i)];
                }
                y[w.at(o, t, i)] = sum + std::exp(decay) * in[o * w.inner + i];
            }
        }
    }
    return y;
}

/// y_t = log(exp(in) + sum_(s <= t) exp(x_s))
inline values log_cumsum_exp(walk const& w, values const& x, values const& in) {
    values y(w.size());
    for (index o = 0; o < w.outer; ++o) {
        for (index i = 0; i < w.inner; ++i) {
            for (index t = 0; t < w.T; ++t) {
                double largest = in[o * w.inner + i];
                for (index s = 0; s <= t; ++s) largest = std::max(largest, x[w.at(o, s, i)]);
                double sum = std::exp(in[o * w.inner + i] - largest);
                for (index s = 0; s <= t; ++s) sum += std::exp(x[w.at(o, s, i)] - largest);
                y[w.at(o, t, i)] = largest == -infinity ? -infinity : largest + std::log(sum);
            }
        }
    }
    return y;
}

/// The values of a walk after its last place, [outer, inner]: the state that it leaves.
inline values last(walk const& w, values const& y, values const& in) {
    values out = in;
    if (w.T == 0) return out;
    for (index o = 0; o < w.outer; ++o) {
        for (index i = 0; i < w.inner; ++i) out[o * w.inner + i] = y[w.at(o, w.T - 1, i)];
    }
    return out;
}

}  // namespace oracle
