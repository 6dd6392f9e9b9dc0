// refused: inputs and output agree in precision
#include <rondo/rondo.hpp>

namespace rd = rondo;

constexpr auto gla = rd::attention(rd::decay::vector);

void call(rd::view<float const, 4> k, rd::view<float, 4> o, rd::view<double, 4> wrong) {
#ifdef RONDO_REFUSED
    gla.forward(rd::exec::simd, {k, k, k, k}, wrong);
#else
    gla.forward(rd::exec::simd, {k, k, k, k}, o);
#endif
}
