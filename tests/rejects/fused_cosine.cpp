// refused: position::fused accepts lrpe::rotation; for lrpe::cosine
#include <rondo/rondo.hpp>

namespace rd = rondo;

#ifdef RONDO_REFUSED
constexpr auto op = rd::attention(rd::decay::scalar, rd::position::fused(rd::lrpe::cosine));
#else
constexpr auto op = rd::attention(rd::decay::scalar, rd::position::fused(rd::lrpe::rotation));
#endif
auto state = op.state<float>(1, 2, 3, 4);
