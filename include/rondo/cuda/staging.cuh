/// @file
/// A few tokens of one head, loaded by a whole block and turned into what every decay needs:
///
///     S' = before S,  u = v or beta (v - S'^T k),  S = after (S' + k u^T),  o = (S' + k u^T)^T q
///
/// with the decay, the placement, the feature maps and the additive weights already in the factors,
/// keys and queries.
#pragma once

#include <rondo/cuda/rows.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// Columns of values that a block takes, and those of each of its warps.
inline constexpr int warp_columns = 4, block_warps = 8;
inline constexpr int block_columns = warp_columns * block_warps;
inline constexpr int block_threads = warp_size * block_warps;

/// Tokens that a block stages at most: their loads take about as long as their products.
inline constexpr int most_staged = 16;

/// The rows of the tokens at hand, in shared memory or, where they are too wide for it, in device
/// memory. Channels are padded with zeros so that lanes take runs of them without asking.
template <class A>
struct stage {
    A *q, *k, *factor, *v, *o;        // [tokens, padded], .., [tokens, gates], [tokens, columns]
    A *beta, *sums, *weight, *share;  // [tokens]
    A *max, *sum;                     // [gate width]: of the tokens before
    int depth, padded, gates;         // gates: 1 or as padded

    /// `padded` channels a row, a multiple of 4; a gate a token if `gates` is 1.
    static __host__ __device__ index elements(index padded, index gates, index tokens) {
        index const all = gates == 1 ? 1 : padded;
        return tokens * (2 * padded + 2 * block_columns + 4 + all) + 2 * all + 4;
    }
    __device__ stage(A* memory, int channels, int width, int gate_width, int tokens)
        : depth(channels), padded(width), gates(gate_width == 1 ? 1 : width) {
        q = memory;
        k = q + tokens * padded;
        v = k + tokens * padded;
        o = v + tokens * block_columns;
        // Behind what is read in runs of 16 bytes: these may begin anywhere.
        factor = o + tokens * block_columns;
        beta = factor + (gates == 1 ? (tokens + 3) / 4 * 4 : tokens * gates);
        sums = beta + tokens;
        weight = sums + tokens;
        share = weight + tokens;
        max = share + tokens;
        sum = max + gates;
    }
};

/// The elements of a few tokens on their way from memory to a stage, in registers: asked for before
/// the tokens of the stage are computed on, put there after. With more than 8 channels a lane (Rows
/// is 0) they are not held but read when they are put.
template <class A, int Rows>
struct fetched {
    static constexpr int tokens = most_staged / block_warps, held = Rows > 0 ? Rows : 1;
    raw_element<A> q[tokens][held], k[tokens][held], gate[tokens][held], v[tokens], beta[tokens];
};

/// Fills a stage for one head and one tile of value columns.
template <class A, int Rows>
class stager {
    static constexpr bool holds = Rows > 0;

public:
    __device__ stager(call<A> const& c, location const& where, stage<A> const& s, index column)
        : c_(c), at_(where), s_(s), column_(column) {}

    /// Takes the additive maxima and sums handed in.
    __device__ void begin() {
        if (!c_.additive) return;
        index const from = at_.state(c_) * c_.gate_width;
        for (int g = threadIdx.x; g < int(c_.gate_width); g += block_threads) {
            s_.max[g] = c_.in.max == nullptr ? -infinity() : c_.in.max[from + g];
            s_.sum[g] = c_.in.max == nullptr ? A(0) : c_.in.sum[from + g];
        }
    }

    __device__ void end() const {
        if (!c_.additive || c_.out.max == nullptr) return;
        index const to = at_.state(c_) * c_.gate_width;
        for (int g = threadIdx.x; g < int(c_.gate_width); g += block_threads) {
            c_.out.max[to + g] = s_.max[g];
            c_.out.sum[to + g] = s_.sum[g];
        }
    }

    /// Asks for the tokens at the places [begin, begin + count) of a pass.
    __device__ void fetch(pass const& how, index begin, int count) {
        if constexpr (holds) {
            int const lane = threadIdx.x % warp_size;
#pragma unroll
            for (int i = 0; i < fetched<A, Rows>::tokens; ++i) {
                int const t = threadIdx.x / warp_size + i * block_warps;
                if (t < count) fetch_token(token_at(how, begin + t, at_.length), i, how, lane);
            }
        }
    }

    /// Leaves the tokens asked for in the stage. The block meets at the end.
    __device__ void put(pass const& how, index begin, int count) {
        int const lane = threadIdx.x % warp_size;
#pragma unroll
        for (int i = 0; i < fetched<A, Rows>::tokens; ++i) {
            int const t = threadIdx.x / warp_size + i * block_warps;
            if (t >= count) continue;
            index const token = token_at(how, begin + t, at_.length);
            if constexpr (!holds) fetch_scalars(token, i, how, lane);
            put_token(token, i, t, how, lane);
        }
        __syncthreads();
        if (!c_.additive) return;
        for (int g = threadIdx.x; g < int(c_.gate_width); g += block_threads) {
            weigh(g, how, count);
        }
        __syncthreads();
        if (c_.per_channel) return;
        for (int i = threadIdx.x; i < count * s_.padded; i += block_threads) {
            s_.k[i] *= s_.weight[i / s_.padded];
            s_.q[i] *= s_.share[i / s_.padded];
        }
        __syncthreads();
    }

private:
    static __device__ A infinity() { return A(HUGE_VAL); }

