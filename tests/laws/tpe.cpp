#include "oracle/position.hpp"
#include "support/compiled.hpp"
#include "support/law.hpp"
#include "support/slope.hpp"

#include <rondo/position.hpp>

namespace support {
namespace {

namespace rd = rondo;
using oracle::direction;

/// A tensor [B, T, C] with coefficients [axis, C, M].
struct case_of {
    index B, T, C, M;
    std::vector<index> grid;
    values x, b, log_lambda;

    case_of(random& r, index batch, std::vector<index> extents, index channels, index exponentials)
        : B(batch), T(1), C(channels), M(exponentials), grid(std::move(extents)) {
        for (index n : grid) T *= n;
        index const axes = static_cast<index>(grid.size());
        x = uniform(r, B * T * C, -1, 1);
        b = uniform(r, axes * C * M, -1, 1);
        log_lambda = uniform(r, axes * C * M, -2, -0.01);
        for (values* v : {&x, &b, &log_lambda}) {
            for (double& a : *v) a = static_cast<float>(a);
        }
    }

    values want(direction way) const {
        values y(x.size());
        for (index row = 0; row < B; ++row) {
            for (index c = 0; c < C; ++c) {
                values line;
                for (index t = 0; t < T; ++t) line.push_back(x[(row * T + t) * C + c]);
                std::vector<values> bs, ls;
                for (index axis = 0; axis < static_cast<index>(grid.size()); ++axis) {
                    auto const from = (axis * C + c) * M;
                    bs.emplace_back(b.begin() + from, b.begin() + from + M);
                    ls.emplace_back(log_lambda.begin() + from, log_lambda.begin() + from + M);
                }
                line = oracle::toeplitz(line, grid, bs, ls, way);
                for (index t = 0; t < T; ++t) y[(row * T + t) * C + c] = line[t];
            }
        }
        return y;
    }
};

template <class T, class Way>
void check_line(random& r, Way way, direction meaning) {
    case_of const c(r, r.integer(0, 2), {r.integer(0, 70)}, r.one_of<index>({1, 5, 16, 67, 130}),
                    r.one_of<index>({0, 1, 3, 4, 8, 13, 16}));
    auto const a = random_arrangement(r);
    tensor<T, 3> const x({c.B, c.T, c.C}, a.memory, r, c.x);
    tensor<T, 2> const b({c.C, c.M}, a.memory, r, c.b), l({c.C, c.M}, a.memory, r, c.log_lambda);
    tensor<T, 3> y({c.B, c.T, c.C}, a.memory, r);
    in_place(a, [&](auto where) {
        rd::position::tpe(way).forward(where, {x.read(), b.read(), l.read()}, y.write());
    });
    INFO(describe(a) << " T=" << c.T << " C=" << c.C << " m=" << c.M
                     << "\n  RONDO_SEED=" << base_seed());
    CHECK(error(y.values(), c.want(meaning)) <= (sizeof(T) == 8 ? 1e-12 : 2e-5));
    CHECK(y.gaps_intact());
}

template <class T, class Grid, class Way>
void check_grid(random& r, Grid const& grid, std::vector<index> const& extents, Way way,
                direction meaning) {
    case_of const c(r, 2, extents, 9, 5);
    auto const a = random_arrangement(r);
    auto const axes = static_cast<index>(extents.size());
    tensor<T, 3> const x({c.B, c.T, c.C}, a.memory, r, c.x), b({axes, c.C, c.M}, a.memory, r, c.b);
    tensor<T, 3> const l({axes, c.C, c.M}, a.memory, r, c.log_lambda);
    tensor<T, 3> y({c.B, c.T, c.C}, a.memory, r);
    in_place(a, [&](auto where) {
        rd::position::tpe(grid, way).forward(where, {x.read(), b.read(), l.read()}, y.write());
    });
    INFO(describe(a) << " rank " << axes << "\n  RONDO_SEED=" << base_seed());
    CHECK(error(y.values(), c.want(meaning)) <= (sizeof(T) == 8 ? 1e-12 : 2e-5));
    CHECK(y.gaps_intact());
}

template <class T>
void check_all(char const* name) {
    random r(name);
    for (int i = 0; i < 12; ++i) {
        check_line<T>(r, rd::causal, direction::causal);
        check_line<T>(r, rd::anticausal, direction::anticausal);
        check_line<T>(r, rd::bidirectional, direction::bidirectional);
    }
    check_grid<T>(r, rd::grid{23}, {23}, rd::bidirectional, direction::bidirectional);
    check_grid<T>(r, rd::grid{5, 9}, {5, 9}, rd::bidirectional, direction::bidirectional);
    check_grid<T>(r, rd::grid{5, 9}, {5, 9}, rd::causal, direction::causal);
    check_grid<T>(r, rd::grid{3, 4, 5}, {3, 4, 5}, rd::bidirectional, direction::bidirectional);
    check_grid<T>(r, rd::grid{2, 3, 2, 4}, {2, 3, 2, 4}, rd::anticausal, direction::anticausal);
}

constexpr auto line = rd::position::tpe();
constexpr auto both = rd::position::tpe(rd::bidirectional);

}  // namespace

TEST_CASE("tpe is the Toeplitz product, and over a grid its sum over the axes") {
    check_all<float>("tpe in float");
    check_all<double>("tpe in double");
}

TEST_CASE("two-sided tpe is the same from either end") {
    random r("tpe symmetry");
    case_of const c(r, 2, {41}, 7, 3);
    rd::view<double const, 3> const x(c.x.data(), {2, 41, 7});
    rd::view<double const, 2> const b(c.b.data(), {7, 3}), l(c.log_lambda.data(), {7, 3});
    values y(c.x.size()), z(c.x.size());
    rd::view<double, 3> const ys(y.data(), {2, 41, 7}), zs(z.data(), {2, 41, 7});
    both.forward(rd::exec::simd, {x, b, l}, ys);
    both.forward(rd::exec::simd, {x.reversed(1), b, l}, zs.reversed(1));
    CHECK(error(y, z) <= same_in_double);
}

TEST_CASE("tpe in pieces and in steps is tpe of the whole") {
    random r("tpe split");
    index const B = 2, T = 45, C = 20, M = 6;
    case_of const c(r, B, {T}, C, M);
    rd::view<double const, 3> const x(c.x.data(), {B, T, C});
    rd::view<double const, 2> const b(c.b.data(), {C, M}), l(c.log_lambda.data(), {C, M});
    values want(c.x.size()), pieces(c.x.size()), steps(c.x.size()), end(B * C * M), h(B * C * M),
        g(B * C * M);
    rd::view<double, 3> const ws(want.data(), {B, T, C}), ps(pieces.data(), {B, T, C});
    rd::view<double, 3> const es(end.data(), {B, C, M}), hs(h.data(), {B, C, M});
    rd::view<double, 3> const ss(steps.data(), {B, T, C}), gs(g.data(), {B, C, M});
    line.forward(rd::exec::simd, {x, b, l}, ws, {.out = es});
    line.forward(rd::exec::simd, {x.slice(1, 0, 17), b, l}, ps.slice(1, 0, 17), {.out = hs});
    line.forward(rd::exec::serial, {x.slice(1, 17, T), b, l}, ps.slice(1, 17, T),
                 {.in = hs, .out = hs});
    for (index t = 0; t < T; ++t) {
        rd::view<double const, 2> const x_t(c.x.data() + t * C, {B, C}, {T * C, 1});
        rd::view<double, 2> const y_t(steps.data() + t * C, {B, C}, {T * C, 1});
        line.step(rd::exec::simd, {x_t, b, l}, gs, y_t);
    }
    CHECK(error(pieces, want) <= same_in_double);
    CHECK(error(h, end) <= same_in_double);
    CHECK(error(steps, want) <= same_in_double);
    CHECK(error(g, end) <= same_in_double);
}

TEST_CASE("tpe leaves skipped tokens alone, and they are not seen") {
    random r("tpe skip");
    case_of const c(r, 1, {4, 5}, 6, 3);
    values x = uniform(r, 22 * 6, -1, 1), y(x.size());
    std::copy(c.x.begin(), c.x.end(), x.begin() + 2 * 6);
    rd::view<double const, 3> const xs(x.data(), {1, 22, 6});
    rd::view<double const, 3> const b(c.b.data(), {2, 6, 3}), l(c.log_lambda.data(), {2, 6, 3});
    rd::position::tpe(rd::grid{4, 5}, rd::bidirectional)
        .skip(2)
        .forward(rd::exec::simd, {xs, b, l}, rd::view<double, 3>(y.data(), {1, 22, 6}));
    auto want = c.want(direction::bidirectional);
    want.insert(want.begin(), x.begin(), x.begin() + 2 * 6);
    CHECK(error(y, want) <= same_in_double);
}

TEST_CASE("gradients of tpe over a grid are finite differences") {
    random r("tpe gradients");
    case_of c(r, 2, {3, 4}, 5, 3);
    auto const d_y = uniform(r, static_cast<index>(c.x.size()), -1, 1);
    values d_x(c.x.size()), d_b(c.b.size()), d_l(c.b.size());
    rd::view<double const, 3> const x(c.x.data(), {2, 12, 5}), d(d_y.data(), {2, 12, 5});
    rd::view<double const, 3> const b(c.b.data(), {2, 5, 3}), l(c.log_lambda.data(), {2, 5, 3});
    rd::position::tpe(rd::grid{3, 4}, rd::bidirectional)
        .backward(rd::exec::openmp.threads(2), {x, b, l}, d,
                  {rd::view<double, 3>(d_x.data(), {2, 12, 5}),
                   rd::view<double, 3>(d_b.data(), {2, 5, 3}),
                   rd::view<double, 3>(d_l.data(), {2, 5, 3})});
    auto const loss = [&](values case_of::*part) {
        return [&, part](values const& v) {
            case_of other = c;
            other.*part = v;
            return dot(other.want(direction::bidirectional), d_y);
        };
    };
    CHECK(error(d_x, slope(c.x, loss(&case_of::x))) <= slope_tolerance);
    CHECK(error(d_b, slope(c.b, loss(&case_of::b))) <= slope_tolerance);
    CHECK(error(d_l, slope(c.log_lambda, loss(&case_of::log_lambda))) <= slope_tolerance);
}

TEST_CASE("gradients of tpe with states are finite differences") {
    random r("tpe state gradients");
    index const T = 11, C = 4, M = 3;
    case_of const c(r, 1, {T}, C, M);
    auto const d_y = uniform(r, T * C, -1, 1), d_out = uniform(r, C * M, -1, 1);
    auto const in = uniform(r, C * M, -1, 1);
    auto const loss = [&](values const& x, values const& b, values const& l, values const& h) {
        values y(x.size()), out(in.size());
        line.forward(rd::exec::serial,
                     {rd::view<double const, 2>(x.data(), {T, C}),
                      rd::view<double const, 2>(b.data(), {C, M}),
                      rd::view<double const, 2>(l.data(), {C, M})},
                     rd::view<double, 2>(y.data(), {T, C}),
                     {.in = rd::view<double const, 2>(h.data(), {C, M}),
                      .out = rd::view<double, 2>(out.data(), {C, M})});
        return dot(y, d_y) + dot(out, d_out);
    };
    values d_x(c.x.size()), d_b(c.b.size()), d_l(c.b.size()), d_in(in.size());
    line.backward(rd::exec::simd,
                  {rd::view<double const, 2>(c.x.data(), {T, C}),
                   rd::view<double const, 2>(c.b.data(), {C, M}),
                   rd::view<double const, 2>(c.log_lambda.data(), {C, M})},
                  rd::view<double const, 2>(d_y.data(), {T, C}),
                  {rd::view<double, 2>(d_x.data(), {T, C}), rd::view<double, 2>(d_b.data(), {C, M}),
                   rd::view<double, 2>(d_l.data(), {C, M})},
                  {.in = rd::view<double const, 2>(in.data(), {C, M}),
                   .d_out = rd::view<double const, 2>(d_out.data(), {C, M}),
                   .d_in = rd::view<double, 2>(d_in.data(), {C, M})});
    auto const near = [](values const& got, values const& want) {
        CHECK(error(got, want) <= slope_tolerance);
    };
    near(d_x, slope(c.x, [&](auto& v) { return loss(v, c.b, c.log_lambda, in); }));
    near(d_b, slope(c.b, [&](auto& v) { return loss(c.x, v, c.log_lambda, in); }));
    near(d_l, slope(c.log_lambda, [&](auto& v) { return loss(c.x, c.b, v, in); }));
    near(d_in, slope(in, [&](auto& v) { return loss(c.x, c.b, c.log_lambda, v); }));
}

}  // namespace support
