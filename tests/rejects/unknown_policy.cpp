// refused: attention accepts policies: decay::..., causal . anticausal . bidirectional
#include <rondo/rondo.hpp>

namespace rd = rondo;

#ifdef RONDO_REFUSED
constexpr auto op = rd::attention(3);
#else
constexpr auto op = rd::attention(rd::causal);
#endif
