/// @file
/// Where tokens stand, as numbers: on a line or on a grid, counted after those left alone.
#pragma once

#include <rondo/grid.hpp>

namespace rondo::inline RONDO_ISA::detail {

inline constexpr int max_axes = 8;

/// The extents of a grid as values; rank 0 is a line without an end.
struct token_shape {
    int rank = 0;
    std::array<index, max_axes> extents{};

    constexpr token_shape() = default;
    template <int Rank>
    constexpr token_shape(grid<Rank> const& tokens) noexcept : rank(Rank) {
        static_assert(Rank <= max_axes, "rondo::position takes grids of at most 8 axes");
        for (int a = 0; a < Rank; ++a) extents[std::size_t(a)] = tokens.extent(a);
    }

    friend constexpr bool operator==(token_shape const&, token_shape const&) = default;

    constexpr int axes() const noexcept { return rank == 0 ? 1 : rank; }
    constexpr index size() const noexcept {
        index product = 1;
        for (int a = 0; a < rank; ++a) product *= extents[std::size_t(a)];
        return product;
    }
};

/// Which tokens a call holds: number `first` and on, of which `skip` at the very start stand
/// nowhere.
struct token_places {
    token_shape shape;
    index skip = 0, first = 0;

    /// Whether token t of the call is left alone.
    constexpr bool alone(index t) const noexcept { return first + t < skip; }

    /// The coordinates of token t of the call.
    constexpr std::array<index, max_axes> at(index t) const noexcept {
        std::array<index, max_axes> result{};
        index rest = first + t - skip;
        for (int a = shape.axes() - 1; a > 0; --a) {
            index const extent = shape.extents[std::size_t(a)];
            result[std::size_t(a)] = rest % extent;
            rest /= extent;
        }
        result[0] = rest;
        return result;
    }

    /// The coordinates of the token after the one at `from`.
    constexpr void advance(std::array<index, max_axes>& from) const noexcept {
        for (int a = shape.axes() - 1; a > 0; --a) {
            if (++from[std::size_t(a)] < shape.extents[std::size_t(a)]) return;
            from[std::size_t(a)] = 0;
        }
        ++from[0];
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
