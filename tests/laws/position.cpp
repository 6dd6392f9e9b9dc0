#include "oracle/position.hpp"
#include "support/compiled.hpp"
#include "support/law.hpp"
#include "support/slope.hpp"

#include <rondo/position.hpp>

namespace support {
namespace {

namespace rd = rondo;
using rd::position::half_split;
using rd::position::lrpe;
using rd::position::rope;

using view4 = rd::view<double const, 4>;
using view2 = rd::view<double const, 2>;
using order2 = rd::view<rd::index const, 2>;

constexpr double angle_bound = 2e-6;

/// Tokens of one head by one of the definitions, at the places that `at(t)` gives.
template <class Turn>
values turned(values const& x, index T, index D, Turn turn) {
    values y;
    for (index t = 0; t < static_cast<index>(x.size()) / D; ++t) {
        values const row(x.begin() + t * D, x.begin() + (t + 1) * D);
        auto const out = turn(row, t % T);
        y.insert(y.end(), out.begin(), out.end());
    }
    return y;
}

/// rope on a line that begins at `offset`, and on grids, against the rotation in long double.
template <class T>
void check_rope(char const* name) {
    random r(name);
    for (index offset : {index(0), index(10), index(999990), index(1048570)}) {
        for (bool split : {false, true}) {
            index const D = 2 * r.integer(1, 40), n = r.integer(1, 70);
            values x = uniform(r, n * D, -1, 1);
            for (double& a : x) a = static_cast<float>(a);
            auto const a = random_arrangement(r);
            tensor<T, 4> const in({1, 1, n, D}, a.memory, r, x);
            tensor<T, 4> out({1, 1, n, D}, a.memory, r);
            in_place(a, [&](auto where) {
                auto const op = split ? rope(half_split) : rope();
                op.forward(where, {in.read()}, out.write(), {.offset = offset});
            });
            auto const theta = oracle::fixed_theta(D / 2);
            auto const want = turned(x, n, D, [&](values const& row, index t) {
                return oracle::rotated(row, oracle::angles({offset + t}, theta, D / 2), split);
            });
            INFO(describe(a) << " D=" << D << " offset=" << offset << " split=" << split
                             << "\n  RONDO_SEED=" << base_seed());
            CHECK(error(out.values(), want) <= (sizeof(T) == 8 ? 1e-12 : angle_bound));
            CHECK(out.gaps_intact());
        }
    }
}

/// rotation and cosine with theta of each head, on a grid.
template <class T, class Grid>
void check_lrpe(random& r, Grid const& grid, std::vector<index> const& extents, index skip) {
    auto const axes = static_cast<index>(extents.size());
    index const B = 2, H = 3, n = grid.size() + skip, D = r.integer(1, 50);
    values x = uniform(r, B * H * n * D, -1, 1);
    for (double& a : x) a = static_cast<float>(a);
    for (bool doubled : {false, true}) {
        index const count = doubled ? D : D / 2, block = (count + axes - 1) / axes;
        values theta = uniform(r, H * block, 0, 3);
        for (double& a : theta) a = static_cast<float>(a);
        auto const a = random_arrangement(r);
        tensor<T, 4> const in({B, H, n, D}, a.memory, r, x);
        tensor<T, 2> const angle({H, block}, a.memory, r, theta);
        tensor<T, 4> out({B, H, n, doubled ? 2 * D : D}, a.memory, r);
        in_place(a, [&](auto where) {
            if (doubled) {
                lrpe(rd::lrpe::cosine, grid)
                    .skip(skip)
                    .forward(where, {in.read(), angle.read()}, out.write());
            } else {
                lrpe(rd::lrpe::rotation, grid)
                    .skip(skip)
                    .forward(where, {in.read(), angle.read()}, out.write());
            }
        });
        values want;
        for (index head = 0; head < B * H; ++head) {
            values const own(theta.begin() + head % H * block,
                             theta.begin() + (head % H + 1) * block);
            values const part(x.begin() + head * n * D, x.begin() + (head + 1) * n * D);
            auto const rows = turned(part, n, D, [&](values const& row, index t) {
                std::vector<index> const at = t < skip ? std::vector<index>(extents.size())
                                                       : oracle::coordinates(extents, t - skip);
                auto const angles = oracle::angles(at, own, count);
                return doubled ? oracle::doubled(row, angles) : oracle::rotated(row, angles, false);
            });
            want.insert(want.end(), rows.begin(), rows.end());
        }
        INFO(describe(a) << " D=" << D << " rank=" << axes << " doubled=" << doubled
                         << "\n  RONDO_SEED=" << base_seed());
        CHECK(error(out.values(), want) <= (sizeof(T) == 8 ? 1e-12 : angle_bound));
        CHECK(out.gaps_intact());
    }
}

double norm(double const* x, index n) {
    double sum = 0;
    for (index i = 0; i < n; ++i) sum += x[i] * x[i];
    return std::sqrt(sum);
}

/// Norms are kept, and products of two equal tokens depend on the difference of their places: every
/// token of the grid holds the same q and the same k. `call(x, y)` is the encoding.
template <class Call>
void check_unitary_and_relative(std::string const& name, std::vector<index> const& extents, index D,
                                index width, Call call) {
    random r(name);
    index n = 1;
    for (index extent : extents) n *= extent;
    values const one = uniform(r, 2 * D, -1, 1);
    values x(2 * n * D), y(2 * n * width);
    for (index i = 0; i < 2 * n * D; ++i) x[i] = one[i / (n * D) * D + i % D];
    call(view4(x.data(), {2, 1, n, D}), rd::view<double, 4>(y.data(), {2, 1, n, width}));
    INFO(name << " rank " << extents.size() << "\n  RONDO_SEED=" << base_seed());
    double worst_norm = 0, worst_product = 0;
    for (index t = 0; t < 2 * n; ++t) {
        worst_norm = std::max(worst_norm, std::abs(norm(y.data() + t * width, width) -
                                                   norm(one.data() + t / n * D, D)));
    }
    std::vector<std::pair<std::vector<index>, double>> seen;
    for (index i = 0; i < n; ++i) {
        for (index j = 0; j < n; ++j) {
            auto const a = oracle::coordinates(extents, i), b = oracle::coordinates(extents, j);
            std::vector<index> apart;
            for (std::size_t k = 0; k < a.size(); ++k) apart.push_back(a[k] - b[k]);
            double product = 0;
            for (index c = 0; c < width; ++c) product += y[i * width + c] * y[(n + j) * width + c];
            auto const same = std::find_if(seen.begin(), seen.end(),
                                           [&](auto const& s) { return s.first == apart; });
            if (same == seen.end()) {
                seen.emplace_back(apart, product);
            } else {
                worst_product = std::max(worst_product, std::abs(product - same->second));
            }
        }
    }
    CHECK(worst_norm <= 1e-12);
    CHECK(worst_product <= 1e-12);
}

/// Every P with one Lambda, over one grid.
template <class Lambda, class Grid>
void check_family(std::string const& name, Lambda lambda, Grid const& grid,
                  std::vector<index> const& extents) {
    constexpr bool powers = std::is_same_v<Lambda, rd::lrpe::permutation_t>;
    constexpr bool doubles = std::is_same_v<Lambda, rd::lrpe::cosine_t>;
    random r("family " + name);
    auto const axes = static_cast<index>(extents.size());
    index const D = 12, width = doubles ? 2 * D : D, count = doubles || powers ? D : D / 2;
    index const block = (count + axes - 1) / axes;
    auto const theta_data = uniform(r, block, 0, 3), v_data = uniform(r, D, -1, 1);
    auto const order = r.permutation(block), p_order = r.permutation(D);
    std::vector<rd::index> const order_data(order.begin(), order.end());
    std::vector<rd::index> const p_data(p_order.begin(), p_order.end());
    auto const angles = [&] {
        if constexpr (powers) {
            return order2(order_data.data(), {1, block});
        } else {
            return view2(theta_data.data(), {1, block});
        }
    }();
    auto const check = [&](char const* p_name, auto p, auto... data) {
        check_unitary_and_relative(name + ", " + p_name, extents, D, width, [&](auto x, auto y) {
            lrpe(lambda, p, grid).forward(rd::exec::simd, {x, angles, data...}, y);
        });
    };
    check("identity", rd::lrpe::identity);
    check("householder", rd::lrpe::householder, view2(v_data.data(), {1, D}));
    check("permutation", rd::lrpe::permutation, order2(p_data.data(), {1, D}));
    check("cosine transform", rd::lrpe::cosine_transform);
    check("fourier", rd::lrpe::fourier);
}

template <class Grid>
void check_families(Grid const& grid, std::vector<index> const& extents) {
    check_family("rotation", rd::lrpe::rotation, grid, extents);
    check_family("cosine", rd::lrpe::cosine, grid, extents);
    check_family("permutation", rd::lrpe::permutation, grid, extents);
}

}  // namespace

TEST_CASE("rope turns pairs by their angles, at place 10 and at a million") {
    check_rope<float>("rope in float");
    check_rope<double>("rope in double");
}

TEST_CASE("lrpe turns every block of channels by its own coordinate") {
    random r("lrpe");
    check_lrpe<float>(r, rd::grid{37}, {37}, 0);
    check_lrpe<double>(r, rd::grid{6, 7}, {6, 7}, 2);
    check_lrpe<float>(r, rd::grid{3, 40}, {3, 40}, 1);
    check_lrpe<double>(r, rd::grid{3, 4, 5}, {3, 4, 5}, 0);
    check_lrpe<float>(r, rd::grid{2, 3, 4, 5}, {2, 3, 4, 5}, 3);
}

TEST_CASE("lrpe is unitary and relative, for every Lambda, P and grid") {
    check_families(rd::grid{9}, {9});
    check_families(rd::grid{4, 5}, {4, 5});
    check_families(rd::grid{2, 3, 3}, {2, 3, 3});
    check_families(rd::grid{2, 2, 2, 2}, {2, 2, 2, 2});
}

TEST_CASE("lrpe on a grid of one axis is lrpe on a line, and rope is lrpe with fixed angles") {
    random r("one axis");
    index const B = 2, H = 2, T = 50, D = 10;
    auto const x_data = uniform(r, B * H * T * D, -1, 1);
    values a(x_data.size()), b(x_data.size()), c(x_data.size());
    auto const x = rd::bthd(x_data, B, T, H, D);
    lrpe(rd::lrpe::rotation).forward(rd::exec::simd, {x, rd::lrpe::fixed}, rd::bthd(a, B, T, H, D));
    lrpe(rd::lrpe::rotation, rd::grid{T}).forward(rd::exec::simd, {x}, rd::bthd(b, B, T, H, D));
    rope().forward(rd::exec::serial, {x}, rd::bthd(c, B, T, H, D));
    CHECK(a == b);
    CHECK(error(c, a) <= same_in_double);
}

TEST_CASE("steps at an offset are forward, in any number of threads") {
    random r("position steps");
    index const B = 2, H = 3, T = 40, D = 14;
    auto const x_data = uniform(r, B * H * T * D, -1, 1);
    auto const theta = uniform(r, H * 4, 0, 2), v = uniform(r, H * D, -1, 1);
    rd::grid const image{5, 8};
    auto const op = lrpe(rd::lrpe::rotation, rd::lrpe::householder, image);
    view2 const angles(theta.data(), {H, 4}), vector(v.data(), {H, D});
    values want(x_data.size()), got(x_data.size()), again(x_data.size());
    auto const x = rd::bthd(x_data, B, T, H, D);
    auto const y = rd::bthd(got, B, T, H, D);
    op.forward(rd::exec::simd, {x, angles, vector}, rd::bthd(want, B, T, H, D));
    op.forward(rd::exec::openmp.threads(3), {x, angles, vector}, rd::bthd(again, B, T, H, D));
    for (index t = 0; t < T; ++t) {
        op.step(rd::exec::simd, {token(x, t), angles, vector}, token(y, t), {.offset = t});
    }
    CHECK(error(got, want) <= same_in_double);
    CHECK(again == want);
}

namespace {

/// d_x, d_theta and d_vector of one Lambda with Householder's P, against slopes of forward.
template <class Lambda>
void check_gradients(Lambda lambda, bool doubles, char const* name) {
    random r(name);
    index const B = 2, H = 2, n = 8, D = 6, width = doubles ? 2 * D : D, skip = 1;
    index const block = doubles ? 3 : 2;
    auto const op = lrpe(lambda, rd::lrpe::householder, rd::grid{2, 4}).skip(skip);
    index const T = n + skip;
    auto const x = uniform(r, B * H * T * D, -1, 1), theta = uniform(r, H * block, 0, 1);
    auto const v = uniform(r, H * D, -1, 1), d_y = uniform(r, B * H * T * width, -1, 1);
    auto const loss = [&](values const& x_, values const& theta_, values const& v_) {
        values y(d_y.size());
        op.forward(
            rd::exec::serial,
            {rd::bhtd(x_, B, H, T, D), view2(theta_.data(), {H, block}), view2(v_.data(), {H, D})},
            rd::bhtd(y, B, H, T, width));
        return dot(y, d_y);
    };
    values d_x(x.size()), d_theta(theta.size()), d_v(v.size());
    op.backward(rd::exec::openmp.threads(2),
                {rd::bhtd(x, B, H, T, D), view2(theta.data(), {H, block}), view2(v.data(), {H, D})},
                rd::bhtd(d_y, B, H, T, width),
                {rd::bhtd(d_x, B, H, T, D), rd::view<double, 2>(d_theta.data(), {H, block}),
                 rd::view<double, 2>(d_v.data(), {H, D})});
    CHECK(error(d_x, slope(x, [&](auto& a) { return loss(a, theta, v); })) <= slope_tolerance);
    CHECK(error(d_theta, slope(theta, [&](auto& a) { return loss(x, a, v); })) <= slope_tolerance);
    CHECK(error(d_v, slope(v, [&](auto& a) { return loss(x, theta, a); })) <= slope_tolerance);
}

/// d_x of any encoding is its transpose: <y(x), d_y> = <x, d_x>.
template <class Forward, class Backward>
void check_transpose(char const* name, index D, Forward forward, Backward backward) {
    random r(name);
    index const T = 12;
    auto const x = uniform(r, 2 * T * D, -1, 1), d_y = uniform(r, 2 * T * D, -1, 1);
    values y(x.size()), d_x(x.size());
    forward(rd::bthd(x, 1, T, 2, D), rd::bthd(y, 1, T, 2, D));
    backward(rd::bthd(x, 1, T, 2, D), rd::bthd(d_y, 1, T, 2, D), rd::bthd(d_x, 1, T, 2, D));
    INFO(name);
    CHECK(std::abs(dot(y, d_y) - dot(x, d_x)) <= 1e-12);
}

}  // namespace

TEST_CASE("many heads that turn differently are turned as each of them alone") {
    random r("many heads");
    index const B = 2, T = 70, D = 6;
    for (index H : {5, 33}) {  // some, and more than there are rows of turns in a tile
        auto const x = uniform(r, B * T * H * D, -1, 1), theta = uniform(r, H * D / 2, 0, 1);
        view2 const angles(theta.data(), {H, D / 2});
        values all(x.size()), alone(x.size());
        auto const op = lrpe(rd::lrpe::rotation);
        auto const in = rd::bthd(x, B, T, H, D);
        auto const out = rd::bthd(alone.data(), B, T, H, D);
        op.forward(rd::exec::simd, {in, angles}, rd::bthd(all, B, T, H, D));
        for (index h = 0; h < H; ++h) {
            op.forward(rd::exec::simd, {in.slice(1, h, h + 1), angles.slice(0, h, h + 1)},
                       out.slice(1, h, h + 1));
        }
        CHECK(error(all, alone) <= same_in_double);
    }
}

TEST_CASE("an output large enough to be streamed holds what smaller calls give") {
    random r("streamed");
    index const T = 40000, D = 64;  // 10 MB of float, 20 MB doubled
    auto const data = uniform(r, T * D, -1, 1);
    std::vector<float> const x(data.begin(), data.end());
    for (index shift : {0, 4, 12, 1}) {  // whole lines, quarters of them, and neither
        std::vector<float> whole(std::size_t(2 * T * D + 32)), parts(std::size_t(2 * T * D));
        auto const check = [&](auto const& op, index width) {
            // The first element that stands at a whole line, and `shift` elements on.
            auto const at = reinterpret_cast<std::uintptr_t>(whole.data()) / 4 % 16;
            auto* const to = whole.data() + (16 - at) % 16 + shift;
            std::fill(whole.begin(), whole.end(), -7.0F);
            auto const in = rd::bhtd(x, 1, 1, T, D);
            op.forward(rd::exec::simd, {in}, rd::bhtd(to, 1, 1, T, width));
            auto const out = rd::bhtd(parts.data(), 1, 1, T, width);
            for (index t = 0; t < T; t += 1000) {
                op.forward(rd::exec::simd, {in.slice(2, t, t + 1000)}, out.slice(2, t, t + 1000),
                           {.offset = t});
            }
            float worst = 0;
            for (index i = 0; i < T * width; ++i) {
                worst = std::max(worst, std::abs(to[i] - parts[std::size_t(i)]));
            }
            CHECK(worst <= 2e-6F);
            CHECK(to[T * width] == -7.0F);
            CHECK((to == whole.data() || to[-1] == -7.0F));
        };
        check(rope(), D);
        check(rope(half_split), D);
        check(lrpe(rd::lrpe::cosine), 2 * D);
    }
}

TEST_CASE("gradients of lrpe are finite differences") {
    check_gradients(rd::lrpe::rotation, false, "rotation gradients");
    check_gradients(rd::lrpe::cosine, true, "cosine gradients");
}

TEST_CASE("the gradient of x is the encoding transposed") {
    index const D = 8;
    random r("orders");
    auto const order = r.permutation(D), p = r.permutation(D);
    std::vector<rd::index> const order_data(order.begin(), order.end()), p_data(p.begin(), p.end());
    order2 const orders(order_data.data(), {2, D}, {0, 1}), ps(p_data.data(), {2, D}, {0, 1});
    auto const both = [&](char const* name, auto op, auto... data) {
        check_transpose(
            name, D,
            [&](auto x, auto y) {
                op.forward(rd::exec::simd, {x, data...}, y);
            },
            [&](auto x, auto d_y, auto d_x) {
                op.backward(rd::exec::simd, {x, data...}, d_y, {.x = d_x});
            });
    };
    both("rope", rope());
    both("rope, half split, grid", rope(rd::grid{3, 4}, half_split));
    both("permutation", lrpe(rd::lrpe::permutation, rd::lrpe::permutation), orders, ps);
    both("fourier", lrpe(rd::lrpe::permutation, rd::lrpe::fourier), orders);
    both("cosine transform", lrpe(rd::lrpe::rotation, rd::lrpe::cosine_transform), rd::lrpe::fixed);
}

}  // namespace support
