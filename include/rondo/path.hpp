/// @file
/// Paths over a grid: the order in which a scan meets its tokens.
#pragma once

#include <rondo/grid.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

namespace rondo::inline RONDO_ISA {
namespace detail {

enum class path_kind : unsigned char { raster, column, snake, snake_column, hilbert };

/// One path: its kind, and whether it is walked from the end.
struct path_step {
    path_kind kind;
    bool reversed;
};

/// The place of a token on the Hilbert curve of a cube of 2^bits tokens along each axis.
/// Source: Skilling 2004, "Programming the Hilbert curve" (axes to transposed index).
template <std::size_t Rank>
constexpr std::uint64_t hilbert_place(std::array<std::uint64_t, Rank> at, int bits) noexcept {
    if (bits == 0) return 0;
    std::uint64_t const highest = std::uint64_t(1) << (bits - 1);
    for (std::uint64_t bit = highest; bit > 1; bit >>= 1) {
        for (std::uint64_t& x : at) {
            std::uint64_t const below = bit - 1;
            if ((x & bit) != 0) {
                at[0] ^= below;
            } else {
                std::uint64_t const swapped = (at[0] ^ x) & below;
                at[0] ^= swapped;
                x ^= swapped;
            }
        }
    }
    for (std::size_t axis = 1; axis < Rank; ++axis) at[axis] ^= at[axis - 1];
    std::uint64_t turn = 0;
    for (std::uint64_t bit = highest; bit > 1; bit >>= 1) {
        if ((at[Rank - 1] & bit) != 0) turn ^= bit - 1;
    }
    std::uint64_t place = 0;
    for (std::uint64_t bit = highest; bit > 0; bit >>= 1) {
        for (std::uint64_t const x : at) place = place << 1 | (((x ^ turn) & bit) != 0 ? 1U : 0U);
    }
    return place;
}

/// The token at each place of a path, as its raster index; raster and column step plainly along one
/// axis after the other, the snakes turn round at the end of each line.
template <int Rank>
inline std::vector<index> lines_of(path_kind kind, grid<Rank> const& tokens) {
    bool const rows = kind == path_kind::raster || kind == path_kind::snake;
    bool const turns = kind == path_kind::snake || kind == path_kind::snake_column;
    std::vector<index> order(static_cast<std::size_t>(tokens.size()));
    std::array<index, std::size_t(Rank)> at{};
    auto const axis_of = [=](int i) { return rows ? Rank - 1 - i : i; };  // fastest first
    for (index& token : order) {
        token = 0;
        index slower = 0;  // an odd sum of the slower positions turns a line round
        for (int i = Rank - 1; i >= 0; --i) {
            int const axis = axis_of(i);
            index const position = at[std::size_t(axis)], last = tokens.extent(axis) - 1;
            index const met = turns && slower % 2 != 0 ? last - position : position;
            token += met * tokens.stride(axis);
            slower += met;
        }
        for (int i = 0; i < Rank; ++i) {
            auto const axis = std::size_t(axis_of(i));
            if (++at[axis] < tokens.extent(int(axis))) break;
            at[axis] = 0;
        }
    }
    return order;
}

/// The Hilbert curve of the smallest cube of a power of two that holds the grid, without the places
/// outside the grid: any extents, next neighbours wherever the cube is full.
template <int Rank>
inline std::vector<index> hilbert_order(grid<Rank> const& tokens) {
    index longest = 1;
    for (index extent : tokens.extents()) longest = std::max(longest, extent);
    auto const bits = int(std::bit_width(static_cast<std::uint64_t>(longest - 1)));
    if (bits * Rank > 64) {
        refuse("path::hilbert",
               {"an axis has ", longest, " tokens, expected at most 2^", 64 / Rank});
    }
    std::vector<std::pair<std::uint64_t, index>> places(static_cast<std::size_t>(tokens.size()));
    for (index token = 0; token < tokens.size(); ++token) {
        std::array<std::uint64_t, std::size_t(Rank)> at{};
        for (int axis = 0; axis < Rank; ++axis) {
            at[std::size_t(axis)] =
                std::uint64_t(token / tokens.stride(axis) % tokens.extent(axis));
        }
        places[std::size_t(token)] = {hilbert_place(at, bits), token};
    }
    std::sort(places.begin(), places.end());
    std::vector<index> order(places.size());
    for (std::size_t i = 0; i < places.size(); ++i) order[i] = places[i].second;
    return order;
}

/// The token at each place of a path, as its raster index.
template <int Rank>
inline std::vector<index> order_of(path_kind kind, grid<Rank> const& tokens) {
    return kind == path_kind::hilbert ? hilbert_order(tokens) : lines_of(kind, tokens);
}

}  // namespace detail

/// Orders over the tokens of a grid, for `multiscan`.
namespace path {

/// Row by row, the last axis fastest: the order of memory.
struct raster_t {
    static constexpr std::array steps{detail::path_step{detail::path_kind::raster, false}};
};
inline constexpr raster_t raster{};

/// `raster` from the last token to the first.
struct raster_reversed_t {
    static constexpr std::array steps{detail::path_step{detail::path_kind::raster, true}};
};
inline constexpr raster_reversed_t raster_reversed{};

/// Column by column, the first axis fastest.
struct column_t {
    static constexpr std::array steps{detail::path_step{detail::path_kind::column, false}};
};
inline constexpr column_t column{};

/// `column` from the last token to the first.
struct column_reversed_t {
    static constexpr std::array steps{detail::path_step{detail::path_kind::column, true}};
};
inline constexpr column_reversed_t column_reversed{};

/// Row by row, every other row backwards: each step goes to a neighbour.
struct snake_t {
    static constexpr std::array steps{detail::path_step{detail::path_kind::snake, false}};
};
inline constexpr snake_t snake{};

/// Column by column, every other column backwards.
struct snake_column_t {
    static constexpr std::array steps{detail::path_step{detail::path_kind::snake_column, false}};
};
inline constexpr snake_column_t snake_column{};

/// Along a Hilbert curve: tokens near on the path are near on the grid.
struct hilbert_t {
    static constexpr std::array steps{detail::path_step{detail::path_kind::hilbert, false}};
};
inline constexpr hilbert_t hilbert{};

/// Raster and column, both ways: the four scans of VMamba (Liu et al. 2024, section 4.2).
struct cross_t {
    static constexpr std::array steps{detail::path_step{detail::path_kind::raster, false},
                                      detail::path_step{detail::path_kind::raster, true},
                                      detail::path_step{detail::path_kind::column, false},
                                      detail::path_step{detail::path_kind::column, true}};
};
inline constexpr cross_t cross{};

}  // namespace path

namespace detail {

template <class P>
concept some_path = requires {
    P::steps[0].kind;
};

}  // namespace detail
}  // namespace rondo::inline RONDO_ISA
