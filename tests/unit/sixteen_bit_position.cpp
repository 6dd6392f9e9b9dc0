#include "support/catch.hpp"

#include <rondo/position.hpp>
#include <rondo/rondo.hpp>
#include <rondo/scan.hpp>

#include <Eigen/Core>

#include <vector>

// 16-bit tensors give what float gives, rounded once: also where several sweeps are summed.

namespace rd = rondo;

TEST_CASE("positions and scans of bfloat16 are those of float, rounded once") {
    rd::index const B = 1, T = 12, C = 6, M = 3;
    std::vector<Eigen::bfloat16> x(B * T * C), y(x.size());
    std::vector<float> wide(x.size()), want(x.size()), b(2 * C * M, 0.5F), l(2 * C * M, -0.3F);
    for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] = Eigen::bfloat16(float(i % 7) - 2.5F);
        wide[i] = float(x[i]);
    }
    auto const check = [&](auto const& run) {
        run(x.data(), y.data());
        run(wide.data(), want.data());
        for (std::size_t i = 0; i < x.size(); ++i)
            CHECK(float(y[i]) == float(Eigen::bfloat16(want[i])));
    };
    rd::view<float const, 3> const bs(b.data(), {2, C, M}), ls(l.data(), {2, C, M});
    check([&]<class T_>(T_* from, T_* to) {
        rd::position::tpe(rd::grid{3, 4}, rd::bidirectional)
            .forward(rd::exec::simd, {rd::view<T_, 3>(from, {B, T, C}), bs, ls},
                     rd::view<T_, 3>(to, {B, T, C}));
    });
    check([&]<class T_>(T_* from, T_* to) {
        rd::position::rope().forward(rd::exec::simd, {rd::bhtd(from, B, 1, T, C)},
                                     rd::bhtd(to, B, 1, T, C));
    });
    check([&]<class T_>(T_* from, T_* to) {
        rd::log_cumsum_exp().forward(rd::exec::simd, {rd::view<T_, 3>(from, {B, T, C})},
                                     rd::view<T_, 3>(to, {B, T, C}));
    });
}
