#include "support/catch.hpp"

#include <rondo/rondo.hpp>

#include <limits>
#include <vector>

namespace rd = rondo;

namespace {

constexpr rd::index B = 2, H = 3, T = 6, D = 4, E = 5;
constexpr auto gla = rd::attention(rd::decay::vector);
constexpr auto linear_sum = rd::attention(rd::normalize::sum, rd::feature::elu_plus_one);
constexpr auto lightnet = rd::attention(rd::decay::additive);
constexpr auto lightnet_scalar = rd::attention(rd::decay::additive_scalar);

template <class View>
bool all(View const& view, double want) {
    for (rd::index i = 0; i < view.size(); ++i) {
        if (view.data()[i] != want) return false;
    }
    return true;
}

std::vector<float> ramp(rd::index n, float step = 0.01F) {
    std::vector<float> x(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = step * static_cast<float>(i % 101);
    return x;
}

}  // namespace

TEST_CASE("a new state is empty: zeros, and no maximum yet") {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    auto s = gla.state<float>(B, H, D, E);
    CHECK(s.s().extents() == std::array<rd::index, 4>{B, H, D, E});
    CHECK(all(s.s(), 0));

    auto n = linear_sum.state<double>(B, H, D, E);
    CHECK(n.normalizer().extents() == std::array<rd::index, 3>{B, H, D});
    CHECK(all(n.normalizer(), 0));

    auto l = lightnet.state<double>(B, H, D, E);
    CHECK(l.max().extents() == std::array<rd::index, 3>{B, H, D});
    CHECK(l.sum().extents() == std::array<rd::index, 3>{B, H, D});
    CHECK(all(l.max(), -infinity));
    CHECK(all(l.sum(), 0));
    CHECK(lightnet_scalar.state<float>(B, H, D, E).max().extents() ==
          std::array<rd::index, 3>{B, H, 1});
}

TEST_CASE("the state of float and of double has the type that sums are kept in") {
    STATIC_REQUIRE(std::is_same_v<decltype(gla.state<float>(B, H, D, E).s()(0, 0, 0, 0)), float&>);
    STATIC_REQUIRE(
        std::is_same_v<decltype(gla.state<double>(B, H, D, E).s()(0, 0, 0, 0)), double&>);
}

TEST_CASE("reset makes a used state new; a copy owns its numbers; a move takes them along") {
    auto const q_data = ramp(B * T * H * D), v_data = ramp(B * T * H * E, 0.02F);
    auto const g_data = std::vector<float>(B * T * H * D, -0.1F);
    std::vector<float> o(B * T * H * E);
    auto const q = rd::bthd(q_data, B, T, H, D), g = rd::bthd(g_data, B, T, H, D);
    auto const v = rd::bthd(v_data, B, T, H, E);
    auto s = gla.state<float>(B, H, D, E);
    gla.forward(rd::exec::simd, {q, q, v, g}, rd::bthd(o, B, T, H, E), {.out = s});
    float const before = s.s()(1, 2, 3, 4);
    CHECK(before != 0);

    auto copy = s;
    s.reset();
    CHECK(all(s.s(), 0));
    CHECK(copy.s()(1, 2, 3, 4) == before);
    auto const moved = std::move(copy);
    auto again = moved;
    CHECK(again.s()(1, 2, 3, 4) == before);
}

TEST_CASE("in is left alone when out is another state; both may be the same") {
    auto const q_data = ramp(B * T * H * D), v_data = ramp(B * T * H * E, 0.02F);
    auto const z_data = ramp(B * T * H * D, 0.1F);
    std::vector<float> o(B * T * H * E), o_again = o;
    auto const q = rd::bthd(q_data, B, T, H, D), z = rd::bthd(z_data, B, T, H, D);
    auto const v = rd::bthd(v_data, B, T, H, E);
    auto in = lightnet.state<float>(B, H, D, E), out = in;
    lightnet.forward(rd::exec::simd, {q, q, v, z}, rd::bthd(o, B, T, H, E), {.out = in});
    auto const kept = in;

    lightnet.forward(rd::exec::simd, {q, q, v, z}, rd::bthd(o, B, T, H, E), {.in = in, .out = out});
    CHECK(in.s()(1, 1, 1, 1) == kept.s()(1, 1, 1, 1));
    CHECK(in.sum()(1, 1, 1) == kept.sum()(1, 1, 1));
    lightnet.forward(rd::exec::openmp, {q, q, v, z}, rd::bthd(o_again, B, T, H, E),
                     {.in = in, .out = in});
    CHECK(o == o_again);
    for (rd::index d = 0; d < D; ++d) {
        CHECK(in.s()(1, 2, d, 3) == out.s()(1, 2, d, 3));
        CHECK(in.max()(1, 2, d) == out.max()(1, 2, d));
        CHECK(in.sum()(1, 2, d) == out.sum()(1, 2, d));
    }
}

TEST_CASE("without a state in, a call starts from nothing, whatever out held") {
    auto const q_data = ramp(B * T * H * D), v_data = ramp(B * T * H * E, 0.02F);
    auto const g_data = std::vector<float>(B * T * H * D, -0.1F);
    std::vector<float> o(B * T * H * E), o_again = o;
    auto const q = rd::bthd(q_data, B, T, H, D), g = rd::bthd(g_data, B, T, H, D);
    auto const v = rd::bthd(v_data, B, T, H, E);
    auto out = gla.state<float>(B, H, D, E);
    gla.forward(rd::exec::simd, {q, q, v, g}, rd::bthd(o, B, T, H, E), {.out = out});
    float const once = out.s()(0, 1, 2, 3);
    gla.forward(rd::exec::simd, {q, q, v, g}, rd::bthd(o_again, B, T, H, E), {.out = out});
    CHECK(o == o_again);
    CHECK(out.s()(0, 1, 2, 3) == once);
}
