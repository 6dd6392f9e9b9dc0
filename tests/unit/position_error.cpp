#include "support/catch.hpp"

#include <rondo/position.hpp>
#include <rondo/rondo.hpp>
#include <rondo/scan.hpp>

#include <vector>

// Bad positions are a sentence, and nothing is written.

namespace rd = rondo;
using support::contains;

namespace {

constexpr rd::index B = 2, H = 3, T = 12, D = 8;

struct data {
    std::vector<float> memory = std::vector<float>(20000, 0.5F),
                       out = std::vector<float>(20000, 7.F);
    rd::view<float const, 4> x = rd::bthd(memory.data(), B, T, H, D);
    rd::view<float, 4> y = rd::bthd(out.data(), B, T, H, D);
    rd::view<float const, 2> theta{memory.data(), {H, D / 2}};
    rd::view<float const, 3> line{memory.data(), {B, T, D}};
    rd::view<float, 3> y_line{out.data(), {B, T, D}};
    rd::view<float const, 2> b{memory.data(), {D, 4}};

    bool untouched() const {
        for (float value : out) {
            if (value != 7.F) return false;
        }
        return true;
    }
};

rd::view<float const, 4> narrow(rd::view<float const, 4> const& x) { return x.slice(3, 0, 7); }

}  // namespace

TEST_CASE("turns refuse what they cannot turn") {
    data d;
    auto const rotation = rd::position::lrpe(rd::lrpe::rotation);
    CHECK_THROWS_WITH(
        rd::position::rope().forward(rd::exec::simd, {narrow(d.x)}, d.y.slice(3, 0, 7)),
        contains("x has 7 channels, expected an even number"));
    CHECK_THROWS_WITH(rotation.forward(rd::exec::simd, {d.x, d.theta.slice(1, 0, 3)}, d.y),
                      contains("theta has extent 3 along channel, expected 4"));
    CHECK_THROWS_WITH(rd::position::rope(rd::grid{3, 5}).forward(rd::exec::simd, {d.x}, d.y),
                      contains("x has extent 12 along time, expected 15 (the size of the grid"));
    CHECK_THROWS_WITH(
        rd::position::rope(rd::grid{3, 4}).forward(rd::exec::simd, {d.x}, d.y, {.offset = 1}),
        contains("x ends at token 13, expected at most 12"));
    CHECK_THROWS_WITH(rd::position::lrpe(rd::lrpe::cosine).forward(rd::exec::simd, {d.x}, d.y),
                      contains("y has extent 8 along axis 3, expected 16"));
    CHECK_THROWS_WITH(
        rotation.forward(rd::exec::simd, {rd::view<float const, 4>(d.y), d.theta}, d.y),
        contains("y overlaps x"));
    CHECK(d.untouched());
}

TEST_CASE("a packed view is refused where a row is one sequence") {
    data d;
    std::vector<rd::index> const offsets = {0, 5, T};
    auto const x = d.x.slice(0, 0, 1);
    auto const y = d.y.slice(0, 0, 1);
    CHECK_THROWS_WITH(rd::position::rope().forward(rd::exec::simd, {x.packed(offsets)}, y),
                      contains("x is packed by 3 offsets, expected none (0)"));
    CHECK_THROWS_WITH(rd::position::rope().forward(rd::exec::simd, {x}, y.packed(offsets)),
                      contains("y is packed by 3 offsets"));
    CHECK_THROWS_WITH(rd::scan().forward(rd::exec::simd, {x, x.packed(offsets)}, y),
                      contains("log_a is packed by 3 offsets"));
    CHECK_THROWS_WITH(rd::position::tpe().forward(rd::exec::simd, {x.packed(offsets), d.b, d.b}, y),
                      contains("x is packed by 3 offsets"));
    CHECK(d.untouched());
}

