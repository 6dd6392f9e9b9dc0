/// @file
/// Exchanges lanes that are neighbours: a pair of channels in a pack.
#pragma once

#include <rondo/simd/lanes.hpp>

namespace rondo::inline RONDO_ISA::detail {

template <class Pack, std::size_t... Lane>
inline Pack swap_lanes(Pack const& x, std::index_sequence<Lane...>) noexcept {
#if defined(__CUDACC__)
    // nvcc drops the expansion of a pack among the arguments of a builtin.
    typename Pack::value_type lanes[sizeof...(Lane)], swapped[sizeof...(Lane)];
    x.store_unaligned(lanes);
    ((swapped[Lane] = lanes[Lane ^ 1]), ...);
    return Pack::load_unaligned(swapped);
#else
    auto const lanes = typename Pack::register_type(x);
    return Pack(__builtin_shufflevector(lanes, lanes, int(Lane ^ 1)...));
#endif
}

template <std::size_t Odd, class Pack, std::size_t... Lane>
inline Pack copy_lanes(Pack const& x, std::index_sequence<Lane...>) noexcept {
    auto const lanes = typename Pack::register_type(x);
    return Pack(__builtin_shufflevector(lanes, lanes, int(Lane / 2 * 2 + Odd)...));
}

template <class Pack, std::size_t... Lane>
inline Pack mix_lanes(Pack const& x, Pack const& y, std::index_sequence<Lane...>) noexcept {
    auto const a = typename Pack::register_type(x), b = typename Pack::register_type(y);
    return Pack(__builtin_shufflevector(a, b, int(Lane + Lane % 2 * sizeof...(Lane))...));
}

/// Lanes 0, 0, 2, 2, ...
template <class L>
inline typename L::pack even_neighbours(typename L::pack const& x) noexcept {
    return copy_lanes<0>(x, std::make_index_sequence<std::size_t(L::width)>{});
}

/// Lanes 1, 1, 3, 3, ...
template <class L>
inline typename L::pack odd_neighbours(typename L::pack const& x) noexcept {
    return copy_lanes<1>(x, std::make_index_sequence<std::size_t(L::width)>{});
}

/// Lane 0 of x, 1 of y, 2 of x, ...
template <class L>
inline typename L::pack mix_neighbours(typename L::pack const& x,
                                       typename L::pack const& y) noexcept {
    return mix_lanes(x, y, std::make_index_sequence<std::size_t(L::width)>{});
}

/// Lanes 1, 0, 3, 2, ...
template <class L>
inline typename L::pack swap_neighbours(typename L::pack const& x) noexcept {
    static_assert(L::width > 1, "rondo: one lane has no neighbour");
    return swap_lanes(x, std::make_index_sequence<std::size_t(L::width)>{});
}

}  // namespace rondo::inline RONDO_ISA::detail
