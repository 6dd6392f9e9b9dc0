/// @file
/// Normalisation policies.
#pragma once

#include <rondo/detail/composition.hpp>

namespace rondo::inline RONDO_ISA {
/// What the output is divided by.
namespace normalize {

/// o_i = scale * sum_j w(i,j) (q_i . k_j) v_j (the default).
struct none_t {
    static constexpr auto makes = detail::choice::normalize;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.normalized = false;
    }
};
inline constexpr none_t none{};

/// o_i = scale * sum_j w (q_i . k_j) v_j / (sum_j w (q_i . k_j) + eps), the sums over the same
/// window.
struct sum_t {
    static constexpr auto makes = detail::choice::normalize;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.normalized = true;
    }
};
inline constexpr sum_t sum{};

}  // namespace normalize

}  // namespace rondo::inline RONDO_ISA
