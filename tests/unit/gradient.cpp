#include "support/catch.hpp"

#include <Eigen/Core>
#include <rondo/rondo.hpp>

#include <cmath>
#include <vector>

namespace rd = rondo;

namespace {

constexpr rd::index B = 1, H = 2, T = 21, D = 5, E = 4;

template <class T_ = float>
std::vector<T_> wave(rd::index n, float phase, float low = -1, float high = 1) {
    std::vector<T_> x(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < x.size(); ++i) {
        float const unit = 0.5F + 0.5F * std::sin(1.7F * float(i) + phase);
        x[i] = T_(low + (high - low) * unit);
    }
    return x;
}

struct fixture {
    std::vector<float> q = wave(T * H * D, 0), k = wave(T * H * D, 1), v = wave(T * H * E, 2);
    std::vector<float> g = wave(T * H * D, 3, -1, 0), d_o = wave(T * H * E, 4);
    std::vector<float> d_q = q, d_k = k, d_v = v, d_g = g;

    static auto deep(auto& x) { return rd::bthd(x, B, T, H, D); }
    static auto wide(auto& x) { return rd::bthd(x, B, T, H, E); }
};

constexpr auto gla = rd::attention(rd::decay::vector);

/// `call` throws a sentence with `part` in it and changes no gradient.
template <class Call>
void refused(fixture& f, std::string const& part, Call const& call) {
    auto const before = f.d_q;
    CHECK_THROWS_WITH(call(), support::contains(part));
    CHECK((f.d_q == before));
}

}  // namespace

TEST_CASE("a wrong gradient is refused by its name, and nothing is written") {
    fixture f;
    auto const q = fixture::deep(f.q), k = fixture::deep(f.k), g = fixture::deep(f.g);
    auto const v = fixture::wide(f.v), d_o = fixture::wide(f.d_o);
    auto const d_q = fixture::deep(f.d_q), d_k = fixture::deep(f.d_k);
    auto const backward = [&](auto const& to, auto const& gradient, rd::index every = 1) {
        gla.backward(rd::exec::simd, {q, k, v, g}, gradient, to, {.every = every});
    };
    using to = rd::gradients<gla.composition, float>;
    refused(f, "d_q has extent 20 along time, expected 21",
            [&] { backward(to{.q = d_q.slice(2, 0, 20)}, d_o); });
    refused(f, "d_o has extent 3 along channel, expected 4",
            [&] { backward(to{.q = d_q}, d_o.slice(3, 0, 3)); });
    refused(f, "d_k overlaps d_q", [&] { backward(to{.q = d_q, .k = d_q}, d_o); });
    refused(f, "d_k overlaps k", [&] { backward(to{.q = d_q, .k = fixture::deep(f.k)}, d_o); });
    refused(f, "every is 0", [&] { backward(to{.q = d_q}, d_o, 0); });
    refused(f, "k is rondo::ones", [&] {
        gla.backward(rd::exec::simd, {q, rd::ones, v, g}, d_o, {.q = d_q, .k = d_k});
    });
}

TEST_CASE("a key of ones has the gradients of a key that holds ones") {
    fixture f;
    std::vector<float> const ones(f.k.size(), 1);
    auto d_q = f.d_q, d_g = f.d_g;
    constexpr auto lightnet = rd::attention(rd::decay::additive, rd::bidirectional);
    auto const q = fixture::deep(f.q), z = fixture::deep(f.g);
    auto const v = fixture::wide(f.v), d_o = fixture::wide(f.d_o);
    lightnet.backward(rd::exec::simd, {q, rd::ones, v, z}, d_o,
                      {.q = fixture::deep(f.d_q), .gate = fixture::deep(f.d_g)});
    lightnet.backward(rd::exec::simd, {q, fixture::deep(ones), v, z}, d_o,
                      {.q = fixture::deep(d_q), .gate = fixture::deep(d_g)});
    CHECK((f.d_q == d_q));
    CHECK((f.d_g == d_g));
}

TEST_CASE("packed sequences have the gradients that each has alone") {
    fixture f;
    std::vector<rd::index> const offsets{0, 8, 8, T};
    auto const q = fixture::deep(f.q), k = fixture::deep(f.k), g = fixture::deep(f.g);
    auto const v = fixture::wide(f.v), d_o = fixture::wide(f.d_o);
    auto const all = [&](auto const& view) { return view.packed(offsets); };
    gla.backward(rd::exec::openmp, {all(q), all(k), all(v), all(g)}, all(d_o),
                 {all(fixture::deep(f.d_q)), all(fixture::deep(f.d_k)), all(fixture::wide(f.d_v)),
                  all(fixture::deep(f.d_g))});
    fixture alone;
    for (std::size_t s = 0; s + 1 < offsets.size(); ++s) {
        auto const one = [&](auto const& view) {
            return view.slice(2, offsets[s], offsets[s + 1]);
        };
        gla.backward(rd::exec::simd, {one(q), one(k), one(v), one(g)}, one(d_o),
                     {one(fixture::deep(alone.d_q)), one(fixture::deep(alone.d_k)),
                      one(fixture::wide(alone.d_v)), one(fixture::deep(alone.d_g))});
    }
    CHECK((f.d_q == alone.d_q));
    CHECK((f.d_k == alone.d_k));
    CHECK((f.d_v == alone.d_v));
    CHECK((f.d_g == alone.d_g));
}

TEST_CASE("16-bit gradients of several paths are rounded once") {
    using bfloat16 = Eigen::bfloat16;
    fixture f;
    auto const q = fixture::deep(f.q), k = fixture::deep(f.k), g = fixture::deep(f.g);
    auto const v = fixture::wide(f.v), d_o = fixture::wide(f.d_o);
    constexpr auto scans = rd::multiscan(gla, rd::path::cross);
    rd::grid const image{3, 7};
    std::vector<bfloat16> d_q(f.q.size()), d_k(f.k.size()), d_v(f.v.size()), d_g(f.g.size());
    scans.backward(
        rd::exec::openmp, image, {q, k, v, g}, d_o,
        {fixture::deep(f.d_q), fixture::deep(f.d_k), fixture::wide(f.d_v), fixture::deep(f.d_g)});
    scans.backward(
        rd::exec::openmp, image, {q, k, v, g}, d_o,
        {fixture::deep(d_q), fixture::deep(d_k), fixture::wide(d_v), fixture::deep(d_g)});
    auto const rounded = [](std::vector<bfloat16> const& got, std::vector<float> const& want) {
        for (std::size_t i = 0; i < got.size(); ++i) {
            if (float(got[i]) != float(bfloat16(want[i]))) return false;
        }
        return true;
    };
    CHECK(rounded(d_q, f.d_q));
    CHECK(rounded(d_k, f.d_k));
    CHECK(rounded(d_v, f.d_v));
    CHECK(rounded(d_g, f.d_g));
}
