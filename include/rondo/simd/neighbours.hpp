/// @file
/// Exchanges lanes that are neighbours: a pair of channels in a pack.
#pragma once

#include <rondo/simd/lanes.hpp>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

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

#if defined(__AVX512F__)
// Loads that spread neighbours take no shuffle, but only from memory: the compiler must not make
// one load of both. Masks of all lanes: g++ 12 warns of what the plain intrinsics leave undefined.
inline __m512 load_evens(float const* from) noexcept {
    return _mm512_maskz_moveldup_ps(0xFFFF, _mm512_loadu_ps(from));
}
inline __m512 load_odds(float const* from) noexcept {
    return _mm512_maskz_movehdup_ps(0xFFFF, _mm512_loadu_ps(from));
}
inline __m512 add_in_turn(__m512 a, __m512 b, __m512 c, bool back) noexcept {
    return back ? _mm512_fmsubadd_ps(a, b, c) : _mm512_fmaddsub_ps(a, b, c);
}
#endif

/// Turns every pair of neighbours (a, b) of a pack by its (c, s) of `by`: (a c - b s, b c + a s),
/// or `Back`: (a c + b s, b c - a s). `again` is by, as another address.
template <class L, bool Back>
class neighbour_turn {
public:
    using pack = typename L::pack;

    neighbour_turn(typename L::value const* by,
                   [[maybe_unused]] typename L::value const* again) noexcept {
#if defined(__AVX512F__)
        if constexpr (spreads_loads) {
            along_ = pack(load_evens(by));
            across_ = pack(load_odds(again));
            return;
        }
#endif
        pack const one = L::broadcast(1), minus = L::broadcast(-1), turn = L::load(by);
        pack const signs = Back ? mix_neighbours<L>(one, minus) : mix_neighbours<L>(minus, one);
        along_ = even_neighbours<L>(turn);
        across_ = odd_neighbours<L>(turn) * signs;
    }

    pack operator()(pack const& x) const noexcept {
        pack const across = swap_neighbours<L>(x) * across_;
#if defined(__AVX512F__)
        if constexpr (spreads_loads) return pack(add_in_turn(x, along_, across, Back));
#endif
        return L::fma(x, along_, across);
    }

private:
    [[maybe_unused]] static constexpr bool spreads_loads =
        std::is_same_v<typename L::value, float> && sizeof(pack) == 64;

    pack along_, across_;
};

template <class L, bool Back>
inline typename L::pack turn_neighbours(typename L::pack const& x, typename L::value const* by,
                                        typename L::value const* again) noexcept {
    return neighbour_turn<L, Back>(by, again)(x);
}

}  // namespace rondo::inline RONDO_ISA::detail
