#pragma once

// The vocabulary of the oracle: an operator is a struct of enums, a tensor is a vector of doubles.
// Nothing here, or in the other headers of this folder, knows the library.

#include <cstddef>
#include <limits>
#include <vector>

namespace oracle {

using index = std::ptrdiff_t;
using values = std::vector<double>;

inline constexpr double infinity = std::numeric_limits<double>::infinity();

enum class decay { none, constant, scalar, vector, additive, additive_scalar };
enum class placement { on_read, on_write };
enum class direction { causal, anticausal, bidirectional };
enum class feature { identity, elu_plus_one, silu, exp, relu, silu_half_unit };
enum class update { outer, delta };

struct composition {
    oracle::decay decay = decay::none;
    oracle::placement placement = placement::on_read;
    oracle::direction direction = direction::causal;
    oracle::feature feature = feature::identity;
    oracle::update update = update::outer;
    bool normalized = false;

    friend bool operator==(composition const&, composition const&) = default;
};

inline bool is_additive(composition const& op) {
    return op.decay == decay::additive || op.decay == decay::additive_scalar;
}

inline bool has_gate(composition const& op) { return op.decay != decay::none; }

inline bool has_state(composition const& op) { return op.direction != direction::bidirectional; }

/// Every query head reads key/value head `h / (Hq / Hkv)`.
struct extents {
    index B = 1, Hq = 1, Hkv = 1, T = 0, D = 1, E = 1;
};

/// Gate channels of a key head: as many as the key has, or one that they share.
inline index gate_channels(composition const& op, extents const& n) {
    return op.decay == decay::vector || op.decay == decay::additive ? n.D : 1;
}

/// What an operator carries: s [B, Hkv, D, E], normalizer [B, Hkv, D], and for the additive decays
/// max and sum [B, Hkv, C], C gate channels. There s and normalizer are relative to exp(max).
struct state {
    values s, normalizer, max, sum;
};

inline state empty_state(composition const& op, extents const& n) {
    index const heads = n.B * n.Hkv;
    index const maxima = is_additive(op) ? heads * gate_channels(op, n) : 0;
    return {values(heads * n.D * n.E), values(heads * n.D), values(maxima, -infinity),
            values(maxima)};
}

/// A call. Tensors are contiguous: q [B, Hq, T, D], k [B, Hkv, T, D], v [B, Hkv, T, E],
/// beta [B, Hkv, T], gate [B, Hkv, T, C], or [Hkv] for a constant decay, or nothing for none.
struct problem {
    composition op;
    extents n;
    values q, k, v, gate, beta;
    state in;
    double scale = 1, eps = 1e-6;
};

}  // namespace oracle