    __device__ void fetch_scalars(index token, int i, pass const& how, int lane) {
        if (!how.write) return;
        index const e = column_ + lane;
        auto const* const value = at_.key_side(c_.v, token) + e * c_.v.channel;
        if (e < c_.width) next_.v[i] = load_raw<A>(value, c_.v.kind);
        if (c_.delta) next_.beta[i] = load_raw<A>(at_.key_side(c_.beta, token), c_.beta.kind);
    }

    __device__ void fetch_token(index token, int i, pass const& how, int lane) {
        fetch_scalars(token, i, how, lane);
        auto const* const q = at_.query_side(c_.q, token);
        auto const* const k = at_.key_side(c_.k, token);
        auto const* const gate = at_.key_side(c_.gate, token);
        bool const keys = how.write && !c_.k.ones, gates = how.write && c_.gated;
        for_channels<Rows>(s_.depth, lane, [&](int r, int d) {
            if (how.read) next_.q[i][r] = load_raw<A>(q + d * c_.q.channel, c_.q.kind);
            if (keys) next_.k[i][r] = load_raw<A>(k + d * c_.k.channel, c_.k.kind);
            if (gates && d < int(c_.gate_width)) {
                next_.gate[i][r] = load_raw<A>(gate + d * c_.gate.channel, c_.gate.kind);
            }
        });
    }

    /// Channel d of a row, number r of its lane: from registers or from memory.
    template <class Held>
    __device__ A value(Held const& held, tensor const& x, std::byte const* row, int r,
                       int d) const {
        if constexpr (holds) {
            return widen<A>(held[r], x.kind);
        } else {
            return cuda::load<A>(row + d * x.channel, x.kind);
        }
    }

    __device__ void put_token(index token, int i, int t, pass const& how, int lane) {
        A* const q = s_.q + t * s_.padded;
        A* const k = s_.k + t * s_.padded;
        for (int d = s_.depth + lane; d < s_.padded; d += warp_size) q[d] = k[d] = A(0);
        put_mapped<Rows>(q, s_.depth, c_.feature, lane, [&](int r, int d) {
            return how.read ? value(next_.q[i], c_.q, at_.query_side(c_.q, token), r, d) : A(0);
        });
        // Values and strengths are read whether they count or not.
        bool const inside = how.write && column_ + lane < c_.width;
        s_.v[t * block_columns + lane] = inside ? widen<A>(next_.v[i], c_.v.kind) : A(0);
        if (lane == 0) {
            s_.beta[t] = how.write && c_.delta ? widen<A>(next_.beta[i], c_.beta.kind) : A(0);
        }
        if (!how.write) return;
        put_mapped<Rows>(k, s_.depth, c_.feature, lane, [&](int r, int d) {
            return c_.k.ones ? A(1) : value(next_.k[i], c_.k, at_.key_side(c_.k, token), r, d);
        });
        for_channels<Rows>(c_.gated ? s_.gates : 0, lane, [&](int r, int g) {
            A const x = g < int(c_.gate_width)
                            ? value(next_.gate[i], c_.gate, at_.key_side(c_.gate, token), r, g)
                            : A(0);
            s_.factor[t * s_.gates + g] = c_.additive ? x : exp(x);
        });
    }

    /// Walks one channel of the logits: the running maximum m and sum of exp(z - m) turn each into
    /// the factor exp(m_before - m) of the state, exp(z - m) of the key and 1 / sum of the query.
    __device__ void weigh(int g, pass const& how, int count) {
        A highest = s_.max[g], sum = s_.sum[g];
        for (int t = 0; t < count; ++t) {
            A weight = 0;
            if (how.write) {
                A& z = s_.factor[t * s_.gates + g];
                A const before = highest;
                highest = z > highest ? z : highest;
                A const reference = highest == -infinity() ? A(0) : highest;
                A const carry = exp(before - reference);
                weight = exp(z - reference);
                sum = sum * carry + weight;
                z = carry;
            }
            A const share = sum > A(0) ? A(1) / sum : A(0);
            if (c_.per_channel) {
                s_.k[t * s_.padded + g] *= weight;
                s_.q[t * s_.padded + g] *= share;
            } else {
                s_.weight[t] = weight;
                s_.share[t] = share;
            }
        }
        s_.max[g] = highest;
        s_.sum[g] = sum;
    }

    call<A> const& c_;
    location const& at_;
    stage<A> const& s_;
    index column_;
    fetched<A, Rows> next_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
