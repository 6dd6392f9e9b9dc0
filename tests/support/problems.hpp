#pragma once

#include "oracle/head.hpp"
#include "support/random.hpp"

#include <cmath>

namespace support {

using oracle::problem;
using oracle::values;

inline values uniform(random& r, index count, double low, double high) {
    values x(count);
    for (double& a : x) a = r.uniform(low, high);
    return x;
}

/// Extents between 0 and 300 tokens and 1 and 130 channels, most of them at or beside the sizes
/// where a kernel changes its mind. `work` bounds the oracle's time, B Hq T^2 (D + E).
inline oracle::extents random_extents(random& r, double work = 1e6) {
    auto time = [&] {
        return r.chance(0.5) ? r.integer(0, 300)
                             : r.one_of<index>({0, 1, 2, 15, 16, 17, 63, 64, 65, 128, 257, 300});
    };
    auto channels = [&] {
        return r.chance(0.5) ? r.integer(1, 130)
                             : r.one_of<index>({1, 2, 3, 4, 7, 8, 9, 16, 17, 32, 33, 64, 65, 130});
    };
    for (;;) {
        index const heads = r.integer(1, 2);
        oracle::extents const n{r.integer(1, 2), heads * r.integer(1, 2), heads, time(), channels(),
                                channels()};
        double const T = static_cast<double>(n.T);
        if (static_cast<double>(n.B * n.Hq * (n.D + n.E)) * T * T <= work) return n;
    }
}

/// A sum of scores is divided by: it must not be a difference of large numbers, or the test would
/// measure the condition of the problem and not the library.
inline bool needs_positive_scores(oracle::composition const& op) {
    return op.normalized &&
           (op.feature == oracle::feature::identity || op.feature == oracle::feature::silu);
}

enum class gates {
    mild,  // decays that remember between a few and all tokens, logits within +-8
    hard   // resets, near resets and no decay at all; logits of +-1e4 and masked tokens
};

inline double random_log_decay(random& r, gates kind, double strength) {
    if (kind == gates::mild) return r.uniform(-strength, 0);
    double const odd = r.one_of({-oracle::infinity, -300.0, 0.0, -1e-320, -strength});
    return r.chance(0.3) ? odd : r.uniform(-strength, 0);
}

inline double random_logit(random& r, gates kind) {
    if (kind == gates::mild) return r.uniform(-8, 8);
    double const odd = r.one_of({-oracle::infinity, -1e4, 1e4, 1e-320, 9999.5});
    return r.chance(0.6) ? odd : r.uniform(-8, 8);
}

/// A gate tensor of the shape that the decay asks for. Hard logits begin with a run of masked
/// tokens, so that a whole window may be empty.
inline values random_gate(random& r, oracle::composition const& op, oracle::extents const& n,
                          gates kind) {
    if (op.decay == oracle::decay::none) return {};
    index const channels = oracle::gate_channels(op, n);
    bool const constant = op.decay == oracle::decay::constant;
    values g(constant ? n.Hkv : n.B * n.Hkv * n.T * channels);
    double const strength = r.one_of({0.01, 0.1, 1.0, 5.0});
    for (double& x : g) {
        x = oracle::is_additive(op) ? random_logit(r, kind) : random_log_decay(r, kind, strength);
    }
    if (kind == gates::mild || !oracle::is_additive(op) || n.T == 0) return g;
    for (index head = 0; head < n.B * n.Hkv; ++head) {
        index const masked = r.chance(0.2) ? n.T : r.integer(0, std::min<index>(n.T, 5));
        auto const begin = g.begin() + head * n.T * channels;
        std::fill(begin, begin + masked * channels, -oracle::infinity);
    }
    return g;
}

/// Strengths of the delta update that keep it a contraction: beta |k|^2 <= 1.
inline values random_beta(random& r, problem const& p) {
    if (p.op.update != oracle::update::delta) return {};
    values beta;
    for (index token = 0; token < p.n.B * p.n.Hkv * p.n.T; ++token) {
        double squares = 0;
        for (double k : oracle::apply(p.op.feature, oracle::part(p.k, token, p.n.D)))
            squares += k * k;
        beta.push_back(r.uniform(0, 1) / std::max(1.0, squares));
    }
    return beta;
}

inline oracle::state random_state(random& r, oracle::composition const& op,
                                  oracle::extents const& n) {
    auto in = oracle::empty_state(op, n);
    if (!oracle::has_state(op)) return in;
    for (double& x : in.s) x = r.uniform(-1, 1);
    for (double& x : in.normalizer) x = r.uniform(0.1, 1);
    for (double& x : in.max) x = r.uniform(-8, 8);
    for (double& x : in.sum) x = r.uniform(0.5, 2);
    return in;
}

/// Rounds to float, so that one reference serves both element types.
inline void round_to_float(problem& p) {
    for (values* x :
         {&p.q, &p.k, &p.v, &p.gate, &p.beta, &p.in.s, &p.in.normalizer, &p.in.max, &p.in.sum}) {
        for (double& a : *x) a = static_cast<float>(a);
    }
}

/// A call with the given extents; the incoming state is empty.
inline problem random_problem(random& r, oracle::composition const& op, oracle::extents const& n,
                              gates kind = gates::mild) {
    problem p;
    p.op = op;
    p.n = n;
    double const low = needs_positive_scores(op) ? 0.1 : -1;
    p.q = uniform(r, n.B * n.Hq * n.T * n.D, low, 1);
    p.k = uniform(r, n.B * n.Hkv * n.T * n.D, low, 1);
    p.v = uniform(r, n.B * n.Hkv * n.T * n.E, -1, 1);
    p.gate = random_gate(r, op, n, kind);
    p.beta = random_beta(r, p);
    p.in = oracle::empty_state(op, n);
    return p;
}

/// Anything goes: extents, gates, scale, eps, and half the time an incoming state.
inline problem random_problem(random& r, oracle::composition const& op, double work = 1e6) {
    auto p = random_problem(r, op, random_extents(r, work), r.one_of({gates::mild, gates::hard}));
    if (r.chance(0.5)) p.in = random_state(r, op, p.n);
    p.scale = r.one_of({1.0, 0.125, -2.0});
    p.eps = r.one_of({1e-6, 1e-3, 1.0});
    return p;
}

/// Tokens begin, ..., end - 1 of a [blocks, T, channels] tensor.
inline values tokens(values const& x, index T, index channels, index begin, index end) {
    values y;
    if (x.empty()) return y;
    for (auto block = x.begin(); block != x.end(); block += T * channels) {
        y.insert(y.end(), block + begin * channels, block + end * channels);
    }
    return y;
}

/// The same call on some of its tokens.
inline problem slice(problem p, index begin, index end) {
    index const T = p.n.T;
    p.q = tokens(p.q, T, p.n.D, begin, end);
    p.k = tokens(p.k, T, p.n.D, begin, end);
    p.v = tokens(p.v, T, p.n.E, begin, end);
    p.beta = tokens(p.beta, T, 1, begin, end);
    if (p.op.decay != oracle::decay::constant) {
        p.gate = tokens(p.gate, T, oracle::gate_channels(p.op, p.n), begin, end);
    }
    p.n.T = end - begin;
    return p;
}

/// The outputs [B, Hq, T, E] of tokens [0, at) and [at, T) put back together.
inline values joined(values const& left, values const& right, oracle::extents const& n, index at) {
    values o;
    for (index head = 0; head < n.B * n.Hq; ++head) {
        for (values const* side : {&left, &right}) {
            index const size = (side == &left ? at : n.T - at) * n.E;
            auto const begin = side->begin() + head * size;
            o.insert(o.end(), begin, begin + size);
        }
    }
    return o;
}

}  // namespace support
