/// @file
/// What the walks of a chain leave, added up in a fixed order: tiles of columns, then query heads.
/// No sum depends on which block was first.
#pragma once

#include <rondo/cuda/adjoint/call.cuh>

namespace rondo::inline RONDO_ISA::cuda {

template <class A>
__device__ inline void add_up(A& to, A value, bool add) {
    to = add ? to + value : value;
}

/// The parts of one entry, summed over the tiles; nothing without an array.
template <class A>
__device__ inline A sum_of_tiles(adjoint_call<A> const& a, A const* parts, index at, index each) {
    A sum = 0;
    for (index tile = 0; parts != nullptr && tile < a.tiles; ++tile) sum += parts[tile * each + at];
    return sum;
}

/// A warp takes the key/value head of a token and all its readers. With q' and k' the weighted
/// rows, a token adds q' dq' - k' dk' to the gradients of log decays; of additive logits, k' dk' to
/// its own and -q' dq' / D to the gradient of the sum.
template <class A>
__global__ void fold_rows(adjoint_call<A> const __grid_constant__ a) {
    call<A> const& c = a.c;
    warp_item const at(c.heads);
    if (at.row >= a.tokens) return;
    index const row = a.key(at.row, at.head), each = a.tokens * c.query_heads * c.depth;
    index const queries = a.query(at.row, at.head * c.group);
    A all_terms = 0, all_sums = 0;
    for (index d = at.lane; d < c.depth; d += warp_size) {
        index const gate = row * a.gates() + (c.per_channel ? d : 0);
        A const share = c.additive ? a.share[gate] : A(1);
        A const weight = c.additive ? a.weight[gate] : A(1);
        A readers = 0, d_k = 0, d_reading = 0;
        for (index g = 0; g < c.group; ++g) {
            index const entry = (queries + g) * c.depth + d;
            A const d_q = sum_of_tiles(a, a.by_query, entry, each) * share;
            readers += a.q[entry] * d_q;
            if (a.by_query != nullptr) add_up(a.sum_q[entry], d_q, a.add);
            d_k += sum_of_tiles(a, a.by_key, entry, each);
            d_reading += sum_of_tiles(a, a.by_reading_key, entry, each);
        }
        A const key = a.k[row * c.depth + d];
        if (a.by_key != nullptr) {
            add_up(a.sum_k[row * c.depth + d], d_k * weight + d_reading, a.add);
        }
        A const own = c.additive ? key * weight * d_k : readers + key * (d_reading - d_k);
        A const of_sum = -readers * share;
        if (a.terms != nullptr && c.per_channel) {
            a.terms[gate] = own;
            if (c.additive) a.sums[gate] = of_sum;
        }
        all_terms += own;
        all_sums += of_sum;
    }
    all_terms = sum_of_warp(all_terms);
    all_sums = sum_of_warp(all_sums);
    if (a.terms != nullptr && !c.per_channel && at.lane == 0) {
        a.terms[row] = all_terms;
        if (c.additive) a.sums[row] = all_sums;
    }
    if (a.by_value == nullptr) return;
    for (index e = at.lane; e < a.columns; e += warp_size) {
        A sum = 0;
        for (index g = 0; g < c.group; ++g) sum += a.by_value[(queries + g) * a.columns + e];
        add_up(a.sum_v[row * a.columns + e], sum, a.add);
    }
    if (!c.delta || at.lane != 0) return;
    A sum = 0;
    for (index g = 0; g < c.group; ++g) {
        sum += sum_of_tiles(a, a.by_beta, queries + g, a.tokens * c.query_heads);
    }
    add_up(a.sum_beta[row], sum, a.add);
}

/// A thread turns the terms between two stored states into the gradients of one channel's log
/// decays: d log f_t = <S_n, dS_n> + the terms of t and those behind it up to n. A decay of 0 is no
/// place to move from: its gradient is 0.
template <class A>
__global__ void sum_decays(adjoint_call<A> const __grid_constant__ a) {
    call<A> const& c = a.c;
    index const item = index(blockIdx.x) * blockDim.x + threadIdx.x;
    index const g = item % a.gates(), slot = item / a.gates() % a.slots;
    index const unit = item / a.gates() / a.slots;
    if (unit >= c.sequences * c.heads) return;
    location const where(c, unit / c.heads, unit % c.heads * c.group);
    index const first = slot * anchor_step;
    if (first >= where.length) return;
    index const end = first + anchor_step < where.length ? first + anchor_step : where.length;
    index const units = c.sequences * c.query_heads;
    A sum = 0;
    for (index reader = 0; reader < c.group; ++reader) {
        index const query = where.sequence * c.query_heads + where.query_head + reader;
        A const* const anchor = a.anchors + (query * a.slots + slot) * c.depth;
        index const each = units * a.slots * c.depth;
        index const last = c.per_channel ? g + 1 : c.depth;
        for (index d = c.per_channel ? g : 0; d < last; ++d) {
            sum += sum_of_tiles(a, anchor, d, each);
        }
    }
    pass const& how = c.passes[0];
    for (index place = end; place-- > first;) {
        index const token = token_at(how, place, where.length);
        index const at = a.key(a.row(where, token), where.head) * a.gates() + g;
        A const before = sum;
        sum += a.terms[at];
        A const value = a.factor[at] > A(0) ? (c.on_write ? before : sum) : A(0);
        add_up(a.sum_gate[at], value, a.add);
    }
}

/// A thread walks one channel of the logits back with the gradient of the sum D:
/// dz_j = k'_j dk'_j + exp(z_j - m_j) dD. An earlier maximum is a smaller reference.
template <class A>
__global__ void sum_logits(adjoint_call<A> const __grid_constant__ a) {
    call<A> const& c = a.c;
    index const item = index(blockIdx.x) * blockDim.x + threadIdx.x;
    index const unit = item / a.gates(), g = item % a.gates();
    if (unit >= c.sequences * c.heads) return;
    location const where(c, unit / c.heads, unit % c.heads * c.group);
    A behind = a.d_out.sum == nullptr ? A(0) : a.d_out.sum[unit * a.gates() + g];
    for (int p = c.pass_count; p > 0; --p) {
        pass const& how = c.passes[p - 1];
        for (index place = where.length; place-- > 0;) {
            index const token = token_at(how, place, where.length);
            index const at = a.key(a.row(where, token), where.head) * a.gates() + g;
            if (how.read) behind += a.sums[at];
            if (!how.write) continue;
            add_up(a.sum_gate[at], a.terms[at] + behind * a.weight[at], a.add);
            behind *= a.factor[at];
        }
    }
    if (a.d_in.sum != nullptr) a.d_in.sum[unit * a.gates() + g] = behind;
    if (a.d_in.max != nullptr) a.d_in.max[unit * a.gates() + g] = 0;
}

/// The gradients by the state handed in, summed over the query heads that share it.
template <class A>
__global__ void fold_states(adjoint_call<A> const __grid_constant__ a) {
    call<A> const& c = a.c;
    index const item = index(blockIdx.x) * blockDim.x + threadIdx.x;
    index const entries = c.depth * a.columns, unit = item / entries, entry = item % entries;
    if (unit >= c.sequences * c.heads) return;
    index const first = unit / c.heads * c.query_heads + unit % c.heads * c.group;
    A sum = 0;
    for (index g = 0; g < c.group; ++g) sum += a.by_state[(first + g) * entries + entry];
    index const d = entry / a.columns, e = entry % a.columns;
    if (e < c.width) {
        a.d_in.s[(unit * c.depth + d) * c.width + e] = sum;
    } else if (a.d_in.normalizer != nullptr) {
        a.d_in.normalizer[unit * c.depth + d] = sum;
    }
}

}  // namespace rondo::inline RONDO_ISA::cuda
