#include "support/law.hpp"

// Some decays are others in disguise.

namespace support {

namespace {

using oracle::decay;

/// Every subject of one decay beside its twin with another, all else equal.
template <class Visit>
void for_each_pair(decay from, decay to, Visit visit) {
    for (subject const& s : subjects()) {
        if (s.op.decay != from) continue;
        auto op = s.op;
        op.decay = to;
        if (subject const* twin = find(op)) visit(s, *twin);
    }
}

/// The same inputs under both; `translate` makes the second gate of the first.
template <class Translate>
void check_twins(subject const& s, subject const& twin, gates kind, Translate translate) {
    random r("twin " + s.name);
    auto p = random_problem(r, s.op, {2, 4, 2, 75, 7, 5}, kind);
    auto const a = random_arrangement(r);
    auto q = p;
    q.op = twin.op;
    q.gate = translate(p);
    q.in = oracle::empty_state(q.op, q.n);
    for (std::size_t i = 0; i < std::min(s.forms.size(), twin.forms.size()); ++i) {
        auto const got = twin.forms[i].forward(q, a), want = s.forms[i].forward(p, a);
        INFO(describe(s, s.forms[i], p, a) + "\n  " + twin.name);
        CHECK(error(got.o, want.o) <= same_in_double);
        if (oracle::has_state(s.op)) CHECK(error(got.out.s, want.out.s) <= same_in_double);
    }
}

/// One value a token for every key channel.
values in_every_channel(problem const& p) {
    values g;
    for (double x : p.gate) g.insert(g.end(), p.n.D, x);
    return g;
}

}  // namespace

TEST_CASE("a vector gate of equal channels is a scalar gate") {
    for (gates kind : {gates::mild, gates::hard}) {
        for_each_pair(decay::scalar, decay::vector, [&](subject const& s, subject const& twin) {
            check_twins(s, twin, kind, in_every_channel);
        });
    }
}

TEST_CASE("an additive gate of equal channels is an additive scalar gate") {
    for (gates kind : {gates::mild, gates::hard}) {
        for_each_pair(decay::additive_scalar, decay::additive,
                      [&](subject const& s, subject const& twin) {
                          check_twins(s, twin, kind, in_every_channel);
                      });
    }
}

TEST_CASE("a scalar gate of equal tokens is a constant gate") {
    for_each_pair(decay::constant, decay::scalar, [](subject const& s, subject const& twin) {
        check_twins(s, twin, gates::mild, [](problem const& p) {
            values g;
            for (index b = 0; b < p.n.B; ++b) {
                for (double x : p.gate) g.insert(g.end(), p.n.T, x);
            }
            return g;
        });
    });
}

TEST_CASE("no decay is a log decay of zero") {
    for_each_pair(decay::none, decay::constant, [](subject const& s, subject const& twin) {
        check_twins(s, twin, gates::mild, [](problem const& p) { return values(p.n.Hkv); });
    });
    for_each_pair(decay::none, decay::vector, [](subject const& s, subject const& twin) {
        check_twins(s, twin, gates::mild,
                    [](problem const& p) { return values(p.n.B * p.n.Hkv * p.n.T * p.n.D); });
    });
}

TEST_CASE("additive logits that are all equal average: no decay, divided by the window") {
    for_each_pair(decay::none, decay::additive_scalar, [](subject const& s, subject const& twin) {
        if (s.op.normalized) return;
        random r("average " + s.name);
        auto const p = random_problem(r, s.op, {2, 2, 2, 50, 3, 4});
        auto q = p;
        q.op = twin.op;
        q.gate = values(p.n.B * p.n.Hkv * p.n.T, 1234.5);
        q.in = oracle::empty_state(q.op, q.n);
        auto const a = random_arrangement(r);
        auto want = s.forward()(p, a).o;
        for (index i = 0; i < static_cast<index>(want.size()); ++i) {
            index const t = i / p.n.E % p.n.T;
            bool const causal = s.op.direction == oracle::direction::causal;
            want[i] /= static_cast<double>(!oracle::has_state(s.op) ? p.n.T
                                           : causal                 ? t + 1
                                                                    : p.n.T - t);
        }
        INFO(describe(twin, twin.forms[0], q, a));
        CHECK(error(twin.forward()(q, a).o, want) <= same_in_double);
    });
}

TEST_CASE("ones is a key of ones") {
    for (subject const& s : subjects()) {
        random r("key of ones " + s.name);
        auto p = random_problem(r, s.op, {2, 4, 2, 45, 6, 5});
        std::fill(p.k.begin(), p.k.end(), 1);
        p.beta = random_beta(r, p);
        for (form const& f : s.forms) {
            auto a = random_arrangement(r);
            auto const key = f.forward(p, a);
            a.ones = true;
            check_equal(describe(s, f, p, a), f.forward(p, a), key, s.op, same_in_double);
        }
    }
}

}  // namespace support
