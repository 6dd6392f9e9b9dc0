// refused: rondo::scan accepts one direction: causal or anticausal
#include <rondo/scan.hpp>

namespace rd = rondo;

#ifdef RONDO_REFUSED
constexpr auto op = rd::scan(rd::bidirectional);
#else
constexpr auto op = rd::scan(rd::anticausal);
#endif
