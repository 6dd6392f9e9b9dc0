#pragma once

// The gradient of sum(d_o o) + sum(d_out out) by everything that a call takes, from the definition:
// every reader and every token, O(T^2). The state after the last token is one more reader.

#include "attention.hpp"

namespace oracle {

/// Shapes as the problem's. The maximum of an additive state is a fixed reference: `in.max` is
/// zero.
struct gradients {
    values q, k, v, gate, beta;
    state in;
};

/// The gradient by x of dy . apply(map, x), one token.
inline values pull_back(feature map, values const& x, values dy) {
    if (map == feature::silu_half_unit) {
        values y;
        double squares = 0, along = 0;
        for (double a : x) y.push_back(silu(a) + 0.5);
        for (double a : y) squares += a * a;
        for (std::size_t d = 0; d < x.size(); ++d) along += y[d] * dy[d] / squares;
        for (std::size_t d = 0; d < x.size(); ++d)
            dy[d] = (dy[d] - y[d] * along) / std::sqrt(squares);
    }
    for (std::size_t d = 0; d < x.size(); ++d) {
        double const s = 1 / (1 + std::exp(-x[d]));
        switch (map) {
            case feature::identity: break;
            case feature::elu_plus_one: dy[d] *= x[d] > 0 ? 1 : std::exp(x[d]); break;
            case feature::silu_half_unit:
            case feature::silu: dy[d] *= s + x[d] * s * (1 - s); break;
            case feature::exp: dy[d] *= std::exp(x[d]); break;
            case feature::relu: dy[d] *= x[d] > 0 ? 1 : 0; break;
        }
    }
    return dy;
}

/// What one reader's loss is made of: sum_jd w(j, d) k(j, d) (u_d . v_j + z_d). For reader i that
/// is u_d = q_d d_num and z_d = q_d d_den, for the final state the gradients of its two members.
struct reading_gradient {
    values u, z;  // [D, E], [D]
};

inline double dot(double const* x, double const* y, index n) {
    double sum = 0;
    for (index i = 0; i < n; ++i) sum += x[i] * y[i];
    return sum;
}

/// Adds one reader with weights w[channel][token], the incoming state being token T, to the
/// gradients of the tokens; returns by channel and token the weight times the gradient by the
/// weight.
inline std::vector<values> add_reader(head const& h, std::vector<values> const& w,
                                      reading_gradient const& r, gradients& to) {
    std::vector<values> moved(h.C, values(h.T + 1));
    for (index d = 0; d < h.D; ++d) {
        index const c = h.C == 1 ? 0 : d;
        double const* const u = r.u.data() + d * h.E;
        for (index j = 0; j < h.T; ++j) {
            double const key = h.k[j * h.D + d];
            double const product = w[c][j] * (dot(u, h.v.data() + j * h.E, h.E) + r.z[d]);
            to.k[j * h.D + d] += product;
            for (index e = 0; e < h.E; ++e) to.v[j * h.E + e] += w[c][j] * key * u[e];
            moved[c][j] += product * key;
        }
        double const into = w[c][h.T];
        for (index e = 0; e < h.E; ++e) to.in.s[d * h.E + e] += into * u[e];
        to.in.normalizer[d] += into * r.z[d];
        moved[c][h.T] +=
            into * (dot(u, h.in.s.data() + d * h.E, h.E) + r.z[d] * h.in.normalizer[d]);
    }
    return moved;
}

/// Each log decay between a token and the reader takes the pair's share. `i` is the reader, T for
/// the state after the last token.
inline void add_to_decays(composition const& op, head const& h, index i, values const& moved,
                          index c, gradients& to) {
    bool const on_read = op.placement == placement::on_read;
    auto side = [&](bool mirrored) {
        auto at = [&](index s) { return mirrored ? h.T - 1 - s : s; };
        index const reader = i == h.T ? h.T : at(i);
        double before = has_state(op) ? moved[h.T] : 0;
        for (index s = 0; s < h.T && s <= reader; ++s) {
            double& gate = to.gate[at(s) * h.C + c];
            if (on_read) gate += before;
            if (s < reader) before += moved[at(s)];
            if (!on_read && s < reader) gate += before;
        }
    };
    if (op.direction != direction::anticausal) side(false);
    if (op.direction != direction::causal) side(true);
}

/// w_j = exp(z_j) / sum exp(z_s): the gradient of a softmax, the incoming sum part of it.
inline void add_to_logits(head const& h, values const& moved, values const& w, index c,
                          gradients& to) {
    double all = 0;
    for (double x : moved) all += x;
    for (index j = 0; j < h.T; ++j) to.gate[j * h.C + c] += moved[j] - w[j] * all;
    to.in.sum[c] -= w[h.T] * all;
}

/// The weights of the state after the last token; additive: relative to exp(out.max).
inline values final_weights(composition const& op, head const& h, state const& out, index c) {
    values w(h.T + 1);
    if (is_additive(op)) {
        auto relative = [&](double z) { return z == -infinity ? 0 : std::exp(z - out.max[c]); };
        for (index j = 0; j < h.T; ++j) w[j] = relative(h.gate[j * h.C + c]);
        w[h.T] = relative(h.in.max[c]);
        return w;
    }
    double log_w = 0;
    for (index step = h.T - 1; step >= 0; --step) {
        index const t = token_at(op, h, step);
        double const g = h.gate[t * h.C + c];
        w[t] = std::exp(op.placement == placement::on_read ? log_w : log_w + g);
        log_w += g;
    }
    w[h.T] = std::exp(log_w);
    return w;
}

inline void add_final_state(composition const& op, head const& h, state const& d_out,
                            gradients& to) {
    state const out = final_state(op, h);
    std::vector<values> w;
    for (index c = 0; c < h.C; ++c) w.push_back(final_weights(op, h, out, c));
    auto const moved = add_reader(h, w, {d_out.s, d_out.normalizer}, to);
    for (index c = 0; c < h.C; ++c) {
        if (!is_additive(op)) {
            add_to_decays(op, h, h.T, moved[c], c, to);
            continue;
        }
        for (index j = 0; j < h.T; ++j) {
            to.gate[j * h.C + c] += moved[c][j] + d_out.sum[c] * w[c][j];
        }
        to.in.sum[c] += d_out.sum[c] * w[c][h.T];
    }
}

/// `d_num` [T, E] and `d_den` [T] are the gradients before the division.
inline void add_outer(composition const& op, head const& h, values const& d_num,
                      values const& d_den, gradients& to) {
    for (index i = 0; i < h.T; ++i) {
        std::vector<values> w;
        for (index c = 0; c < h.C; ++c) w.push_back(weights(op, h, i, c));
        double const* const num = d_num.data() + i * h.E;
        reading_gradient r{values(h.D * h.E), values(h.D)};
        for (index d = 0; d < h.D; ++d) {
            double const q = h.q[i * h.D + d];
            for (index e = 0; e < h.E; ++e) r.u[d * h.E + e] = q * num[e];
            r.z[d] = q * d_den[i];
            values const& weight = w[h.C == 1 ? 0 : d];
            double& d_q = to.q[i * h.D + d];
            for (index j = 0; j < h.T; ++j) {
                d_q +=
                    weight[j] * h.k[j * h.D + d] * (dot(num, h.v.data() + j * h.E, h.E) + d_den[i]);
            }
            d_q += weight[h.T] *
                   (dot(num, h.in.s.data() + d * h.E, h.E) + d_den[i] * h.in.normalizer[d]);
        }
        auto const moved = add_reader(h, w, r, to);
        for (index c = 0; c < h.C; ++c) {
            if (is_additive(op))
                add_to_logits(h, moved[c], w[c], c, to);
            else if (has_gate(op))
                add_to_decays(op, h, i, moved[c], c, to);
        }
    }
}

/// S x of one head: s [D, E] and x the first E entries.
inline values along_values(head const& h, values const& s, double const* x) {
    values y(h.D);
    for (index d = 0; d < h.D; ++d) y[d] = dot(s.data() + d * h.E, x, h.E);
    return y;
}

/// The gradient through S = diag(exp(g_t)) before, at `d_s`, which becomes that by `before`.
inline void decay_back(head const& h, values const& before, index t, values& d_s, gradients& to) {
    for (index d = 0; d < h.D; ++d) {
        index const gate = t * h.C + (h.C == 1 ? 0 : d);
        double const a = std::exp(h.gate[gate]);
        for (index e = 0; e < h.E; ++e) {
            to.gate[gate] += a * before[d * h.E + e] * d_s[d * h.E + e];
            d_s[d * h.E + e] *= a;
        }
    }
}

/// The delta recurrence, token by token from the last: `d_s` is the gradient by the state behind
/// token t and becomes that by `before`, the state in front of it.
inline void delta_step_back(composition const& op, head const& h, state before, index t,
                            double const* num, values& d_s, gradients& to) {
    bool const on_read = op.placement == placement::on_read;
    state decayed = before;
    if (on_read) decay_state(h, decayed, t);
    double const *const k = h.k.data() + t * h.D, *const q = h.q.data() + t * h.D;
    values const known = read_state(h, decayed.s, k);
    values rest(h.E), u(h.E);
    for (index e = 0; e < h.E; ++e) rest[e] = h.v[t * h.E + e] - known[e];
    for (index e = 0; e < h.E; ++e) u[e] = h.beta[t] * rest[e];
    values written = decayed.s;
    for (index i = 0; i < h.D * h.E; ++i) written[i] += k[i / h.E] * u[i % h.E];

    if (!on_read) decay_back(h, written, t, d_s, to);
    for (index i = 0; i < h.D * h.E; ++i) d_s[i] += q[i / h.E] * num[i % h.E];
    values const d_q = along_values(h, written, num), by_key = along_values(h, d_s, u.data());
    values const d_u = read_state(h, d_s, k);
    to.beta[t] += dot(d_u.data(), rest.data(), h.E);
    values d_v(h.E);
    for (index e = 0; e < h.E; ++e) d_v[e] = h.beta[t] * d_u[e];
    values const by_known = along_values(h, decayed.s, d_v.data());
    for (index d = 0; d < h.D; ++d) to.q[t * h.D + d] += d_q[d];
    for (index d = 0; d < h.D; ++d) to.k[t * h.D + d] += by_key[d] - by_known[d];
    for (index e = 0; e < h.E; ++e) to.v[t * h.E + e] += d_v[e];
    for (index i = 0; i < h.D * h.E; ++i) d_s[i] -= k[i / h.E] * d_v[i % h.E];
    if (on_read) decay_back(h, before.s, t, d_s, to);
}

inline void add_delta(composition const& op, head const& h, values const& d_num, values d_s,
                      gradients& to) {
    std::vector<state> before;
    state now = h.in;
    for (index step = 0; step < h.T; ++step) {
        before.push_back(now);
        multiplicative_step(op, h, now, token_at(op, h, step));
    }
    for (index step = h.T - 1; step >= 0; --step) {
        index const t = token_at(op, h, step);
        delta_step_back(op, h, before[step], t, d_num.data() + t * h.E, d_s, to);
    }
    to.in.s = d_s;
}

inline gradients zero_gradients(head const& h) {
    return {values(h.T * h.D), values(h.T * h.D),
            values(h.T * h.E), values(h.T * h.C),
            values(h.T),       {values(h.D * h.E), values(h.D), values(h.C), values(h.C)}};
}

/// All gradients of one query head, but for the feature map; `d_out` as the head's own state.
inline gradients head_gradient(problem const& p, head const& h, values const& d_o, reading const& r,
                               state const& d_out) {
    gradients to = zero_gradients(h);
    values d_num(h.T * h.E), d_den(h.T);
    for (index i = 0; i < h.T; ++i) {
        double const factor = p.op.normalized ? p.scale / (r.denominator[i] + p.eps) : p.scale;
        for (index e = 0; e < h.E; ++e) d_num[i * h.E + e] = factor * d_o[i * h.E + e];
        if (!p.op.normalized) continue;
        double const product = dot(d_o.data() + i * h.E, r.numerator.data() + i * h.E, h.E);
        d_den[i] = -factor * product / (r.denominator[i] + p.eps);
    }
    if (p.op.update == update::delta) {
        add_delta(p.op, h, d_num, d_out.s, to);
        return to;
    }
    add_outer(p.op, h, d_num, d_den, to);
    if (has_state(p.op)) add_final_state(p.op, h, d_out, to);
    return to;
}

/// Adds block `block` of a tensor to the block `to` of another; an absent tensor takes nothing.
inline void add_block(values& all, index block, values const& one) {
    index const size = static_cast<index>(one.size());
    if (all.empty()) return;
    for (index i = 0; i < size; ++i) all[block * size + i] += one[i];
}

/// d_o [B, Hq, T, E]; `d_out` has the shapes of the state, and its `max` means nothing. `r` are the
/// numerators and denominators that the output is made of, those of several paths when d_o belongs
/// to their sum.
inline gradients gradient(problem const& p, values const& d_o, state const& d_out,
                          reading const& r) {
    auto const& n = p.n;
    index const C = gate_channels(p.op, n), heads = n.B * n.Hkv;
    bool const stateful = has_state(p.op), additive = is_additive(p.op);
    gradients all{values(p.q.size()),    values(p.k.size()),    values(p.v.size()),
                  values(p.gate.size()), values(p.beta.size()), {}};
    if (stateful) {
        all.in = {values(heads * n.D * n.E), values(heads * n.D), values(additive ? heads * C : 0),
                  values(additive ? heads * C : 0)};
    }
    for (index b = 0; b < n.B; ++b) {
        for (index q = 0; q < n.Hq; ++q) {
            index const query = b * n.Hq + q, group = n.Hq / n.Hkv, kv = b * n.Hkv + q / group;
            head const h = head_of(p, b, q);
            state out =
                zero_gradients(h).in;  // the state's share comes with the group's first head
            if (stateful && q % group == 0) {
                out.s = part(d_out.s, kv, n.D * n.E);
                if (p.op.normalized) out.normalizer = part(d_out.normalizer, kv, n.D);
                if (additive) out.sum = part(d_out.sum, kv, C);
            }
            reading const own{part(r.numerator, query, n.T * n.E), part(r.denominator, query, n.T)};
            auto one = head_gradient(p, h, part(d_o, query, n.T * n.E), own, out);
            for (index t = 0; t < n.T; ++t) {
                auto back = [&](values const& x, index block, values const& dy) {
                    return pull_back(p.op.feature, part(x, block * n.T + t, n.D), part(dy, t, n.D));
                };
                add_block(all.q, query * n.T + t, back(p.q, query, one.q));
                add_block(all.k, kv * n.T + t, back(p.k, kv, one.k));
            }
            add_block(all.v, kv, one.v);
            add_block(all.beta, kv, one.beta);
            if (p.op.decay == decay::constant) {
                for (double x : one.gate) all.gate[kv % n.Hkv] += x;
            } else {
                add_block(all.gate, kv, one.gate);
            }
            add_block(all.in.s, kv, one.in.s);
            add_block(all.in.normalizer, kv, one.in.normalizer);
            add_block(all.in.sum, kv, one.in.sum);
        }
    }
    return all;
}

inline gradients gradient(problem const& p, values const& d_o, state const& d_out) {
    return gradient(p, d_o, d_out, read(p));
}

}  // namespace oracle
