// refused: rondo::scan takes {x, log_a}
#include <rondo/scan.hpp>

namespace rd = rondo;

void call(rd::view<float const, 3> x, rd::view<float const, 2> log_a, rd::view<float, 3> y) {
#ifdef RONDO_REFUSED
    rd::scan().forward(rd::exec::simd, {x, log_a}, y);
#else
    rd::scan().forward(rd::exec::simd, {x, x}, y);
    (void)log_a;
#endif
}
