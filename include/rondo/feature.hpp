/// @file
/// Feature maps.
#pragma once

#include <rondo/detail/composition.hpp>

namespace rondo::inline RONDO_ISA {
/// Maps applied to the channels of q and k as they are read.
namespace feature {

/// x (the default).
struct identity_t {
    static constexpr auto makes = detail::choice::feature;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.feature = detail::feature_kind::identity;
    }
};
inline constexpr identity_t identity{};

/// x + 1 for x > 0, exp(x) otherwise (Katharopoulos et al. 2020).
struct elu_plus_one_t {
    static constexpr auto makes = detail::choice::feature;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.feature = detail::feature_kind::elu_plus_one;
    }
};
inline constexpr elu_plus_one_t elu_plus_one{};

/// x / (1 + exp(-x)).
struct silu_t {
    static constexpr auto makes = detail::choice::feature;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.feature = detail::feature_kind::silu;
    }
};
inline constexpr silu_t silu{};

/// exp(x).
struct exp_t {
    static constexpr auto makes = detail::choice::feature;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.feature = detail::feature_kind::exp;
    }
};
inline constexpr exp_t exp{};

/// max(x, 0).
struct relu_t {
    static constexpr auto makes = detail::choice::feature;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.feature = detail::feature_kind::relu;
    }
};
inline constexpr relu_t relu{};

/// silu(x) + 1/2, divided by its 2-norm over the channel: LION-D and LION-S (Afzal et al. 2025).
struct silu_half_unit_t {
    static constexpr auto makes = detail::choice::feature;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.feature = detail::feature_kind::silu_half_unit;
    }
};
inline constexpr silu_half_unit_t silu_half_unit{};

}  // namespace feature

}  // namespace rondo::inline RONDO_ISA
