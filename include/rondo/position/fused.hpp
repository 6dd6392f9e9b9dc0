/// @file
/// Positions fused into an operator: queries and keys are turned where a chunk holds them, without
/// a pass over memory.
#pragma once

#include <rondo/detail/composition.hpp>
#include <rondo/detail/places.hpp>
#include <rondo/position/family.hpp>

#include <optional>
#include <type_traits>

namespace rondo::inline RONDO_ISA::position {

/// The policy that `fused` makes.
struct fused_t {
    static constexpr auto makes = detail::choice::position;
    static constexpr void apply(detail::composition& c) noexcept { c.turned = true; }
};

/// attention(..., position::fused(lrpe::rotation)): the values of `lrpe(rotation)` with fixed
/// angles (and so of `rope()`) applied to q and k, behind the feature map, in front of everything
/// else. The state holds turned keys. Where the tokens stand is the option `.at`; `multiscan` takes
/// its own grid.
///
/// Cost: 3 to 6 % of an operator with D = E = 64 and 8 heads (bench/position.cpp).
/// Scratch: two rows of D for each token of a chunk, and tables of up to 64 turns a thread.
/// Accuracy: as lrpe's (tests/laws/fused.cpp).
template <class Lambda>
constexpr fused_t fused(Lambda) noexcept {
    static_assert(std::is_same_v<Lambda, lrpe::rotation_t>,
                  "rondo::position::fused accepts lrpe::rotation; for lrpe::cosine and "
                  "lrpe::permutation call position::lrpe on q and k first");
    return {};
}

/// Where the tokens of a call stand: the option `.at` of an operator with fused positions.
struct places {
    /// A grid's rank and extents; without one tokens stand on a line.
    detail::token_shape grid{};
    /// So many tokens at the start are left alone, places count after them.
    index skip = 0;
    /// The first token of the call: 0 unless it goes on with a sequence. Over a grid, a call
    /// without an offset holds the whole grid, and one with it any part.
    std::optional<index> offset{};
    /// Angle i of n an axis is base^(-i / n).
    double base = 10000;

    friend constexpr bool operator==(places const&, places const&) = default;
};

}  // namespace rondo::inline RONDO_ISA::position
