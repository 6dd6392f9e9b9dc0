// Ragged batches: sequences laid end to end in one row are, bit for bit, one call for each.

#include "support/catch.hpp"
#include "support/random.hpp"

#include <rondo/rondo.hpp>

#include <cstring>
#include <vector>

namespace rd = rondo;

namespace {

using floats = std::vector<float>;
constexpr rd::index Hq = 4, H = 2, D = 12, E = 9;

floats draw(support::random& r, rd::index n, double low, double high) {
    floats x(static_cast<std::size_t>(n));
    for (float& value : x) value = static_cast<float>(r.uniform(low, high));
    return x;
}

/// Sequences of every kind: empty ones, those shorter than a tile, a chunk and a bit.
std::vector<rd::index> random_offsets(support::random& r) {
    std::vector<rd::index> offsets{0};
    for (rd::index s = r.integer(1, 6); s > 0; --s) {
        auto const length = r.one_of<rd::index>({0, 0, 1, 2, 3, 4, 5, 15, 16, 17, 33, 64, 70});
        offsets.push_back(offsets.back() + length);
    }
    return offsets;
}

/// One row of tokens with all that any operator may read.
struct row {
    rd::index tokens;
    floats q, k, v, gate, beta;

    row(support::random& r, rd::index T, bool additive)
        : tokens(T),
          q(draw(r, T * Hq * D, 0.05, 0.3)),
          k(draw(r, T * H * D, 0.05, 0.3)),
          v(draw(r, T * H * E, -1, 1)),
          gate(draw(r, (T + 1) * H * D, additive ? -4 : -1, additive ? 4 : 0)),
          beta(draw(r, T * H, 0, 1)) {}
};

/// The inputs of an operator after `map`, which packs or slices a view along axis 2.
template <class Operator, class Map>
auto inputs_of(Operator const&, row const& x, Map map) {
    constexpr auto what = Operator::composition;
    using inputs = rd::inputs<what, float>;
    auto const q = map(rd::bthd(x.q, 1, x.tokens, Hq, D)),
               k = map(rd::bthd(x.k, 1, x.tokens, H, D));
    auto const v = map(rd::bthd(x.v, 1, x.tokens, H, E));
    auto const beta = map(rd::bth(x.beta, 1, x.tokens, H));
    auto const gate = [&] {
        if constexpr (what.per_channel()) {
            return map(rd::bthd(x.gate, 1, x.tokens, H, D));
        } else if constexpr (what.gate_rank() == 1) {
            return rd::view<float const, 1>(x.gate.data(), {H});
        } else {
            return map(rd::bth(x.gate, 1, x.tokens, H));
        }
    }();
    if constexpr (what.gated() && what.delta) {
        return inputs{q, k, v, gate, beta};
    } else if constexpr (what.gated()) {
        return inputs{q, k, v, gate};
    } else if constexpr (what.delta) {
        return inputs{q, k, v, beta};
    } else {
        return inputs{q, k, v};
    }
}

/// The output of the packed row, with one state a sequence handed in and out.
template <class Operator, class Place, class... State>
floats packed(Operator const& op, Place place, row const& x, std::vector<rd::index> const& offsets,
              State&... state) {
    floats o(static_cast<std::size_t>(x.tokens * Hq * E), 7.0F);
    auto const pack = [&](auto view) { return view.packed(offsets); };
    auto const to = pack(rd::bthd(o, 1, x.tokens, Hq, E));
    if constexpr (sizeof...(State) == 0) {
        op.forward(place, inputs_of(op, x, pack), to);
    } else {
        (op.forward(place, inputs_of(op, x, pack), to, {.in = state, .out = state}), ...);
    }
    return o;
}

/// The same, a call for each sequence.
template <class Operator, class... State>
floats one_by_one(Operator const& op, row const& x, std::vector<rd::index> const& offsets,
                  std::vector<State>&... states) {
    floats o(static_cast<std::size_t>(x.tokens * Hq * E), 7.0F);
    for (std::size_t s = 0; s + 1 < offsets.size(); ++s) {
        auto const cut = [&](auto view) { return view.slice(2, offsets[s], offsets[s + 1]); };
        auto const in = inputs_of(op, x, cut);
        auto const to = cut(rd::bthd(o, 1, x.tokens, Hq, E));
        if constexpr (sizeof...(State) == 0) {
            op.forward(rd::exec::simd, in, to);
        } else {
            (op.forward(rd::exec::simd, in, to, {.in = states[s], .out = states[s]}), ...);
        }
    }
    return o;
}

template <class Operator>
void check(Operator const& op, char const* name) {
    constexpr auto what = Operator::composition;
    support::random r(name);
    for (int round = 0; round < 20; ++round) {
        auto const offsets = random_offsets(r);
        auto const sequences = static_cast<rd::index>(offsets.size()) - 1;
        row const x(r, offsets.back(), what.additive());
        INFO(name << " round " << round << " tokens " << x.tokens);
        if constexpr (what.bidirectional()) {
            auto const want = one_by_one(op, x, offsets);
            CHECK((packed(op, rd::exec::simd, x, offsets) == want));
            CHECK((packed(op, rd::exec::openmp.threads(3), x, offsets) == want));
        } else {
            auto const prompt = op.template state<float>(sequences, H, D, E);
            auto carried = prompt, shared = prompt;
            std::vector<rd::state<float>> alone;
            for (rd::index s = 0; s < sequences; ++s) alone.push_back(prompt.fork({s}));
            for (int call = 0; call < 2; ++call) {  // the second goes on from the first
                auto const want = one_by_one(op, x, offsets, alone);
                CHECK((packed(op, rd::exec::simd, x, offsets, carried) == want));
                CHECK((packed(op, rd::exec::openmp.threads(3), x, offsets, shared) == want));
            }
            CHECK((carried.bytes() == shared.bytes()));
            for (rd::index s = 0; s < sequences; ++s) {
                CHECK((carried.fork({s}).bytes() == alone[std::size_t(s)].bytes()));
            }
        }
    }
}

}  // namespace

