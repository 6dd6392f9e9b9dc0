// Gradients in 16 bits: those of float on the same numbers, rounded once.

#include "support/catch.hpp"
#include "support/random.hpp"

#include <Eigen/Core>

#include <rondo/rondo.hpp>

#include <cmath>
#include <vector>

namespace rd = rondo;

namespace {

constexpr rd::index Hq = 4, H = 2, T = 50, D = 12, E = 9;

template <class To, class From>
std::vector<To> as(std::vector<From> const& x) {
    std::vector<To> y;
    for (From value : x) y.push_back(static_cast<To>(static_cast<float>(value)));
    return y;
}

std::vector<float> draw(support::random& r, rd::index n, double low, double high) {
    std::vector<float> x(static_cast<std::size_t>(n));
    for (float& value : x) value = static_cast<float>(r.uniform(low, high));
    return x;
}

template <class V>
struct tensors {
    std::vector<V> q, k, v, d_o;
};

template <class V>
struct result {
    std::vector<V> q, k, v;
    std::vector<float> gate;
};

/// q, k, v and their gradients in V, gates and theirs in float.
template <class Operator, class V>
result<V> backward(Operator const& op, tensors<V> const& x, std::vector<float> const& g) {
    result<V> to{x.q, x.k, x.v, g};
    op.backward(rd::exec::simd,
                {rd::bthd(x.q, 1, T, Hq, D), rd::bthd(x.k, 1, T, H, D), rd::bthd(x.v, 1, T, H, E),
                 rd::bthd(g, 1, T, H, D)},
                rd::bthd(x.d_o, 1, T, Hq, E),
                {.q = rd::bthd(to.q, 1, T, Hq, D),
                 .k = rd::bthd(to.k, 1, T, H, D),
                 .v = rd::bthd(to.v, 1, T, H, E),
                 .gate = rd::bthd(to.gate, 1, T, H, D)});
    return to;
}

template <class V>
double error(std::vector<V> const& got, std::vector<float> const& want) {
    double largest = 0, difference = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
        double const w = static_cast<double>(want[i]);
        largest = std::max(largest, std::abs(w));
        difference = std::max(difference, std::abs(double(static_cast<float>(got[i])) - w));
    }
    return difference / largest;
}

template <class V, class Operator>
void check(Operator const& op, double bound) {
    support::random r("half gradient");
    tensors<V> const x{as<V>(draw(r, T * Hq * D, -1, 1)), as<V>(draw(r, T * H * D, -1, 1)),
                       as<V>(draw(r, T * H * E, -1, 1)), as<V>(draw(r, T * Hq * E, -1, 1))};
    tensors<float> const wide{as<float>(x.q), as<float>(x.k), as<float>(x.v), as<float>(x.d_o)};
    auto const gate = draw(r, T * H * D, -1, 0);
    auto const got = backward(op, x, gate);
    auto const want = backward(op, wide, gate);
    CHECK(error(got.q, want.q) < bound);
    CHECK(error(got.k, want.k) < bound);
    CHECK(error(got.v, want.v) < bound);
    CHECK(error(got.gate, want.gate) < 2e-5);
}

}  // namespace

TEST_CASE("gradients in 16 bits are those of float, rounded once") {
    constexpr auto gla = rd::attention(rd::decay::vector);
    constexpr auto both_ways = rd::attention(rd::decay::vector, rd::bidirectional);
    check<Eigen::bfloat16>(gla, 4e-3);
    check<Eigen::half>(gla, 5e-4);
    check<Eigen::bfloat16>(both_ways, 4e-3);
    check<Eigen::half>(both_ways, 5e-4);
}
