/// @file
/// The parts of the linearised family of relative positions.
#pragma once

#include <rondo/config.hpp>

namespace rondo::inline RONDO_ISA {

/// The parts of `position::lrpe`: Lambda first, then P.
namespace lrpe {

/// Lambda: channels 2i and 2i + 1 turned by s theta_i; of an odd number the last is left as it is.
struct rotation_t {};
inline constexpr rotation_t rotation{};

/// Lambda: channel i by s theta_i in the complex plane, written as real parts, then imaginary
/// parts: y has twice the channels of x. As P, by that name, there is `cosine_transform`.
struct cosine_t {};
inline constexpr cosine_t cosine{};

/// Lambda: channel c of a token at place s is channel pi^s(c) of x. P: channel c is channel pi(c).
struct permutation_t {};
inline constexpr permutation_t permutation{};

/// P = 1.
struct identity_t {};
inline constexpr identity_t identity{};

/// P = 1 - 2 v v^T / v.v, v [head, channel]; its gradient is `vector`.
struct householder_t {};
inline constexpr householder_t householder{};

/// P: the orthonormal DCT-II.
struct cosine_transform_t {};
inline constexpr cosine_transform_t cosine_transform{};

/// P: the unitary discrete Fourier transform, as the D independent real numbers of a real row.
struct fourier_t {};
inline constexpr fourier_t fourier{};

/// In the place of theta: base 10000, theta_i = 10000^(-i / n) for n angles an axis.
struct fixed_t {};
inline constexpr fixed_t fixed{};

}  // namespace lrpe

/// The pairs of `position::rope`.
namespace position {

/// Which channels are a pair: 2i and 2i + 1 (the default; GPT-J, and the paper).
struct interleaved_t {};
inline constexpr interleaved_t interleaved{};

/// Channels i and i + D / 2 (GPT-NeoX, LLaMA as most libraries store it).
struct half_split_t {};
inline constexpr half_split_t half_split{};

}  // namespace position

}  // namespace rondo::inline RONDO_ISA