TEST_CASE("packed sequences are one call each, bit for bit") {
    using rd::attention;
    namespace decay = rd::decay;
    check(attention(), "none");
    check(attention(rd::normalize::sum, rd::feature::elu_plus_one), "none, sum");
    check(attention(decay::constant), "constant");
    check(attention(decay::scalar, rd::anticausal), "scalar, anticausal");
    check(attention(decay::scalar, decay::on_write, rd::normalize::sum), "scalar, on_write, sum");
    check(attention(decay::vector), "vector");
    check(attention(decay::vector, rd::recurrent), "vector, recurrent");
    check(attention(decay::additive), "additive");
    check(attention(decay::additive_scalar, rd::normalize::sum), "additive_scalar, sum");
    check(attention(rd::update::delta), "delta");
    check(attention(decay::vector, rd::update::delta), "vector, delta");
}

TEST_CASE("packed sequences of bidirectional operators see themselves only") {
    using rd::attention;
    namespace decay = rd::decay;
    check(attention(rd::bidirectional), "bidirectional");
    check(attention(decay::additive, rd::bidirectional), "additive, bidirectional");
    check(attention(decay::vector, rd::bidirectional, rd::quadratic), "vector, quadratic");
    check(attention(decay::scalar, decay::on_write, rd::bidirectional, rd::normalize::sum),
          "lion_s");
}

namespace {

struct gradient_row {
    floats q, k, v, gate, beta;
};

/// The gradients of a row, its views and those of the gradients after `map`.
template <class Operator, class Map>
void backward(Operator const& op, row const& x, floats const& d_o, gradient_row& to, Map map) {
    constexpr auto what = Operator::composition;
    rd::gradients<what, float> wanted{.q = map(rd::bthd(to.q, 1, x.tokens, Hq, D)),
                                      .k = map(rd::bthd(to.k, 1, x.tokens, H, D)),
                                      .v = map(rd::bthd(to.v, 1, x.tokens, H, E))};
    if constexpr (what.per_channel()) wanted.gate = map(rd::bthd(to.gate, 1, x.tokens, H, D));
    if constexpr (what.gated() && !what.per_channel()) {
        wanted.gate = map(rd::bth(to.gate, 1, x.tokens, H));
    }
    if constexpr (what.delta) wanted.beta = map(rd::bth(to.beta, 1, x.tokens, H));
    op.backward(rd::exec::openmp.threads(16), inputs_of(op, x, map),
                map(rd::bthd(d_o, 1, x.tokens, Hq, E)), wanted);
}

template <class Operator>
void check_gradients(Operator const& op, char const* name) {
    support::random r(name);
    for (int round = 0; round < 8; ++round) {
        auto offsets = random_offsets(r);  // and one whose time is shared
        offsets.push_back(offsets.back() + r.one_of<rd::index>({0, 300, 700}));
        row const x(r, offsets.back(), Operator::composition.additive());
        auto const d_o = draw(r, x.tokens * Hq * E, -1, 1);
        gradient_row got{x.q, x.k, x.v, x.gate, x.beta}, want = got;
        backward(op, x, d_o, got, [&](auto view) { return view.packed(offsets); });
        for (std::size_t s = 0; s + 1 < offsets.size(); ++s) {
            backward(op, x, d_o, want,
                     [&](auto view) { return view.slice(2, offsets[s], offsets[s + 1]); });
        }
        INFO(name << " round " << round << " tokens " << x.tokens);
        CHECK((got.q == want.q));
        CHECK((got.k == want.k));
        CHECK((got.v == want.v));
        CHECK((got.gate == want.gate));
        CHECK((got.beta == want.beta));
    }
}

}  // namespace

