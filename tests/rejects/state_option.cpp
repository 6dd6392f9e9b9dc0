// refused: a bidirectional operator carries no state: it accepts .scale and .eps
#include <rondo/rondo.hpp>

namespace rd = rondo;

void call(rd::view<float const, 4> k, rd::view<float, 4> o) {
    auto state = rd::attention().state<float>(1, 2, 3, 4);
#ifdef RONDO_REFUSED
    rd::attention(rd::bidirectional).forward(rd::exec::simd, {k, k, k}, o, {.out = state});
#else
    rd::attention(rd::causal).forward(rd::exec::simd, {k, k, k}, o, {.out = state});
#endif
}
