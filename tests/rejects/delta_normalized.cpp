// refused: update::delta goes with normalize::none
#include <rondo/rondo.hpp>

namespace rd = rondo;

#ifdef RONDO_REFUSED
constexpr auto op = rd::attention(rd::update::delta, rd::normalize::sum);
#else
constexpr auto op = rd::attention(rd::update::delta, rd::normalize::none);
#endif
