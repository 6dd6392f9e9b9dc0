// refused: update::delta with a decay takes the inputs {q, k, v, gate, beta}
#include <rondo/rondo.hpp>

namespace rd = rondo;

constexpr auto op = rd::attention(rd::decay::scalar, rd::update::delta);

void call(rd::view<float const, 4> k, rd::view<float const, 3> g, rd::view<float, 4> o) {
#ifdef RONDO_REFUSED
    op.forward(rd::exec::simd, {k, k, k, g}, o);
#else
    op.forward(rd::exec::simd, {k, k, k, g, g}, o);
#endif
}
