/// @file
/// Paths over a grid: the order in which a scan meets its tokens.
#pragma once

#include <rondo/grid.hpp>

#include <vector>

namespace rondo::inline RONDO_ISA {
namespace detail {

enum class path_kind : unsigned char { raster, column };

/// One path: its kind, and whether it is walked from the end.
struct path_step {
    path_kind kind;
    bool reversed;
};

/// The token at each place of a path, as its raster index.
template <int Rank>
inline std::vector<index> order_of(path_kind kind, grid<Rank> const& tokens) {
    std::vector<index> order(static_cast<std::size_t>(tokens.size()));
    std::array<index, std::size_t(Rank)> at{};
    for (index& token : order) {
        token = 0;
        for (int axis = 0; axis < Rank; ++axis) {
            token += at[std::size_t(axis)] * tokens.stride(axis);
        }
        // The next place: raster steps along the last axis first, column along the first.
        for (int i = 0; i < Rank; ++i) {
            int const axis = kind == path_kind::raster ? Rank - 1 - i : i;
            if (++at[std::size_t(axis)] < tokens.extent(axis)) break;
            at[std::size_t(axis)] = 0;
        }
    }
    return order;
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
