// refused: attention accepts one direction: causal, anticausal or bidirectional
#include <rondo/rondo.hpp>

namespace rd = rondo;

#ifdef RONDO_REFUSED
constexpr auto op = rd::attention(rd::causal, rd::bidirectional);
#else
constexpr auto op = rd::attention(rd::bidirectional);
#endif
