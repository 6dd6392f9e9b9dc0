#include <rondo/rondo.hpp>

void UNIT(float const* x, float* y) {
    namespace rd = rondo;
    constexpr auto op =
        rd::attention(rd::bidirectional, rd::normalize::sum, rd::feature::elu_plus_one);
    auto const in = rd::bthd(x, 1, 32, 1, 16);
    op.forward(rd::exec::simd, {in, in, in}, rd::bthd(y, 1, 32, 1, 16));
}
