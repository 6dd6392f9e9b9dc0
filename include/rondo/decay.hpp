/// @file
/// Decay policies: what weight w(i,j) a reader i gives to a token j written before it.
#pragma once

#include <rondo/detail/composition.hpp>

namespace rondo::inline RONDO_ISA {
/// How the weight of a written token falls as time goes on. Gates are log decays g, a = exp(g);
/// -inf is a hard reset and exact. The gates of one key/value head are shared by the query heads
/// that read it.
namespace decay {

/// w(i,j) = 1. Linear attention (Katharopoulos et al. 2020), LION-LIT.
struct none_t {
    static constexpr auto makes = detail::choice::decay;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.decay = detail::decay_kind::none;
    }
};
inline constexpr none_t none{};

/// w(i,j) = exp((i - j) g_h), gate [head]. RetNet (Sun et al. 2023), TNL, Lightning Attention,
/// LION-D.
struct constant_t {
    static constexpr auto makes = detail::choice::decay;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.decay = detail::decay_kind::constant;
    }
};
inline constexpr constant_t constant{};

/// w(i,j) = exp(sum_(j < s <= i) g_s), gate [batch, head, time]. Mamba-2 (Dao & Gu 2024), LION-S.
struct scalar_t {
    static constexpr auto makes = detail::choice::decay;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.decay = detail::decay_kind::scalar;
    }
};
inline constexpr scalar_t scalar{};

/// The same for each key channel, gate [batch, head, time, D]. GLA (Yang et al. 2023), HGRN2,
/// RWKV-6.
struct vector_t {
    static constexpr auto makes = detail::choice::decay;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.decay = detail::decay_kind::vector;
    }
};
inline constexpr vector_t vector{};

/// w(i,j) = exp(z_j) / sum_(s in window(i)) exp(z_s) for each key channel, logits z [batch, head,
/// time, D]. The window is s <= i when causal and the whole sequence when bidirectional, which one
/// scan reads. Any finite logit and -inf (a masked token: weight 0) are exact; an empty window
/// gives 0. LightNet (Qin et al. 2024, section 3).
struct additive_t {
    static constexpr auto makes = detail::choice::decay;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.decay = detail::decay_kind::additive;
    }
};
inline constexpr additive_t additive{};

/// The same with one logit a token and head, z [batch, head, time].
struct additive_scalar_t {
    static constexpr auto makes = detail::choice::decay;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.decay = detail::decay_kind::additive_scalar;
    }
};
inline constexpr additive_scalar_t additive_scalar{};

/// The reader's decay counts and the written token's does not (the default): GLA, Mamba-2.
struct on_read_t {
    static constexpr auto makes = detail::choice::placement;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.on_write = false;
    }
};
inline constexpr on_read_t on_read{};

/// The written token's decay counts and the reader's does not: w(i,j) = exp(sum_(j <= s < i) g_s).
/// LION.
struct on_write_t {
    static constexpr auto makes = detail::choice::placement;
    static constexpr void apply([[maybe_unused]] detail::composition& c) noexcept {
        c.on_write = true;
    }
};
inline constexpr on_write_t on_write{};

}  // namespace decay

}  // namespace rondo::inline RONDO_ISA
