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

/// The policies that `fused` makes.
template <detail::turn_kind As>
struct fused_t {
    static constexpr auto makes = detail::choice::position;
    static constexpr void apply(detail::composition& c) noexcept {
        c.turned = true;
        c.turned_as = As;
    }
};

/// attention(..., position::fused(lrpe::rotation)): the values of `lrpe(Lambda)` with fixed angles,
/// or of `rope(layout)`, applied to q and k behind the feature map and in front of everything else.
/// Takes lrpe::rotation (or interleaved: the same), lrpe::cosine, half_split.
///
/// The state holds turned keys, for lrpe::cosine of 2 D channels; gates keep D, and that of a
/// channel counts for its real and its imaginary part. Where the tokens stand is the option `.at`;
/// `multiscan` takes its own grid.
///
/// Cost: rotation 4 to 15 % of an operator with D = E = 64 and 8 heads, least where heads are
///   neighbours in memory (bench/position.cpp), the single scan 9 to 14 %; with lrpe::cosine that
///   operator is one of 2 D channels, of which memory holds half.
/// Scratch: two rows of D for each token of a chunk, and tables of up to 64 turns a thread.
/// Accuracy: as lrpe's (tests/laws/fused.cpp).
template <class Turn>
constexpr auto fused(Turn) noexcept {
    using detail::turn_kind;
    constexpr bool pairs =
        std::is_same_v<Turn, lrpe::rotation_t> || std::is_same_v<Turn, interleaved_t>;
    constexpr bool doubles = std::is_same_v<Turn, lrpe::cosine_t>;
    static_assert(pairs || doubles || std::is_same_v<Turn, half_split_t>,
                  "rondo::position::fused accepts lrpe::rotation, lrpe::cosine, interleaved or "
                  "half_split; for lrpe::permutation call position::lrpe on q and k first");
    constexpr turn_kind paired = pairs ? turn_kind::interleaved : turn_kind::half_split;
    return fused_t<(doubles ? turn_kind::doubled : paired)>{};
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
