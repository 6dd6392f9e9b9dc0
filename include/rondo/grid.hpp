/// @file
/// A grid of tokens of any rank, laid out in raster order: the first axis is the slowest.
#pragma once

#include <rondo/error.hpp>

#include <array>
#include <concepts>

namespace rondo::inline RONDO_ISA {

/// The extents of a grid of tokens: `grid image{height, width}`, `grid clip{frames, height,
/// width}`.
template <int Rank>
class grid {
    static_assert(Rank >= 1, "rondo::grid takes at least one extent");

public:
    /// Errors: shape_error when an extent is negative.
    template <std::integral... Extents>
        requires(sizeof...(Extents) == Rank)
    constexpr explicit(Rank == 1) grid(Extents... extents)
        : extents_{static_cast<index>(extents)...} {
        for (index extent : extents_) {
            if (extent < 0) {
                detail::refuse("grid", {"an extent is ", extent, ", expected at least 0"});
            }
        }
    }

    static constexpr int rank() noexcept { return Rank; }
    constexpr index extent(int axis) const noexcept { return extents_[std::size_t(axis)]; }
    constexpr std::array<index, Rank> const& extents() const noexcept { return extents_; }

    /// The number of tokens.
    constexpr index size() const noexcept {
        index product = 1;
        for (index extent : extents_) product *= extent;
        return product;
    }

    /// How far apart two neighbours along `axis` lie in raster order.
    constexpr index stride(int axis) const noexcept {
        index product = 1;
        for (int a = Rank - 1; a > axis; --a) product *= extent(a);
        return product;
    }

    friend constexpr bool operator==(grid const&, grid const&) = default;

private:
    std::array<index, Rank> extents_{};
};

template <std::integral... Extents>
grid(Extents...) -> grid<int(sizeof...(Extents))>;

}  // namespace rondo::inline RONDO_ISA
