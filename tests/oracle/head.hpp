#pragma once

#include "feature.hpp"

namespace oracle {

/// One query head of one batch with all that it reads: q, k [T, D] after the feature map, v [T, E],
/// gate [T, C], beta [T], and its part of the incoming state.
struct head {
    index T, D, E, C;
    values q, k, v, gate, beta;
    state in;
};

/// Block `block` of `size` entries.
inline values part(values const& x, index block, index size) {
    if (x.empty()) return {};
    return {x.begin() + block * size, x.begin() + (block + 1) * size};
}

inline values map_tokens(feature map, values const& x, index tokens, index channels) {
    values mapped;
    for (index t = 0; t < tokens; ++t) {
        auto const token = apply(map, part(x, t, channels));
        mapped.insert(mapped.end(), token.begin(), token.end());
    }
    return mapped;
}

/// The gate of key head `kv` (counted over the batch), one row a token whatever the decay.
inline values gate_rows(problem const& p, index kv, index channels) {
    if (p.op.decay == decay::none) return values(p.n.T);
    if (p.op.decay == decay::constant) return values(p.n.T, p.gate[kv % p.n.Hkv]);
    return part(p.gate, kv, p.n.T * channels);
}

inline head head_of(problem const& p, index b, index h) {
    auto const& n = p.n;
    index const C = gate_channels(p.op, n);
    index const query = b * n.Hq + h;
    index const kv = b * n.Hkv + h / (n.Hq / n.Hkv);
    return {n.T,
            n.D,
            n.E,
            C,
            map_tokens(p.op.feature, part(p.q, query, n.T * n.D), n.T, n.D),
            map_tokens(p.op.feature, part(p.k, kv, n.T * n.D), n.T, n.D),
            part(p.v, kv, n.T * n.E),
            gate_rows(p, kv, C),
            part(p.beta, kv, n.T),
            {part(p.in.s, kv, n.D * n.E), part(p.in.normalizer, kv, n.D), part(p.in.max, kv, C),
             part(p.in.sum, kv, C)}};
}

}  // namespace oracle
