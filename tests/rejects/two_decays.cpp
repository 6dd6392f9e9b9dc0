// refused: attention accepts one decay: decay::none, constant, scalar, vector, additive
#include <rondo/rondo.hpp>

namespace rd = rondo;

#ifdef RONDO_REFUSED
constexpr auto op = rd::attention(rd::decay::scalar, rd::decay::vector);
#else
constexpr auto op = rd::attention(rd::decay::scalar);
#endif
