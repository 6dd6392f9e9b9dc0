/// @file
/// Where tokens stand: on a line or on a grid, counted after the tokens that are left alone.
#pragma once

#include <rondo/detail/lines.hpp>

#include <optional>

namespace rondo::inline RONDO_ISA::detail {

/// The extents of a grid as values; rank 0 is a line without an end.
struct token_shape {
    int rank = 0;
    std::array<index, max_axes> extents{};

    constexpr token_shape() = default;
    template <int Rank>
    constexpr explicit token_shape(grid<Rank> const& tokens) noexcept : rank(Rank) {
        static_assert(Rank <= max_axes, "rondo::position takes grids of at most 8 axes");
        for (int a = 0; a < Rank; ++a) extents[std::size_t(a)] = tokens.extent(a);
    }

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

/// Refuses a call of `length` tokens that a grid does not hold. Without an offset the call is the
/// whole grid, with one any part of it.
inline token_places check_places(checker const& check, token_shape const& shape, index skip,
                                 std::optional<index> offset, index length) {
    index const first = offset.value_or(0);
    if (skip < 0 || first < 0) {
        refuse(check.name, {skip < 0 ? "skip is " : "the offset is ", skip < 0 ? skip : first,
                            ", expected at least 0"});
    }
    index const tokens = skip + shape.size();
    if (shape.rank > 0 && !offset) {
        check.extent("x", "time", length, tokens, "the size of the grid and what is skipped");
    }
    if (shape.rank > 0 && first + length > tokens) {
        refuse(check.name, {"x ends at token ", first + length, ", expected at most ", tokens,
                            " (the size of the grid and what is skipped)"});
    }
    return {shape, skip, first};
}

}  // namespace rondo::inline RONDO_ISA::detail
