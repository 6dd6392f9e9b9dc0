// refused: step goes with causal and anticausal along time
#include <rondo/position.hpp>

namespace rd = rondo;

void call(rd::view<float const, 2> x, rd::view<float const, 2> b, rd::view<float, 3> state,
          rd::view<float, 2> y) {
#ifdef RONDO_REFUSED
    rd::position::tpe(rd::bidirectional).step(rd::exec::simd, {x, b, b}, state, y);
#else
    rd::position::tpe(rd::anticausal).step(rd::exec::simd, {x, b, b}, state, y);
#endif
}
