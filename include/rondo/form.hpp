/// @file
/// Form policies: how time is walked. All forms of an operator give the same values; with none
/// given the operator picks by length and place.
#pragma once

#include <rondo/detail/composition.hpp>

namespace rondo::inline RONDO_ISA {
/// Token by token, O(T D E) time, O(D E) memory.
struct recurrent_t {
    static constexpr auto makes = detail::choice::form;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.form = detail::form_kind::recurrent;
    }
};
inline constexpr recurrent_t recurrent{};

/// All pairs at once, as attention is written: O(T^2 (D + E)) time, O(T (D + E)) memory.
struct quadratic_t {
    static constexpr auto makes = detail::choice::form;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.form = detail::form_kind::quadratic;
    }
};
inline constexpr quadratic_t quadratic{};

/// Chunks of C tokens: pairs within a chunk, a state between chunks. O(T (D E + C (D + E))) time.
template <index C>
struct chunkwise_t {
    static_assert(C >= 1, "rondo::chunkwise<C> takes a chunk of at least 1 token");
    static constexpr auto makes = detail::choice::form;
    static constexpr void apply(detail::composition& c) noexcept {
        c.form = detail::form_kind::chunkwise;
        c.chunk = C;
    }
};
template <index C>
inline constexpr chunkwise_t<C> chunkwise{};

}  // namespace rondo::inline RONDO_ISA
