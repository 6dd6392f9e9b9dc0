#include "support/law.hpp"

#include <rondo/rondo.hpp>

namespace support {
namespace {

namespace rd = rondo;

constexpr auto gla = rd::attention(rd::decay::vector);
constexpr auto gla_sum =
    rd::attention(rd::decay::vector, rd::normalize::sum, rd::feature::elu_plus_one);

problem random_sequence(char const* name, index length, bool normalized = false) {
    random r(name);
    oracle::composition op;
    op.decay = oracle::decay::vector;
    op.normalized = normalized;
    if (normalized) op.feature = oracle::feature::elu_plus_one;
    return random_problem(r, op, {2, 2, 2, length, 5, 4});
}

/// The output of p, called by `call(inputs, o)`.
template <class Call>
values output_of(problem const& p, Call call) {
    auto const& n = p.n;
    values o(static_cast<std::size_t>(n.B * n.Hq * n.T * n.E));
    call(rd::bhtd(p.q, n.B, n.Hq, n.T, n.D), rd::bhtd(p.k, n.B, n.Hkv, n.T, n.D),
         rd::bhtd(p.v, n.B, n.Hkv, n.T, n.E), rd::bhtd(p.gate, n.B, n.Hkv, n.T, n.D),
         rd::bhtd(o, n.B, n.Hq, n.T, n.E));
    return o;
}

template <class Operator>
values scanned(problem const& p, Operator op) {
    return output_of(p, [&](auto q, auto k, auto v, auto g, auto o) {
        op.forward(rd::exec::simd, {q, k, v, g}, o, {.scale = p.scale, .eps = p.eps});
    });
}

template <class Operator, int Rank>
values scanned(problem const& p, Operator op, rd::grid<Rank> const& tokens) {
    return output_of(p, [&](auto q, auto k, auto v, auto g, auto o) {
        op.forward(rd::exec::simd, tokens, {q, k, v, g}, o, {.scale = p.scale, .eps = p.eps});
    });
}

}  // namespace

TEST_CASE("many heads side by side along a path are each what it is alone") {
    random r("heads along a path");
    rd::grid const tokens{17, 23};
    index const T = tokens.size(), H = 13, D = 64, group = 2;  // heads ask for rows in parts of 5
    auto const q = uniform(r, T * group * H * D, -1, 1), k = uniform(r, T * H * D, -0.2, 0.2);
    auto const v = uniform(r, T * H * D, -1, 1), g = uniform(r, T * H * D, -0.2, 0);
    values want(q.size()), got(q.size());
    auto const over = [&](auto& x, index heads) { return rd::bthd(x, 1, T, heads, D); };
    constexpr auto paths = rd::multiscan(gla, rd::path::column, rd::path::hilbert);
    paths.forward(rd::exec::simd, tokens, {over(q, 2 * H), over(k, H), over(v, H), over(g, H)},
                  over(got, 2 * H));
    for (index h = 0; h < H; ++h) {
        auto const one = [&](auto& x) { return over(x, H).slice(1, h, h + 1); };
        auto const readers = [&](auto& x) {
            return over(x, 2 * H).slice(1, group * h, group * (h + 1));
        };
        paths.forward(rd::exec::simd, tokens, {readers(q), one(k), one(v), one(g)}, readers(want));
    }
    CHECK(got == want);
}

TEST_CASE("multiscan sums the operator along every path, before any division") {
    index const rows = 7, columns = 11;
    for (grid_subject const& s : grid_subjects()) {
        random r(s.name);
        auto p = random_problem(r, s.op, {2, 4, 2, rows * columns, 9, 6});
        p.scale = 0.5;
        round_to_float(p);
        auto const want = oracle::multiscan(p, s.paths, rows, columns);
        for (element type : {element::float32, element::float64}) {
            for (place where : {place::serial, place::simd, place::openmp}) {
                auto a = random_arrangement(r, type);
                a.place = where;
                auto const got = s.forward(p, a, rows, columns);
                INFO(s.name << "\n  " << describe(p) << "\n  " << describe(a));
                CHECK(error(got.o, want) <= tolerance(type));
                CHECK(got.gaps_intact);
            }
        }
    }
}

TEST_CASE("multiscan does not depend on the number of threads, bit for bit") {
    index const rows = 9, columns = 16;
    for (grid_subject const& s : grid_subjects()) {
        random r("threads " + s.name);
        auto const p = random_problem(r, s.op, {1, 3, 3, rows * columns, 8, 8});
        arrangement a{element::float32, place::openmp, 1};
        auto const want = s.forward(p, a, rows, columns).o;
        for (int threads : {2, 3, 16}) {
            a.threads = threads;
            INFO(s.name << " " << describe(a));
            CHECK(s.forward(p, a, rows, columns).o == want);
        }
    }
}

TEST_CASE("multiscan along the raster is the operator itself, on a grid of any rank") {
    auto const p = random_sequence("raster", 24);
    auto const want = scanned(p, gla);
    constexpr auto raster = rd::multiscan(gla, rd::path::raster);
    CHECK(error(scanned(p, raster, rd::grid{4, 6}), want) <= same_in_double);
    CHECK(error(scanned(p, raster, rd::grid{24}), want) <= same_in_double);
    CHECK(error(scanned(p, raster, rd::grid{2, 3, 4}), want) <= same_in_double);
    // one row or one column: the column path is the raster
    constexpr auto column = rd::multiscan(gla, rd::path::column);
    CHECK(error(scanned(p, column, rd::grid{1, 24}), want) <= same_in_double);
    CHECK(error(scanned(p, column, rd::grid{24, 1}), want) <= same_in_double);
}

TEST_CASE("multiscan over three axes: the column path has the first axis fastest") {
    auto const p = random_sequence("three axes", 24);
    std::vector<index> order;
    for (index c = 0; c < 4; ++c) {
        for (index b = 0; b < 3; ++b) {
            for (index a = 0; a < 2; ++a) order.push_back((a * 3 + b) * 4 + c);
        }
    }
    auto const along = scanned(oracle::permuted(p, order), gla);
    CHECK(error(scanned(p, rd::multiscan(gla, rd::path::column), rd::grid{2, 3, 4}),
                oracle::gathered(along, oracle::inverse(order), p.n.E)) <= same_in_double);
}

TEST_CASE("multiscan averages when asked to") {
    rd::grid const image{5, 6};
    auto const p = random_sequence("mean", image.size());
    auto want = scanned(p, rd::multiscan(gla, rd::path::cross), image);
    for (double& x : want) x /= 4;
    CHECK(error(scanned(p, rd::multiscan(gla, rd::path::cross, rd::merge::mean), image), want) <=
          same_in_double);

    // the mean of numerators and of denominators: eps counts four times in their sums
    auto q = random_sequence("normalized mean", image.size(), true);
    q.eps = 1;
    auto const mean = scanned(q, rd::multiscan(gla_sum, rd::path::cross, rd::merge::mean), image);
    q.eps = 4;
    auto const sum = scanned(q, rd::multiscan(gla_sum, rd::path::cross), image);
    CHECK(error(mean, sum) <= same_in_double);
}

TEST_CASE("multiscan over an empty grid writes nothing") {
    auto const p = random_sequence("empty grid", 0);
    CHECK(scanned(p, rd::multiscan(gla, rd::path::cross), rd::grid{0, 6}).empty());
}

}  // namespace support
