#pragma once

// What the laws of gradients share: calls of `backward`, and their comparison with the oracle.

#include "support/gradient_subject.hpp"
#include "support/law.hpp"

namespace support {

/// Half of the time less than everything is asked for.
inline gradient_call random_gradient_call(random& r, problem const& p) {
    gradient_call call;
    call.d_o = uniform(r, p.n.B * p.n.Hq * p.n.T * p.n.E, -1, 1);
    call.d_out = random_state(r, p.op, p.n);
    for (double& x : call.d_out.normalizer) x = p.op.normalized ? r.uniform(-1, 1) : 0;
    for (double& x : call.d_out.sum) x = r.uniform(-1, 1);
    call.every = r.one_of<index>({1, 2, 3, 7});
    return call;
}

/// Where relu and elu_plus_one have no derivative, or no second one, differences measure nothing.
inline void leave_kinks(problem& p) {
    for (values* x : {&p.q, &p.k}) {
        for (double& a : *x) a += a < 0 ? -0.05 : 0.05;
    }
}

/// Small, so that a thousand forward passes take no time; T on both sides of the chunks.
inline problem small_problem(random& r, oracle::composition const& op) {
    index const heads = r.integer(1, 2);
    oracle::extents const n{r.integer(1, 2), heads * r.integer(1, 2),
                            heads,           r.one_of<index>({1, 2, 4, 5, 16, 17, 33, 40}),
                            r.integer(1, 6), r.integer(1, 6)};
    auto p = random_problem(r, op, n, r.one_of({gates::mild, gates::hard}));
    if (r.chance(0.5)) p.in = random_state(r, op, n);
    p.scale = r.one_of({1.0, 0.125, -2.0});
    p.eps = r.one_of({1e-3, 1.0});
    leave_kinks(p);
    p.beta = random_beta(r, p);
    return p;
}

inline void round_to_float(gradient_call& call) {
    for (values* x : {&call.d_o, &call.d_out.s, &call.d_out.normalizer, &call.d_out.sum}) {
        for (double& a : *x) a = static_cast<float>(a);
    }
}

inline std::string describe(gradient_subject const& s, gradient_form const& f, problem const& p,
                            gradient_call const& call, arrangement const& a) {
    return s.name + " " + f.name + "\n  " + describe(p) + "\n  " + describe(a) +
           " every=" + std::to_string(call.every) + "\n  RONDO_SEED=" + std::to_string(base_seed());
}

/// Each gradient that was wanted, and those of the states.
inline void check_gradients(std::string const& what, gradient_outcome const& got,
                            oracle::gradients const& want, oracle::composition const& op,
                            gradient_call const& call, double bound) {
    INFO(what);
    if (call.q) CHECK(error(got.to.q, want.q) <= bound);
    if (call.k) CHECK(error(got.to.k, want.k) <= bound);
    if (call.v) CHECK(error(got.to.v, want.v) <= bound);
    if (call.gate) CHECK(error(got.to.gate, want.gate) <= bound);
    if (call.beta) CHECK(error(got.to.beta, want.beta) <= bound);
    if (call.d_in && oracle::has_state(op)) {
        CHECK(error(got.to.in.s, want.in.s) <= bound);
        if (op.normalized) CHECK(error(got.to.in.normalizer, want.in.normalizer) <= bound);
        if (oracle::is_additive(op)) CHECK(error(got.to.in.sum, want.in.sum) <= bound);
    }
    CHECK(got.gaps_intact);
}

}  // namespace support
