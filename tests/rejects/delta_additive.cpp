// refused: update::delta goes with decay::none, constant, scalar or vector
#include <rondo/rondo.hpp>

namespace rd = rondo;

#ifdef RONDO_REFUSED
constexpr auto op = rd::attention(rd::update::delta, rd::decay::additive);
#else
constexpr auto op = rd::attention(rd::update::delta, rd::decay::vector);
#endif