TEST_CASE("gradients of packed sequences are one call each, bit for bit") {
    using rd::attention;
    namespace decay = rd::decay;
    check_gradients(attention(rd::normalize::sum, rd::feature::elu_plus_one), "gradient, sum");
    check_gradients(attention(decay::scalar, decay::on_write, rd::bidirectional),
                    "gradient, scalar");
    check_gradients(attention(decay::scalar), "gradient, causal scalar");
    check_gradients(attention(decay::vector), "gradient, causal vector");
    check_gradients(attention(decay::vector, rd::update::delta), "gradient, vector, delta");
    check_gradients(attention(decay::additive, rd::bidirectional), "gradient, additive");
}

TEST_CASE("wrong packings are refused, and nothing is written") {
    using support::contains;
    constexpr auto op = rd::attention();
    constexpr rd::index T = 10;
    support::random r("packing");
    row const x(r, T, false);
    floats o(static_cast<std::size_t>(T * Hq * E), 7.0F);
    std::vector<rd::index> const right{0, 4, T};
    auto const call = [&](std::vector<rd::index> const& q, std::vector<rd::index> const& rest) {
        op.forward(rd::exec::simd,
                   {rd::bthd(x.q, 1, T, Hq, D).packed(q), rd::bthd(x.k, 1, T, H, D).packed(rest),
                    rd::bthd(x.v, 1, T, H, E).packed(rest)},
                   rd::bthd(o, 1, T, Hq, E).packed(rest));
    };
    auto const both = [&](std::vector<rd::index> const& offsets) { call(offsets, offsets); };
    CHECK_NOTHROW(both(right));
    o.assign(o.size(), 7.0F);
    CHECK_THROWS_WITH(both({1, 4, T}), contains("their start"));
    CHECK_THROWS_WITH(both({-1, 4, T}), contains("their start"));
    CHECK_THROWS_WITH(both({0, 4, 9}), contains("their end, expected 10"));
    CHECK_THROWS_WITH(both({0, 4, 11}), contains("their end, expected 10"));
    CHECK_THROWS_WITH(both({0}), contains("their end, expected 10"));
    CHECK_THROWS_WITH(both({0, 12, T}), contains("the packed offsets fall from 12 to 10"));
    CHECK_THROWS_WITH(call(right, {}),
                      contains("k is packed by 0 offsets, expected the 3 offsets"));
    CHECK_THROWS_WITH(call(right, {0, 5, T}), contains("k is packed"));
    CHECK_THROWS_WITH(call({}, right),
                      contains("k is packed by 3 offsets, expected the 0 offsets"));

    // a batch beside packed sequences, and a state for another number of them
    floats const twice(static_cast<std::size_t>(2 * T * Hq * D));
    CHECK_THROWS_WITH(op.forward(rd::exec::simd,
                                 {rd::bthd(twice, 2, T / 2, Hq, D).packed(right),
                                  rd::bthd(twice, 2, T / 2, Hq, D).packed(right),
                                  rd::bthd(twice, 2, T / 2, Hq, D).packed(right)},
                                 rd::bthd(o, 2, T / 2, Hq, D / 2).packed(right)),
                      contains("rondo::attention: "));
    auto state = op.state<float>(3, H, D, E);
    CHECK_THROWS_WITH(op.forward(rd::exec::simd,
                                 {rd::bthd(x.q, 1, T, Hq, D).packed(right),
                                  rd::bthd(x.k, 1, T, H, D).packed(right),
                                  rd::bthd(x.v, 1, T, H, E).packed(right)},
                                 rd::bthd(o, 1, T, Hq, E).packed(right), {.out = state}),
                      contains("state out has extent 3 along batch, expected 2"));
    CHECK(o == floats(o.size(), 7.0F));
}