TEST_CASE("what is no permutation is refused") {
    data d;
    std::vector<rd::index> order{0, 1, 2, 3, 4, 5, 6, 6};
    rd::view<rd::index const, 2> const twice(order.data(), {H, D}, {0, 1});
    auto const op = rd::position::lrpe(rd::lrpe::permutation);
    CHECK_THROWS_WITH(op.forward(rd::exec::simd, {d.x, twice}, d.y),
                      contains("names channel 6 twice"));
    order[7] = 8;
    CHECK_THROWS_WITH(op.forward(rd::exec::simd, {d.x, twice}, d.y),
                      contains("holds 8 in the row of head 0, expected a permutation of 0 to 7"));
    auto const p = rd::position::lrpe(rd::lrpe::rotation, rd::lrpe::permutation);
    CHECK_THROWS_WITH(p.forward(rd::exec::simd, {d.x, d.theta, twice}, d.y), contains("holds 8"));
    auto const grid = rd::position::lrpe(rd::lrpe::permutation, rd::grid{2, 3, 2});
    CHECK_THROWS_WITH(grid.forward(rd::exec::simd, {d.x, twice}, d.y),
                      contains("x has 8 channels, expected a multiple of the 3 axes"));
    CHECK(d.untouched());
}

TEST_CASE("encodings and scans refuse extents that do not fit") {
    data d;
    auto const tpe = rd::position::tpe();
    CHECK_THROWS_WITH(tpe.forward(rd::exec::simd, {d.line, d.b.slice(0, 0, 7), d.b}, d.y_line),
                      contains("b has extent 7 along axis 0, expected 8"));
    CHECK_THROWS_WITH(tpe.forward(rd::exec::simd, {d.line, d.b, d.b.slice(1, 0, 3)}, d.y_line),
                      contains("log_lambda has extent 3 along axis 1, expected 4"));
    CHECK_THROWS_WITH(rd::position::tpe(rd::grid{5, 2})
                          .forward(rd::exec::simd,
                                   {d.line, rd::view<float const, 3>(d.memory.data(), {2, D, 4}),
                                    rd::view<float const, 3>(d.memory.data(), {2, D, 4})},
                                   d.y_line),
                      contains("x has extent 12 along time, expected 10"));
    CHECK_THROWS_WITH(rd::scan().forward(rd::exec::simd, {d.line, d.line}, d.y_line, {.axis = 3}),
                      contains("axis is 3, expected one of 0 to 2"));
    CHECK_THROWS_WITH(rd::scan().forward(rd::exec::simd, {d.line, d.line.slice(1, 0, 4)}, d.y_line),
                      contains("log_a has extent 4 along axis 1, expected 12 (y's)"));
    CHECK_THROWS_WITH(rd::log_cumsum_exp().forward(rd::exec::simd,
                                                   {rd::view<float const, 3>(d.y_line)}, d.y_line),
                      contains("y overlaps x"));
    CHECK(d.untouched());
}

TEST_CASE("an operator refuses places that it does not take or that do not fit") {
    data d;
    constexpr auto plain = rd::attention(rd::decay::none);
    constexpr auto fused = rd::attention(rd::decay::none, rd::position::fused(rd::lrpe::rotation));
    auto const call = [&](auto op, rd::position::places const& at) {
        op.forward(rd::exec::simd, {d.x, d.x, d.x}, d.y, {.at = at});
    };
    CHECK_THROWS_WITH(call(plain, {.offset = 3}),
                      contains("places are given (.at), expected none (0) without"));
    CHECK_THROWS_WITH(call(fused, {.offset = -1}), contains("the offset is -1, expected at least"));
    CHECK_THROWS_WITH(call(fused, {.grid = rd::grid{5, 2}}),
                      contains("q has extent 12 along time, expected 10"));
    CHECK_THROWS_WITH(call(fused, {.grid = rd::grid{5, 2}, .offset = 1}),
                      contains("q ends at token 13, expected at most 10"));
    CHECK(d.untouched());
}

TEST_CASE("fused positions refuse channels without a partner and states of other channels") {
    std::vector<double> const x(15, 1.0);
    std::vector<double> y(15, 7.0);
    auto const in = rd::bthd(x, 1, 3, 1, 5);
    auto const out = rd::bthd(y, 1, 3, 1, 5);
    auto const call = [&](auto op, rd::index depth) {
        auto state = op.template state<double>(1, 1, depth, 5);
        op.forward(rd::exec::simd, {in, in, in}, out, {.out = state});
    };
    constexpr auto halves =
        rd::attention(rd::decay::none, rd::position::fused(rd::position::half_split));
    constexpr auto cosine = rd::attention(rd::decay::none, rd::position::fused(rd::lrpe::cosine));
    CHECK_THROWS_WITH(call(halves, 5), contains("q has 5 channels, expected an even number"));
    CHECK_THROWS_WITH(call(cosine, 4), contains("has extent 8 along D, expected 10 (twice"));
    CHECK(y == std::vector<double>(15, 7.0));
}
