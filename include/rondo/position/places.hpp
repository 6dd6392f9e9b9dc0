/// @file
/// The check of a call whose tokens stand somewhere.
#pragma once

#include <rondo/detail/check.hpp>
#include <rondo/detail/places.hpp>

#include <optional>

namespace rondo::inline RONDO_ISA::detail {

/// Refuses a call of `length` tokens that a grid does not hold. Without an offset the call is the
/// whole grid, with one any part of it.
inline token_places check_places(checker const& check, token_shape const& shape, index skip,
                                 std::optional<index> offset, index length,
                                 char const* name = "x") {
    index const first = offset.value_or(0);
    if (skip < 0 || first < 0) {
        refuse(check.name, {skip < 0 ? "skip is " : "the offset is ", skip < 0 ? skip : first,
                            ", expected at least 0"});
    }
    index const tokens = skip + shape.size();
    if (shape.rank > 0 && !offset) {
        check.extent(name, "time", length, tokens, "the size of the grid and what is skipped");
    }
    if (shape.rank > 0 && first + length > tokens) {
        refuse(check.name, {name, " ends at token ", first + length, ", expected at most ", tokens,
                            " (the size of the grid and what is skipped)"});
    }
    return {shape, skip, first};
}

}  // namespace rondo::inline RONDO_ISA::detail
