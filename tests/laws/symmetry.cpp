#include "support/law.hpp"

#include "oracle/path.hpp"

namespace support {

namespace {

std::vector<index> reversal(index T) { return oracle::visits(oracle::path::raster_reversed, 1, T); }

/// Blocks (heads, or batches) of a tensor in another order.
values blocks(values const& x, std::vector<index> const& order, index outer) {
    if (x.empty()) return x;
    auto const count = static_cast<index>(order.size());
    index const size = static_cast<index>(x.size()) / (outer * count);
    values y;
    for (index o = 0; o < outer; ++o) {
        for (index b : order) {
            auto const begin = x.begin() + (o * count + b) * size;
            y.insert(y.end(), begin, begin + size);
        }
    }
    return y;
}

oracle::state blocks(oracle::state const& s, std::vector<index> const& order, index outer) {
    return {blocks(s.s, order, outer), blocks(s.normalizer, order, outer),
            blocks(s.max, order, outer), blocks(s.sum, order, outer)};
}

}  // namespace

TEST_CASE("permuting the tokens of a bidirectional additive operator permutes its output") {
    for (subject const& s : subjects()) {
        if (!oracle::is_additive(s.op) || oracle::has_state(s.op)) continue;
        random r("permute tokens " + s.name);
        for (gates kind : {gates::mild, gates::hard}) {
            auto const p = random_problem(r, s.op, {2, 2, 1, 100, 9, 7}, kind);
            auto const order = r.permutation(p.n.T);
            for (form const& f : s.forms) {
                auto const a = random_arrangement(r);
                auto const plain = f.forward(p, a).o;
                auto const permuted = f.forward(oracle::permuted(p, order), a).o;
                INFO(describe(s, f, p, a));
                CHECK(error(permuted, oracle::gathered(plain, order, p.n.E)) <= same_in_double);
            }
        }
    }
}

TEST_CASE("anticausal is causal in a mirror, bidirectional is its own mirror image") {
    for (subject const& s : subjects()) {
        auto mirrored_op = s.op;
        if (s.op.direction == oracle::direction::causal) {
            mirrored_op.direction = oracle::direction::anticausal;
        } else if (s.op.direction == oracle::direction::anticausal) {
            mirrored_op.direction = oracle::direction::causal;
        }
        subject const* const mirror = find(mirrored_op);
        if (!mirror) continue;
        random r("mirror " + s.name);
        auto p = random_problem(r, s.op, {2, 2, 1, 83, 6, 5}, r.one_of({gates::mild, gates::hard}));
        p.in = random_state(r, s.op, p.n);
        auto q = oracle::permuted(p, reversal(p.n.T));
        q.op = mirrored_op;
        for (std::size_t i = 0; i < std::min(s.forms.size(), mirror->forms.size()); ++i) {
            auto const a = random_arrangement(r);
            auto want = mirror->forms[i].forward(q, a);
            want.o = oracle::gathered(want.o, reversal(p.n.T), p.n.E);
            check_equal(describe(s, s.forms[i], p, a), s.forms[i].forward(p, a), want, s.op,
                        same_in_double);
        }
    }
}

TEST_CASE("permuting the heads or the batch permutes the output and the state") {
    for (subject const& s : subjects()) {
        random r("permute heads " + s.name);
        auto p = random_problem(r, s.op, {3, 4, 4, 21, 5, 4});
        p.in = random_state(r, s.op, p.n);
        auto const a = random_arrangement(r);
        auto const plain = s.forward()(p, a);
        INFO(describe(s, s.forms[0], p, a));

        bool const constant = s.op.decay == oracle::decay::constant;
        auto permute = [&](std::vector<index> const& order, index outer, bool heads) {
            auto q = p;
            for (values* x : {&q.q, &q.k, &q.v, &q.beta}) *x = blocks(*x, order, outer);
            if (!constant) q.gate = blocks(q.gate, order, outer);
            if (constant && heads) q.gate = blocks(q.gate, order, 1);
            q.in = blocks(q.in, order, outer);
            auto const got = s.forward()(q, a);
            CHECK(error(got.o, blocks(plain.o, order, outer)) <= same_in_double);
            CHECK(error(got.out, blocks(plain.out, order, outer), s.op) <= same_in_double);
        };
        permute(r.permutation(p.n.Hq), p.n.B, true);
        permute(r.permutation(p.n.B), 1, false);
    }
}

TEST_CASE("grouped heads equal repeated heads") {
    for (subject const& s : subjects()) {
        random r("grouped " + s.name);
        auto p = random_problem(r, s.op, {2, 6, 2, 33, 5, 4});
        p.in = random_state(r, s.op, p.n);

        auto repeated = p;
        repeated.n.Hkv = 6;
        std::vector<index> const order{0, 0, 0, 1, 1, 1};
        auto repeat = [&](values const& x, index outer) {
            values y;
            for (index o = 0; o < outer; ++o) {
                auto const one = oracle::part(x, o, static_cast<index>(x.size()) / outer);
                auto const size = static_cast<index>(one.size()) / 2;
                for (index h : order) oracle::append(y, oracle::part(one, h, size));
            }
            return y;
        };
        for (values* x : {&repeated.k, &repeated.v, &repeated.beta, &repeated.in.s,
                          &repeated.in.normalizer, &repeated.in.max, &repeated.in.sum}) {
            *x = repeat(*x, p.n.B);
        }
        bool const constant = s.op.decay == oracle::decay::constant;
        repeated.gate = repeat(p.gate, constant ? 1 : p.n.B);

        for (form const& f : s.forms) {
            auto const a = random_arrangement(r);
            INFO(describe(s, f, p, a));
            CHECK(error(f.forward(p, a).o, f.forward(repeated, a).o) <= same_in_double);
        }
    }
}

}  // namespace support
