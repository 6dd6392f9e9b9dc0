#pragma once

// The definition of every operator, in double precision and O(T^2), to be read beside its formula.

#include "state.hpp"

namespace oracle {

/// What is read before the division: numerator [.., T, E], denominator [.., T].
struct reading {
    values numerator, denominator;
};

inline void append(values& all, values const& more) {
    all.insert(all.end(), more.begin(), more.end());
}

/// sum_j w(i,j) (q_i . k_j) v_j, and the same without v_j. The weights are per key channel, and the
/// incoming state is read like one more token, number T.
inline reading read_outer(composition const& op, head const& h) {
    reading r{values(h.T * h.E), values(h.T)};
    for (index i = 0; i < h.T; ++i) {
        std::vector<values> w;
        for (index c = 0; c < h.C; ++c) w.push_back(weights(op, h, i, c));
        double* const numerator = r.numerator.data() + i * h.E;
        double& denominator = r.denominator[i];

        for (index j = 0; j < h.T; ++j) {
            double score = 0;
            for (index d = 0; d < h.D; ++d) {
                score += w[h.C == 1 ? 0 : d][j] * h.q[i * h.D + d] * h.k[j * h.D + d];
            }
            for (index e = 0; e < h.E; ++e) numerator[e] += score * h.v[j * h.E + e];
            denominator += score;
        }
        for (index d = 0; d < h.D; ++d) {
            double const q = w[h.C == 1 ? 0 : d][h.T] * h.q[i * h.D + d];
            for (index e = 0; e < h.E; ++e) numerator[e] += q * h.in.s[d * h.E + e];
            denominator += q * h.in.normalizer[d];
        }
    }
    return r;
}

/// The delta update has no table of weights: the literal recurrence.
inline reading read_delta(composition const& op, head const& h) {
    reading r{values(h.T * h.E), values(h.T)};
    state now = h.in;
    for (index step = 0; step < h.T; ++step) {
        index const t = token_at(op, h, step);
        values const y = multiplicative_step(op, h, now, t);
        std::copy(y.begin(), y.end(), r.numerator.begin() + t * h.E);
    }
    return r;
}

/// Numerators [B, Hq, T, E] and denominators [B, Hq, T] of a whole call.
inline reading read(problem const& p) {
    reading all;
    for (index b = 0; b < p.n.B; ++b) {
        for (index q = 0; q < p.n.Hq; ++q) {
            head const h = head_of(p, b, q);
            auto const one =
                p.op.update == update::delta ? read_delta(p.op, h) : read_outer(p.op, h);
            append(all.numerator, one.numerator);
            append(all.denominator, one.denominator);
        }
    }
    return all;
}

/// scale * numerator, or scale * numerator / (denominator + eps)
inline values output(problem const& p, reading const& r) {
    values o;
    for (index i = 0; i < static_cast<index>(r.numerator.size()); ++i) {
        double const divisor = p.op.normalized ? r.denominator[i / p.n.E] + p.eps : 1;
        o.push_back(p.scale * r.numerator[i] / divisor);
    }
    return o;
}

/// o [B, Hq, T, E], and the state after the last token of the walk (as it came in, if
/// bidirectional).
struct result {
    values o;
    state out;
};

inline result forward(problem const& p) {
    result r{output(p, read(p)), has_state(p.op) ? state{} : p.in};
    if (!has_state(p.op)) return r;
    for (index b = 0; b < p.n.B; ++b) {
        for (index kv = 0; kv < p.n.Hkv; ++kv) {
            auto const one = final_state(p.op, head_of(p, b, kv * (p.n.Hq / p.n.Hkv)));
            append(r.out.s, one.s);
            append(r.out.normalizer, one.normalizer);
            append(r.out.max, one.max);
            append(r.out.sum, one.sum);
        }
    }
    return r;
}

}  // namespace oracle
