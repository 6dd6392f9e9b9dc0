// refused: decay::on_write goes with decay::none, constant, scalar or vector
#include <rondo/rondo.hpp>

namespace rd = rondo;

#ifdef RONDO_REFUSED
constexpr auto op = rd::attention(rd::decay::additive, rd::decay::on_write);
#else
constexpr auto op = rd::attention(rd::decay::vector, rd::decay::on_write);
#endif
