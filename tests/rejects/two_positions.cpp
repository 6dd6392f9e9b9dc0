// refused: attention accepts one position::fused
#include <rondo/rondo.hpp>

namespace rd = rondo;
constexpr auto rotation = rd::position::fused(rd::lrpe::rotation);

#ifdef RONDO_REFUSED
constexpr auto op = rd::attention(rotation, rotation);
#else
constexpr auto op = rd::attention(rotation);
#endif
auto state = op.state<float>(1, 2, 3, 4);
