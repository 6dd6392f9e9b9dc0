/// @file
/// Direction policies: which tokens a reader sees.
#pragma once

#include <rondo/detail/composition.hpp>

namespace rondo::inline RONDO_ISA {
/// Reader i sees the tokens j <= i (the default). The state is carried from the left.
struct causal_t {
    static constexpr auto makes = detail::choice::direction;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.direction = detail::direction_kind::causal;
    }
};
inline constexpr causal_t causal{};

/// Reader i sees the tokens j >= i: the exact time mirror of causal. The state is carried from the
/// right.
struct anticausal_t {
    static constexpr auto makes = detail::choice::direction;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.direction = detail::direction_kind::anticausal;
    }
};
inline constexpr anticausal_t anticausal{};

/// Reader i sees every token. Multiplicative decays: causal + anticausal with the diagonal counted
/// once (LION, Afzal et al. 2025). Additive decays: one normaliser over the whole sequence. No
/// state.
struct bidirectional_t {
    static constexpr auto makes = detail::choice::direction;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.direction = detail::direction_kind::bidirectional;
    }
};
inline constexpr bidirectional_t bidirectional{};

}  // namespace rondo::inline RONDO_ISA
