#pragma once

#include "weights.hpp"

namespace oracle {

/// S^T x of one head: s [D, E] and x the first D entries.
inline values read_state(head const& h, values const& s, double const* x) {
    values y(h.E);
    for (index d = 0; d < h.D; ++d) {
        for (index e = 0; e < h.E; ++e) y[e] += s[d * h.E + e] * x[d];
    }
    return y;
}

/// S <- diag(exp(g_t)) S, and the normaliser with it
inline void decay_state(head const& h, state& now, index t) {
    for (index d = 0; d < h.D; ++d) {
        double const a = std::exp(h.gate[t * h.C + (h.C == 1 ? 0 : d)]);
        for (index e = 0; e < h.E; ++e) now.s[d * h.E + e] *= a;
        now.normalizer[d] *= a;
    }
}

/// One token of a multiplicative decay, as the recurrence has it; returns S^T q_t. The gate acts
/// before the token is read and written when it counts on_read, after it when it counts on_write.
inline values multiplicative_step(composition const& op, head const& h, state& now, index t) {
    if (op.placement == placement::on_read) decay_state(h, now, t);

    values u = part(h.v, t, h.E);
    if (op.update == update::delta) {
        values const known = read_state(h, now.s, h.k.data() + t * h.D);
        for (index e = 0; e < h.E; ++e) u[e] = h.beta[t] * (u[e] - known[e]);
    }
    for (index d = 0; d < h.D; ++d) {
        for (index e = 0; e < h.E; ++e) now.s[d * h.E + e] += h.k[t * h.D + d] * u[e];
        now.normalizer[d] += h.k[t * h.D + d];
    }
    values const read = read_state(h, now.s, h.q.data() + t * h.D);

    if (op.placement == placement::on_write) decay_state(h, now, t);
    return read;
}

/// Token number `step` in the order of the walk.
inline index token_at(composition const& op, head const& h, index step) {
    return op.direction == direction::anticausal ? h.T - 1 - step : step;
}

/// All tokens at once: max over them of z, sum_j exp(z_j - max), sum_j exp(z_j - max) k_j v_j^T.
inline state additive_state(head const& h) {
    state out = h.in;
    for (index c = 0; c < h.C; ++c) {
        for (index t = 0; t < h.T; ++t) out.max[c] = std::max(out.max[c], h.gate[t * h.C + c]);
    }
    // exp(z - max), where -inf is no weight even when everything is masked
    auto relative = [&](double z, index c) {
        return z == -infinity ? 0 : std::exp(z - out.max[c]);
    };
    for (index c = 0; c < h.C; ++c) {
        out.sum[c] *= relative(h.in.max[c], c);
        for (index t = 0; t < h.T; ++t) out.sum[c] += relative(h.gate[t * h.C + c], c);
    }
    for (index d = 0; d < h.D; ++d) {
        index const c = h.C == 1 ? 0 : d;
        double const kept = relative(h.in.max[c], c);
        for (index e = 0; e < h.E; ++e) out.s[d * h.E + e] *= kept;
        out.normalizer[d] *= kept;
        for (index t = 0; t < h.T; ++t) {
            double const k = relative(h.gate[t * h.C + c], c) * h.k[t * h.D + d];
            for (index e = 0; e < h.E; ++e) out.s[d * h.E + e] += k * h.v[t * h.E + e];
            out.normalizer[d] += k;
        }
    }
    return out;
}

/// The state after the last token of one head.
inline state final_state(composition const& op, head const& h) {
    if (is_additive(op)) return additive_state(h);
    state now = h.in;
    for (index step = 0; step < h.T; ++step) multiplicative_step(op, h, now, token_at(op, h, step));
    return now;
}

}  // namespace oracle
