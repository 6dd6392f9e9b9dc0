#include "support/catch.hpp"
#include "support/random.hpp"

#include <rondo/simd/log.hpp>

#include <cmath>
#include <limits>

namespace {

namespace detail = rondo::detail;

/// What a pack of x gives: the first lane, the last lane being the same.
template <class A, class Function>
A of_pack(A x, Function function) {
    using L = detail::simd_lanes<A>;
    A lanes[L::width];
    L::store(lanes, function(L::broadcast(x)));
    A const first = lanes[0], last = lanes[L::width - 1];
    REQUIRE((first == last || (std::isnan(first) && std::isnan(last))));
    return first;
}

template <class A>
A exp(A x) {
    return of_pack(x, detail::simd_lanes<A>::exp);
}

/// In units of the last place of the right value.
template <class A>
double error_of_exp(A x) {
    long double const want = std::exp(static_cast<long double>(x));
    int exponent = 0;
    std::frexp(want, &exponent);
    long double const unit = std::ldexp(1.0L, exponent - std::numeric_limits<A>::digits);
    return double(std::abs(exp(x) - want) / unit);
}

template <class A>
double worst_exp(double low, double high) {
    support::random r("exp");
    double worst = 0;
    for (int i = 0; i < 200000; ++i) {
        // Half of them near zero, at all magnitudes.
        double const x =
            i % 2 == 0 ? r.uniform(low, high) : r.uniform(-1, 1) * std::exp2(r.uniform(-60, 0));
        worst = std::max(worst, error_of_exp(A(x)));
    }
    return worst;
}

template <class A>
void check_ends() {
    constexpr A infinity = std::numeric_limits<A>::infinity(), huge = A(1e30);
    CHECK(exp(A(0)) == 1);
    CHECK(exp(A(-0.0)) == 1);
    for (A x : {infinity, huge, A(sizeof(A) == 4 ? 89 : 710)}) CHECK(exp(x) == infinity);
    for (A x : {-infinity, -huge, A(sizeof(A) == 4 ? -87.4 : -708.5)}) CHECK(exp(x) == 0);
    CHECK(std::isnan(exp(std::numeric_limits<A>::quiet_NaN())));
}

template <class A>
double worst_log() {
    support::random r("log");
    double worst = 0;
    for (int i = 0; i < 20000; ++i) {
        A const x = A(std::exp(r.uniform(-80, 80)));
        A const got = of_pack(
            x, [](auto const& pack) { return detail::log_pack<detail::simd_lanes<A>>(pack); });
        double const want = std::log(double(x));
        worst = std::max(worst, std::abs(double(got) - want) / std::max(1.0, std::abs(want)));
    }
    return worst / double(std::numeric_limits<A>::epsilon());
}

}  // namespace

TEST_CASE("exponentials are right to two units in the last place") {
    CHECK(worst_exp<float>(-86.9, 88.7) <= 2);
    CHECK(worst_exp<double>(-708, 709.7) <= 2);
}

TEST_CASE("exponentials end in 0, infinity and NaN") {
    check_ends<float>();
    check_ends<double>();
}

TEST_CASE("logarithms are right to three units in the last place") {
    CHECK(worst_log<float>() <= 3);
    CHECK(worst_log<double>() <= 3);
}
