// refused: position::fused accepts lrpe::rotation, lrpe::cosine, interleaved or half_split
#include <rondo/rondo.hpp>

namespace rd = rondo;

#ifdef RONDO_REFUSED
constexpr auto op = rd::attention(rd::decay::scalar, rd::position::fused(rd::lrpe::permutation));
#else
constexpr auto op = rd::attention(rd::decay::scalar, rd::position::fused(rd::lrpe::cosine));
#endif
auto state = op.state<float>(1, 2, 3, 4);
