// refused: update::delta goes with causal and anticausal
#include <rondo/rondo.hpp>

namespace rd = rondo;

#ifdef RONDO_REFUSED
constexpr auto op = rd::attention(rd::update::delta, rd::bidirectional);
#else
constexpr auto op = rd::attention(rd::update::delta, rd::anticausal);
#endif
