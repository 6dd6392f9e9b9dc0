// refused: the gate of decay::vector and decay::additive is a view of rank 4
#include <rondo/rondo.hpp>

namespace rd = rondo;

constexpr auto gla = rd::attention(rd::decay::vector);

void call(rd::view<float const, 4> k, rd::view<float const, 3> scalar,
          rd::view<float const, 4> vector, rd::view<float, 4> o) {
#ifdef RONDO_REFUSED
    gla.forward(rd::exec::simd, {k, k, k, scalar}, o);
#else
    gla.forward(rd::exec::simd, {k, k, k, vector}, o);
#endif
}
