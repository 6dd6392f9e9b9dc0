#include "support/law.hpp"

#include <rondo/rondo.hpp>

// What a view says about memory is all that an operator may know about it.

namespace support {
namespace {

namespace rd = rondo;

constexpr index B = 2, H = 3, T = 21, D = 5, E = 4;
constexpr auto gla = rd::attention(rd::decay::vector, rd::chunkwise<8>);
constexpr auto gla_back = rd::attention(rd::decay::vector, rd::anticausal, rd::recurrent);

std::vector<double> random_data(random& r, index n, double low = -1, double high = 1) {
    return uniform(r, n, low, high);
}

}  // namespace

TEST_CASE("causal on reversed views is anticausal, written in reverse") {
    random r("reversed views");
    auto const q_data = random_data(r, B * T * H * D), k_data = random_data(r, B * T * H * D);
    auto const v_data = random_data(r, B * T * H * E),
               g_data = random_data(r, B * T * H * D, -1, 0);
    auto const q = rd::bthd(q_data, B, T, H, D), k = rd::bthd(k_data, B, T, H, D);
    auto const v = rd::bthd(v_data, B, T, H, E), g = rd::bthd(g_data, B, T, H, D);
    values forwards(B * T * H * E), backwards(B * T * H * E);
    gla_back.forward(rd::exec::simd, {q, k, v, g}, rd::bthd(forwards, B, T, H, E));
    gla.forward(rd::exec::simd, {q.reversed(2), k.reversed(2), v.reversed(2), g.reversed(2)},
                rd::bthd(backwards, B, T, H, E).reversed(2));
    CHECK(error(backwards, forwards) <= same_in_double);
}

TEST_CASE("reversed heads and channels only rename them") {
    random r("reversed heads");
    auto const q_data = random_data(r, B * T * H * D), k_data = random_data(r, B * T * H * D);
    auto const v_data = random_data(r, B * T * H * E),
               g_data = random_data(r, B * T * H * D, -1, 0);
    auto const q = rd::bthd(q_data, B, T, H, D), k = rd::bthd(k_data, B, T, H, D);
    auto const v = rd::bthd(v_data, B, T, H, E), g = rd::bthd(g_data, B, T, H, D);
    values plain(B * T * H * E), renamed(B * T * H * E);
    gla.forward(rd::exec::simd, {q, k, v, g}, rd::bthd(plain, B, T, H, E));
    auto const turned = [](auto view) { return view.reversed(1).reversed(3); };
    gla.forward(rd::exec::simd, {turned(q), turned(k), turned(v), turned(g)},
                turned(rd::bthd(renamed, B, T, H, E)));
    CHECK(error(renamed, plain) <= same_in_double);
}

TEST_CASE("a zero stride is the same as copies") {
    random r("zero strides");
    // one query for all tokens, one key for all batches, one gate for all heads and channels
    auto const q_data = random_data(r, B * H * D), k_data = random_data(r, H * T * D);
    auto const v_data = random_data(r, B * H * T), g_data = random_data(r, B * T, -1, 0);
    rd::view<double const, 4> const q(q_data.data(), {B, H, T, D}, {H * D, D, 0, 1});
    rd::view<double const, 4> const k(k_data.data(), {B, H, T, D}, {0, T * D, D, 1});
    rd::view<double const, 4> const v(v_data.data(), {B, H, T, E}, {H * T, T, 1, 0});
    rd::view<double const, 4> const g(g_data.data(), {B, H, T, D}, {T, 0, 1, 0});

    problem p;
    p.op.decay = oracle::decay::vector;
    p.n = {B, H, H, T, D, E};
    p.in = oracle::empty_state(p.op, p.n);
    for (index b = 0; b < B; ++b) {
        for (index h = 0; h < H; ++h) {
            for (index t = 0; t < T; ++t) {
                for (index d = 0; d < D; ++d) p.q.push_back(q(b, h, t, d));
                for (index d = 0; d < D; ++d) p.k.push_back(k(b, h, t, d));
                for (index e = 0; e < E; ++e) p.v.push_back(v(b, h, t, e));
                for (index d = 0; d < D; ++d) p.gate.push_back(g(b, h, t, d));
            }
        }
    }
    auto const want = oracle::forward(p).o;
    values o(B * H * T * E);
    auto const check = [&](auto op, auto where) {
        std::fill(o.begin(), o.end(), 0);
        op.forward(where, {q, k, v, g}, rd::bhtd(o, B, H, T, E));
        CHECK(error(o, want) <= double_tolerance);
    };
    check(gla, rd::exec::serial);
    check(gla, rd::exec::simd);
    check(gla, rd::exec::openmp);
    check(rd::attention(rd::decay::vector, rd::recurrent), rd::exec::simd);
    check(rd::attention(rd::decay::vector, rd::quadratic), rd::exec::simd);
}

TEST_CASE("q, k, v and o may be slots of one buffer") {
    random r("slots");
    auto const g_data = random_data(r, B * T * H * D, -1, 0);
    auto data = random_data(r, B * T * 4 * H * D);
    auto const copy = data;
    auto const slot = [](auto* from, index n) {
        return rd::bthd(from, B, T, 4 * H, D).slice(1, n * H, (n + 1) * H);
    };
    values o(B * T * H * D);
    auto const g = rd::bthd(g_data, B, T, H, D);
    gla.forward(rd::exec::simd,
                {slot(copy.data(), 0), slot(copy.data(), 1), slot(copy.data(), 2), g},
                rd::bthd(o, B, T, H, D));
    double const* const read = data.data();
    gla.forward(rd::exec::simd, {slot(read, 0), slot(read, 1), slot(read, 2), g},
                slot(data.data(), 3));
    for (index b = 0; b < B; ++b) {
        for (index t = 0; t < T; ++t) {
            for (index h = 0; h < H; ++h) {
                for (index d = 0; d < D; ++d) {
                    CHECK(slot(data.data(), 3)(b, h, t, d) ==
                          rd::bthd(o.data(), B, T, H, D)(b, h, t, d));
                    CHECK(slot(data.data(), 0)(b, h, t, d) == slot(copy.data(), 0)(b, h, t, d));
                }
            }
        }
    }
}

TEST_CASE("a slice of the sequence is a sequence") {
    random r("slices");
    auto const q_data = random_data(r, B * T * H * D),
               g_data = random_data(r, B * T * H * D, -1, 0);
    auto const q = rd::bthd(q_data, B, T, H, D), g = rd::bthd(g_data, B, T, H, D);
    auto const middle = [](auto view) {
        return view.slice(2, 6, 17).slice(1, 1, 2).slice(0, 1, 2);
    };
    values whole(B * T * H * D, 7), alone(11 * D);
    gla.forward(rd::exec::simd, {middle(q), middle(q), middle(q), middle(g)},
                middle(rd::bthd(whole, B, T, H, D)));
    std::vector<double> q_packed, g_packed;
    for (index t = 6; t < 17; ++t) {
        for (index d = 0; d < D; ++d) {
            q_packed.push_back(q(1, 1, t, d));
            g_packed.push_back(g(1, 1, t, d));
        }
    }
    auto const q_alone = rd::bthd(q_packed, 1, 11, 1, D);
    gla.forward(rd::exec::simd, {q_alone, q_alone, q_alone, rd::bthd(g_packed, 1, 11, 1, D)},
                rd::bthd(alone, 1, 11, 1, D));
    auto const o = rd::bthd(whole.data(), B, T, H, D);
    for (index b = 0; b < B; ++b) {
        for (index h = 0; h < H; ++h) {
            for (index t = 0; t < T; ++t) {
                bool const inside = b == 1 && h == 1 && t >= 6 && t < 17;
                for (index d = 0; d < D; ++d) {
                    double const want = inside ? alone[(t - 6) * D + d] : 7;
                    CHECK(std::abs(o(b, h, t, d) - want) <= same_in_double);
                }
            }
        }
    }
}

}  // namespace support
