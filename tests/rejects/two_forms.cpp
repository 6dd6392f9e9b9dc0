// refused: attention accepts one form: recurrent, quadratic or chunkwise<C>
#include <rondo/rondo.hpp>

namespace rd = rondo;

#ifdef RONDO_REFUSED
constexpr auto op = rd::attention(rd::recurrent, rd::chunkwise<64>);
#else
constexpr auto op = rd::attention(rd::chunkwise<64>);
#endif
