// refused: over a grid takes {x, b, log_lambda}: x of y's rank, b and log_lambda .axis, channel, m.
#include <rondo/position.hpp>

namespace rd = rondo;

void call(rd::view<float const, 3> x, rd::view<float const, 2> b, rd::view<float const, 3> of_axes,
          rd::view<float, 3> y) {
    auto const op = rd::position::tpe(rd::grid{3, 4});
#ifdef RONDO_REFUSED
    op.forward(rd::exec::simd, {x, b, b}, y);
    (void)of_axes;
#else
    op.forward(rd::exec::simd, {x, of_axes, of_axes}, y);
    (void)b;
#endif
}
