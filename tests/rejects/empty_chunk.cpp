// refused: chunkwise<C> takes a chunk of at least 1 token
#include <rondo/rondo.hpp>

namespace rd = rondo;

#ifdef RONDO_REFUSED
constexpr auto op = rd::attention(rd::chunkwise<0>);
#else
constexpr auto op = rd::attention(rd::chunkwise<1>);
#endif
