/// @file
/// What comes before the walks of a plain `backward`: rows mapped once and kept in the accumulator
/// type, the weights of the additive decays, and the gradients of outputs before the division.
#pragma once

#include <rondo/cuda/adjoint/call.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// A warp takes the row of one head: queries first, then the key side.
template <class A>
__global__ void map_rows(adjoint_call<A> const __grid_constant__ a) {
    call<A> const& c = a.c;
    warp_item const at(c.query_heads + c.heads);
    if (at.row >= a.tokens) return;
    int const depth = int(c.depth);
    if (at.head < c.query_heads) {
        A* const to = a.q + a.query(at.row, at.head) * c.depth;
        load_mapped(to, a.at(c.q, at.row, at.head), c.q, depth, c.feature, at.lane);
        return;
    }
    index const head = at.head - c.query_heads, row = a.key(at.row, head);
    load_mapped(a.k + row * c.depth, c.k.ones ? nullptr : a.at(c.k, at.row, head), c.k, depth,
                c.feature, at.lane);
    auto const* const v = a.at(c.v, at.row, head);
    for (index e = at.lane; e < a.columns; e += warp_size) {
        a.v[row * a.columns + e] = e < c.width ? load<A>(v + e * c.v.channel, c.v.kind) : A(1);
    }
    if (c.delta && at.lane == 0) a.beta[row] = load<A>(a.at(c.beta, at.row, head), c.beta.kind);
    if (!c.gated || c.additive) return;
    auto const* const gate = a.at(c.gate, at.row, head);
    for (index g = at.lane; g < a.gates(); g += warp_size) {
        a.factor[row * a.gates() + g] = exp(load<A>(gate + g * c.gate.channel, c.gate.kind));
    }
}

/// A thread walks one channel of the logits: the running maximum m and sum D of exp(z - m) are
/// factors exp(m_before - m) of the state, weights exp(z - m) of keys and shares 1 / D of queries.
template <class A>
__global__ void weigh_logits(adjoint_call<A> const __grid_constant__ a) {
    call<A> const& c = a.c;
    index const item = index(blockIdx.x) * blockDim.x + threadIdx.x;
    index const unit = item / a.gates(), g = item % a.gates();
    if (unit >= c.sequences * c.heads) return;
    location const where(c, unit / c.heads, unit % c.heads * c.group);
    A const infinity = A(HUGE_VAL);
    A highest = -infinity, sum = 0;
    for (int p = 0; p < c.pass_count; ++p) {
        pass const& how = c.passes[p];
        if (!how.keep) {
            bool const known = c.in.max != nullptr;
            highest = known ? c.in.max[unit * a.gates() + g] : -infinity;
            sum = known ? c.in.sum[unit * a.gates() + g] : A(0);
        }
        for (index place = 0; place < where.length; ++place) {
            index const token = token_at(how, place, where.length);
            index const to = a.key(a.row(where, token), where.head) * a.gates() + g;
            if (how.write) {
                A const z =
                    load<A>(where.key_side(c.gate, token) + g * c.gate.channel, c.gate.kind);
                A const before = highest;
                highest = z > highest ? z : highest;
                A const reference = highest == -infinity ? A(0) : highest;
                A const carry = exp(before - reference), weight = exp(z - reference);
                sum = sum * carry + weight;
                a.factor[to] = carry;
                a.weight[to] = weight;
            }
            if (how.read) a.share[to] = sum > A(0) ? A(1) / sum : A(0);
        }
    }
}

/// What a reader sees before the division: with f = scale / (den + eps),
/// d_num = f d_o and d_den = -f (d_o . num) / (den + eps).
template <class A>
__global__ void differentiate_outputs(adjoint_call<A> const __grid_constant__ a) {
    call<A> const& c = a.c;
    warp_item const at(c.query_heads);
    if (at.row >= a.tokens) return;
    auto const* const d_o = a.at(c.o, at.row, at.head);
    auto const gradient = [&](index e) { return load<A>(d_o + e * c.o.channel, c.o.kind); };
    index const first = a.query(at.row, at.head) * a.columns;
    A factor = c.scale;
    if (c.normalized) {
        A const* const num = a.num + first;
        A const whole = num[c.width] + c.eps;
        factor /= whole;
        A product = 0;
        for (index e = at.lane; e < c.width; e += warp_size) product += gradient(e) * num[e];
        product = sum_of_warp(product);
        if (at.lane == 0) a.d_num[first + c.width] = -factor * product / whole;
    }
    for (index e = at.lane; e < c.width; e += warp_size) a.d_num[first + e] = factor * gradient(e);
}

}  // namespace rondo::inline RONDO_ISA::cuda
