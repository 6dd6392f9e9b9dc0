#pragma once

#include "head.hpp"

#include <algorithm>
#include <cmath>

namespace oracle {

/// w(i, j) of gate channel c for every written token j; entry T is the weight of the incoming
/// state.
///
/// on_read: the log decays after the written token up to the reader, the reader's included.
/// on_write: from the written token, its own included, up to the reader, the reader's left out.
/// Sums of logs, never differences, so that a log decay of -inf is a weight of exactly 0.
inline values multiplicative_weights(composition const& op, head const& h, index i, index c) {
    auto g = [&](index t) { return h.gate[t * h.C + c]; };
    bool const on_read = op.placement == placement::on_read;
    values w(h.T + 1);
    w[i] = 1;
    if (op.direction != direction::anticausal) {
        double log_w = 0;
        for (index j = i - 1; j >= 0; --j) {
            log_w += on_read ? g(j + 1) : g(j);
            w[j] = std::exp(log_w);
        }
        if (has_state(op)) w[h.T] = std::exp(on_read ? log_w + g(0) : log_w);
    }
    if (op.direction != direction::causal) {
        double log_w = 0;
        for (index j = i + 1; j < h.T; ++j) {
            log_w += on_read ? g(j - 1) : g(j);
            w[j] = std::exp(log_w);
        }
        if (has_state(op)) w[h.T] = std::exp(on_read ? log_w + g(h.T - 1) : log_w);
    }
    return w;
}

inline bool in_window(direction way, index i, index j) {
    return way == direction::bidirectional || (way == direction::causal ? j <= i : j >= i);
}

/// exp(z_j) / sum over the window of exp(z_s), both relative to the window's largest logit; a
/// window without any weight gives zeros. The incoming state belongs to every window.
inline values additive_weights(composition const& op, head const& h, index i, index c) {
    auto z = [&](index t) { return h.gate[t * h.C + c]; };
    values w(h.T + 1);
    double const max_in = h.in.max[c];

    double top = max_in;
    for (index j = 0; j < h.T; ++j) {
        if (in_window(op.direction, i, j)) top = std::max(top, z(j));
    }
    if (top == -infinity) return w;

    double total = h.in.sum[c] * std::exp(max_in - top);
    for (index j = 0; j < h.T; ++j) {
        if (!in_window(op.direction, i, j)) continue;
        w[j] = std::exp(z(j) - top);
        total += w[j];
    }
    w[h.T] = std::exp(max_in - top);
    for (double& x : w) x /= total;
    return w;
}

inline values weights(composition const& op, head const& h, index i, index c) {
    return is_additive(op) ? additive_weights(op, h, i, c) : multiplicative_weights(op, h, i, c);
}

}  // namespace oracle
