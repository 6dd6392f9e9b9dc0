// Padded batches: a token that is masked leaves no trace, whichever side it stands on.
//
//   additive decays          logit -inf at the padding
//   every other decay        k = 0 at the padding, and log decay 0 so that the state passes by,
//                            with a feature map that keeps 0
//   update::delta            beta = 0 at the padding, and log decay 0

#include "support/catch.hpp"
#include "support/random.hpp"

#include <rondo/rondo.hpp>

#include <cmath>
#include <limits>
#include <vector>

namespace rd = rondo;

namespace {

using doubles = std::vector<double>;
constexpr rd::index T = 40, D = 6, E = 5, H = 2;

doubles draw(support::random& r, rd::index n, double low, double high) {
    doubles x(static_cast<std::size_t>(n));
    for (double& value : x) value = r.uniform(low, high);
    return x;
}

auto channels(doubles const& x, rd::index count) { return rd::bthd(x, 1, T, H, count); }

/// The tokens [first, last) are real, the others padding that `mask` takes out of a tensor.
struct padded {
    rd::index first, last;

    void mask(doubles& x, double with) const {
        rd::index const size = rd::index(x.size()) / T;
        for (rd::index i = 0; i < rd::index(x.size()); ++i) {
            if (i / size < first || i / size >= last) x[std::size_t(i)] = with;
        }
    }
    template <class View>
    View cut(View const& x) const {
        return x.slice(2, first, last);
    }
};

double difference(doubles const& a, doubles const& b, padded const& real) {
    double largest = 0;
    for (rd::index i = real.first * H * E; i < real.last * H * E; ++i) {
        largest = std::max(largest, std::abs(a[std::size_t(i)] - b[std::size_t(i)]));
    }
    return largest;
}

/// The outputs at the real tokens of a padded call, and those of a call without the padding.
template <class Operator, class Query, class... Rest>
double traces(Operator const& op, padded const& real, Query const& q, Rest const&... rest) {
    doubles with(static_cast<std::size_t>(T * H * E)), without = with;
    op.forward(rd::exec::simd, {q, rest...}, rd::bthd(with, 1, T, H, E));
    op.forward(rd::exec::simd, {real.cut(q), real.cut(rest)...},
               real.cut(rd::bthd(without, 1, T, H, E)));
    return difference(with, without, real);
}

}  // namespace

TEST_CASE("masked tokens leave no trace, on the left and on the right") {
    support::random r("padding");
    for (padded const real : {padded{13, T}, padded{0, 29}, padded{7, 31}}) {
        auto const q = draw(r, T * H * D, -1, 1), v = draw(r, T * H * E, -1, 1);
        auto k = draw(r, T * H * D, -0.4, 0.4), g = draw(r, T * H * D, -1, 0);
        auto z = draw(r, T * H * D, -3, 3), beta = draw(r, T * H, 0, 1);
        real.mask(z, -std::numeric_limits<double>::infinity());
        auto const kept = k;
        real.mask(k, 0);
        real.mask(g, 0);
        real.mask(beta, 0);
        auto const queries = channels(q, D), values = channels(v, E);

        constexpr auto lightnet = rd::attention(rd::decay::additive, rd::bidirectional);
        CHECK(traces(lightnet, real, queries, channels(kept, D), values, channels(z, D)) <= 1e-13);
        CHECK(traces(rd::attention(rd::decay::additive), real, queries, channels(kept, D), values,
                     channels(z, D)) <= 1e-13);
        CHECK(traces(rd::attention(), real, queries, channels(k, D), values) <= 1e-13);
        CHECK(traces(rd::attention(rd::decay::vector), real, queries, channels(k, D), values,
                     channels(g, D)) <= 1e-13);
        CHECK(traces(rd::attention(rd::decay::vector, rd::bidirectional), real, queries,
                     channels(k, D), values, channels(g, D)) <= 1e-13);
        CHECK(traces(rd::attention(rd::decay::vector, rd::feature::silu), real, queries,
                     channels(k, D), values, channels(g, D)) <= 1e-13);
        CHECK(traces(rd::attention(rd::feature::relu, rd::normalize::sum), real, queries,
                     channels(k, D), values) <= 1e-13);
        constexpr auto kda = rd::attention(rd::decay::vector, rd::update::delta);
        CHECK(traces(kda, real, queries, channels(kept, D), values, channels(g, D),
                     rd::bth(beta, 1, T, H)) <= 1e-13);
    }
}
