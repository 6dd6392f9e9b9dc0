/// @file
/// Update policies: how a token is written.
#pragma once

#include <rondo/detail/composition.hpp>

namespace rondo::inline RONDO_ISA {
/// What a token writes into the state.
namespace update {

/// S_t = diag(a_t) S_(t-1) + k_t v_t^T (the default).
struct outer_t {
    static constexpr auto makes = detail::choice::update;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.delta = false;
    }
};
inline constexpr outer_t outer{};

/// u_t = beta_t (v_t - (diag(a_t) S_(t-1))^T k_t), S_t = diag(a_t) S_(t-1) + k_t u_t^T.
/// Takes beta [batch, head, time] as the last input. DeltaNet (Yang et al. 2024), Gated DeltaNet
/// with decay::scalar, KDA with decay::vector.
struct delta_t {
    static constexpr auto makes = detail::choice::update;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.delta = true;
    }
};
inline constexpr delta_t delta{};

}  // namespace update

}  // namespace rondo::inline RONDO_ISA
