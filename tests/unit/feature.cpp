#include "support/catch.hpp"

#include <rondo/rondo.hpp>

#include <cmath>
#include <vector>

namespace rd = rondo;

namespace {

/// phi(x) . phi(y) of two tokens, through an operator of one token.
template <class Feature>
double product(Feature, std::vector<double> const& x, std::vector<double> const& y) {
    auto const D = static_cast<rd::index>(x.size());
    constexpr auto op = rd::attention(Feature{});
    double const one = 1;
    double o = 0;
    op.forward(rd::exec::simd,
               {rd::bthd(x, 1, 1, 1, D), rd::bthd(y, 1, 1, 1, D), rd::bthd(&one, 1, 1, 1, 1)},
               rd::bthd(&o, 1, 1, 1, 1));
    return o;
}

double silu(double x) { return x / (1 + std::exp(-x)); }

}  // namespace

TEST_CASE("feature maps are their formulas") {
    for (double x : {-700.0, -20.0, -1.0, -1e-9, 0.0, 1e-9, 0.5, 3.0, 50.0}) {
        CAPTURE(x);
        auto const at = [&](auto feature, double want) {
            CHECK(std::abs(product(feature, {x}, {1.0}) - want) <=
                  1e-13 * std::max(1.0, std::abs(want)));
        };
        at(rd::feature::identity, x);
        at(rd::feature::elu_plus_one, (x > 0 ? x + 1 : std::exp(x)) * 2);
        at(rd::feature::silu, silu(x) * silu(1));
        at(rd::feature::exp, std::exp(x) * std::exp(1.0));
        at(rd::feature::relu, std::max(x, 0.0));
        at(rd::feature::silu_half_unit, 1);  // one channel, divided by its own length
    }
}

TEST_CASE("silu_half_unit has length one over the channels") {
    std::vector<double> const x{-2, -0.5, 0, 0.25, 1, 4, 7};
    CHECK(std::abs(product(rd::feature::silu_half_unit, x, x) - 1) <= 1e-14);
    double const a = silu(0.3) + 0.5, b = silu(-1) + 0.5, c = silu(2) + 0.5, d = silu(1) + 0.5;
    double const want = (a * c + b * d) / std::sqrt((a * a + b * b) * (c * c + d * d));
    CHECK(std::abs(product(rd::feature::silu_half_unit, {0.3, -1}, {2, 1}) - want) <= 1e-14);
}
