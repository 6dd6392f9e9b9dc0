#include "oracle/scan.hpp"
#include "support/compiled.hpp"
#include "support/law.hpp"
#include "support/slope.hpp"

#include <rondo/scan.hpp>

namespace support {
namespace {

namespace rd = rondo;
using extents3 = std::array<index, 3>;

constexpr auto forwards = rd::scan(rd::causal);
constexpr auto backwards = rd::scan(rd::anticausal);
constexpr auto sums = rd::log_cumsum_exp(rd::causal);
constexpr auto sums_back = rd::log_cumsum_exp(rd::anticausal);

oracle::walk walk_of(extents3 const& n, int axis, bool reversed) {
    oracle::walk w{1, n[axis], 1, reversed};
    for (int a = 0; a < axis; ++a) w.outer *= n[a];
    for (int a = axis + 1; a < 3; ++a) w.inner *= n[a];
    return w;
}

std::array<index, 2> without(extents3 const& n, int axis) {
    return {n[axis == 0 ? 1 : 0], n[axis == 2 ? 1 : 2]};
}

void round(values& x) {
    for (double& a : x) a = static_cast<float>(a);
}

// What a call gives, whatever the operator takes.
template <class T, class Call>
void against_oracle(random& r, bool reversed, bool logits, Call call) {
    extents3 const n{r.integer(0, 3), r.integer(0, 40), r.one_of<index>({1, 3, 16, 17, 70, 1100})};
    int const axis = static_cast<int>(r.integer(0, 2));
    auto const w = walk_of(n, axis, reversed);
    auto x = uniform(r, w.size(), -1, 1), log_a = uniform(r, w.size(), -2, 0);
    auto in = uniform(r, w.outer * w.inner, -1, 1);
    for (values* v : {&x, &log_a, &in}) round(*v);
    if (!x.empty()) log_a[log_a.size() / 2] = -oracle::infinity;
    if (logits && !x.empty()) x[x.size() / 3] = 1e4, x[x.size() / 2] = -oracle::infinity;
    auto const a = random_arrangement(r);
    tensor<T, 3> const tx(n, a.memory, r, x), ta(n, a.memory, r, log_a);
    tensor<T, 2> const tin(without(n, axis), a.memory, r, in);
    tensor<T, 3> ty(n, a.memory, r);
    tensor<T, 2> tout(without(n, axis), a.memory, r);
    rd::scan_options<T, 3> const with{.axis = axis, .in = tin.read(), .out = tout.write()};
    in_place(a, [&](auto where) { call(where, tx.read(), ta.read(), ty.write(), with); });
    auto const y = logits ? oracle::log_cumsum_exp(w, x, in) : oracle::scan(w, x, log_a, in);
    double const bound = sizeof(T) == 8 ? 1e-12 : 1e-5;
    INFO(describe(a) << " axis " << axis << " of " << n[0] << " x " << n[1] << " x " << n[2]
                     << "\n  RONDO_SEED=" << base_seed());
    CHECK(error(ty.values(), y) <= bound);
    CHECK(error(tout.values(), oracle::last(w, y, in)) <= bound);
    CHECK(ty.gaps_intact());
}

template <class T>
void definition(char const* name) {
    random r(name);
    for (int i = 0; i < 25; ++i) {
        against_oracle<T>(r, false, false, [](auto where, auto x, auto a, auto y, auto with) {
            forwards.forward(where, {x, a}, y, with);
        });
        against_oracle<T>(r, true, false, [](auto where, auto x, auto a, auto y, auto with) {
            backwards.forward(where, {x, a}, y, with);
        });
        against_oracle<T>(r, false, true, [](auto where, auto x, auto, auto y, auto with) {
            sums.forward(where, {x}, y, with);
        });
        against_oracle<T>(r, true, true, [](auto where, auto x, auto, auto y, auto with) {
            sums_back.forward(where, {x}, y, with);
        });
    }
}

}  // namespace

TEST_CASE("scan and log_cumsum_exp are their sums, along any axis of any layout") {
    definition<float>("scan in float");
    definition<double>("scan in double");
}

TEST_CASE("steps of a scan are its forward") {
    random r("scan steps");
    index const B = 2, T = 9, C = 19;
    auto const x = uniform(r, B * T * C, -1, 1), a = uniform(r, B * T * C, -1, 0);
    values y(x.size()), want(x.size()), z(x.size()), want_z(x.size());
    values h(B * C), l(B * C, -oracle::infinity);
    rd::view<double const, 3> const xs(x.data(), {B, T, C}), as(a.data(), {B, T, C});
    rd::view<double, 3> const ys(y.data(), {B, T, C}), zs(z.data(), {B, T, C});
    auto const at = [](auto const& v, index t) {
        using element = typename std::remove_cvref_t<decltype(v)>::element_type;
        return rd::view<element, 2>(v.data() + t * v.stride(1), {v.extent(0), v.extent(2)},
                                    {v.stride(0), v.stride(2)});
    };
    rd::view<double, 2> const state(h.data(), {B, C}), logs(l.data(), {B, C});
    for (index t = 0; t < T; ++t) {
        forwards.step(rd::exec::simd, {at(xs, t), at(as, t)}, state, at(ys, t));
        sums.step(rd::exec::simd, {at(xs, t)}, logs, at(zs, t));
    }
    forwards.forward(rd::exec::simd, {xs, as}, rd::view<double, 3>(want.data(), {B, T, C}));
    sums.forward(rd::exec::simd, {xs}, rd::view<double, 3>(want_z.data(), {B, T, C}));
    CHECK(error(y, want) <= same_in_double);
    CHECK(error(z, want_z) <= same_in_double);
}

TEST_CASE("an empty window of log_cumsum_exp is -inf, and passes no gradient") {
    double const none = -oracle::infinity;
    values const x{none, none, 2, none, 1e4, -1e4}, d_y{1, 1, 1, 1, 1, 1};
    values y(6), d_x(6);
    rd::view<double const, 1> const xs(x.data(), {6}), d_ys(d_y.data(), {6});
    sums.forward(rd::exec::simd, {xs}, rd::view<double, 1>(y.data(), {6}));
    CHECK(error(y, {none, none, 2, 2, 1e4, 1e4}) <= 1e-15);
    sums.backward(rd::exec::simd, {xs}, d_ys, {rd::view<double, 1>(d_x.data(), {6})});
    CHECK(error(d_x, {0, 0, 2, 0, 2, 0}) <= 1e-15);
}

namespace {

/// All gradients of one direction against the slopes of a random loss, in one place.
template <class Operator, bool Gated>
void check_gradients(Operator op, bool reversed, char const* name) {
    random r(name);
    index const B = 2, T = 7, C = 5;
    oracle::walk const w{B, T, C, reversed};
    auto const x = uniform(r, B * T * C, -1, 1), a = uniform(r, B * T * C, -1, 0);
    auto const in = uniform(r, B * C, -1, 1), d_y = uniform(r, B * T * C, -1, 1);
    auto const d_out = uniform(r, B * C, -1, 1);
    auto const loss = [&](values const& x_, values const& a_, values const& in_) {
        auto const y = Gated ? oracle::scan(w, x_, a_, in_) : oracle::log_cumsum_exp(w, x_, in_);
        return dot(y, d_y) + dot(oracle::last(w, y, in_), d_out);
    };
    values d_x(x.size()), d_a(a.size()), d_in(in.size());
    auto const all = [](auto& v) {
        return rd::view<std::remove_pointer_t<decltype(v.data())>, 3>(v.data(), {2, 7, 5});
    };
    auto const ends = [](auto& v) {
        return rd::view<std::remove_pointer_t<decltype(v.data())>, 2>(v.data(), {2, 5});
    };
    rd::scan_backward_options<double, 3> const with{
        .axis = 1, .in = ends(in), .d_out = ends(d_out), .d_in = ends(d_in)};
    if constexpr (Gated) {
        op.backward(rd::exec::simd, {all(x), all(a)}, all(d_y), {all(d_x), all(d_a)}, with);
        CHECK(error(d_a, slope(a, [&](auto& v) { return loss(x, v, in); })) <= slope_tolerance);
    } else {
        op.backward(rd::exec::simd, {all(x)}, all(d_y), {all(d_x)}, with);
    }
    CHECK(error(d_x, slope(x, [&](auto& v) { return loss(v, a, in); })) <= slope_tolerance);
    CHECK(error(d_in, slope(in, [&](auto& v) { return loss(x, a, v); })) <= slope_tolerance);
}

}  // namespace

TEST_CASE("gradients of scans are finite differences") {
    check_gradients<decltype(forwards), true>(forwards, false, "scan gradients");
    check_gradients<decltype(backwards), true>(backwards, true, "anticausal scan gradients");
    check_gradients<decltype(sums), false>(sums, false, "log_cumsum_exp gradients");
    check_gradients<decltype(sums_back), false>(sums_back, true, "anticausal sum gradients");
}

}  // namespace support
