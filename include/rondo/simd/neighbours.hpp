/// @file
/// Exchanges lanes that are neighbours: a pair of channels in a pack.
#pragma once

#include <rondo/simd/lanes.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// Lane l is lane source(l) of x, or, from L::width on, of y.
template <class L, class Source>
inline typename L::pack choose_neighbours(typename L::pack const& x, typename L::pack const& y,
                                          Source source) noexcept {
    static_assert(L::width > 1, "rondo: one lane has no neighbour");
    return choose_lanes(x, y, source, std::make_index_sequence<std::size_t(L::width)>{});
}

/// Lanes 0, 0, 2, 2, ...
template <class L>
inline typename L::pack even_neighbours(typename L::pack const& x) noexcept {
    return choose_neighbours<L>(x, x, [](int lane) { return lane & ~1; });
}

/// Lanes 1, 1, 3, 3, ...
template <class L>
inline typename L::pack odd_neighbours(typename L::pack const& x) noexcept {
    return choose_neighbours<L>(x, x, [](int lane) { return lane | 1; });
}

/// Lane 0 of x, 1 of y, 2 of x, ...
template <class L>
inline typename L::pack mix_neighbours(typename L::pack const& x,
                                       typename L::pack const& y) noexcept {
    return choose_neighbours<L>(x, y, [](int lane) { return lane + lane % 2 * L::width; });
}

/// Lanes 1, 0, 3, 2, ...
template <class L>
inline typename L::pack swap_neighbours(typename L::pack const& x) noexcept {
    return choose_neighbours<L>(x, x, [](int lane) { return lane ^ 1; });
}

}  // namespace rondo::inline RONDO_ISA::detail
