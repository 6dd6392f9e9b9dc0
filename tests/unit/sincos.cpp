#include "support/catch.hpp"
#include "support/random.hpp"

#include <rondo/simd/sincos.hpp>

#include <cmath>

namespace {

namespace detail = rondo::detail;

template <class L>
double worst_turn(char const* name) {
    support::random r(name);
    double worst = 0;
    for (int i = 0; i < 20000; ++i) {
        double const theta = r.uniform(-4, 4),
                     place = double(r.integer(0, i % 2 == 0 ? 10 : 1 << 21));
        detail::split_double const parts(theta);
        typename L::pack sine, cosine;
        detail::sincos_pack<L>(L::broadcast(place * parts.high), L::broadcast(place * parts.low),
                               sine, cosine);
        // The product has 74 bits, long double 64: the rest is added to first order.
        long double const s = place, angle = s * theta;
        long double const rest = std::fma(s, static_cast<long double>(theta), -angle);
        long double const want_sine = std::sin(angle) + rest * std::cos(angle);
        long double const want_cosine = std::cos(angle) - rest * std::sin(angle);
        double lanes[2][L::width];
        L::store(lanes[0], sine);
        L::store(lanes[1], cosine);
        worst = std::max(worst, std::abs(lanes[0][0] - double(want_sine)));
        worst = std::max(worst, std::abs(lanes[1][0] - double(want_cosine)));
    }
    return worst;
}

}  // namespace

TEST_CASE("sines and cosines are right at any place below two million") {
    CHECK(worst_turn<detail::simd_lanes<double>>("turns") <= 4e-16);
    CHECK(worst_turn<detail::one_lane<double>>("turns, one lane") <= 4e-16);
}
