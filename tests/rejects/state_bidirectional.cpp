// refused: a bidirectional operator carries no state
#include <rondo/rondo.hpp>

namespace rd = rondo;

constexpr auto causal = rd::attention(rd::decay::scalar);
constexpr auto both = rd::attention(rd::decay::scalar, rd::bidirectional);

void call() {
#ifdef RONDO_REFUSED
    both.state<float>(1, 2, 3, 4);
#else
    causal.state<float>(1, 2, 3, 4);
#endif
}
