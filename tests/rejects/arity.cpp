// refused: an operator with a gated decay takes the inputs {q, k, v, gate}
#include <rondo/rondo.hpp>

namespace rd = rondo;

constexpr auto gla = rd::attention(rd::decay::vector);

void call(rd::view<float const, 4> k, rd::view<float, 4> o) {
#ifdef RONDO_REFUSED
    gla.forward(rd::exec::simd, {k, k, k}, o);
#else
    gla.forward(rd::exec::simd, {k, k, k, k}, o);
#endif
}
