// refused: step goes with causal and anticausal
#include <rondo/rondo.hpp>

namespace rd = rondo;

constexpr auto causal = rd::attention(rd::decay::scalar);
constexpr auto both = rd::attention(rd::decay::scalar, rd::bidirectional);

void call(rd::view<float const, 3> k, rd::view<float const, 2> g, rd::view<float, 3> o) {
    auto state = causal.state<float>(1, 2, 3, 4);
#ifdef RONDO_REFUSED
    both.step(rd::exec::simd, {k, k, k, g}, state, o);
#else
    causal.step(rd::exec::simd, {k, k, k, g}, state, o);
#endif
}
