// refused: with such a P takes {x, theta or permutation, vector or permutation of P}
#include <rondo/position.hpp>

namespace rd = rondo;

void call(rd::view<float const, 4> x, rd::view<float const, 2> v, rd::view<float, 4> y) {
    auto const op = rd::position::lrpe(rd::lrpe::rotation, rd::lrpe::householder);
#ifdef RONDO_REFUSED
    op.forward(rd::exec::simd, {x, v}, y);
#else
    op.forward(rd::exec::simd, {x, rd::lrpe::fixed, v}, y);
#endif
}
