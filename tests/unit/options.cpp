#include "support/catch.hpp"

#include <rondo/rondo.hpp>

#include <cmath>

namespace rd = rondo;

TEST_CASE("the defaults: scale 1, eps 1e-6") {
    // one token, one channel: o = scale * q k v / (q k + eps)
    double const q = 1e-3, k = 1e-3, v = 3;
    double o = 0;
    auto const at = [](auto& x) { return rd::bthd(&x, 1, 1, 1, 1); };
    constexpr auto plain = rd::attention();
    constexpr auto divided = rd::attention(rd::normalize::sum);

    plain.forward(rd::exec::simd, {at(q), at(k), at(v)}, at(o));
    CHECK(std::abs(o - 3e-6) <= 1e-20);
    plain.forward(rd::exec::simd, {at(q), at(k), at(v)}, at(o), {.scale = 0.5});
    CHECK(std::abs(o - 1.5e-6) <= 1e-20);

    divided.forward(rd::exec::simd, {at(q), at(k), at(v)}, at(o));
    CHECK(std::abs(o - 1.5) <= 1e-14);
    divided.forward(rd::exec::simd, {at(q), at(k), at(v)}, at(o), {.scale = 2, .eps = 2e-6});
    CHECK(std::abs(o - 2) <= 1e-14);
    divided.forward(rd::exec::simd, {at(q), at(k), at(v)}, at(o), {.eps = 0});
    CHECK(std::abs(o - 3) <= 1e-14);
}
