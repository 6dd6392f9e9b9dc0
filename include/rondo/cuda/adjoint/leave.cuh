/// @file
/// The last of a plain `backward`: gradients back through the feature maps into the user's memory,
/// each rounded once.
#pragma once

#include <rondo/cuda/adjoint/call.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// The slope of a feature map of one channel; of silu_half_unit without its norm.
template <class A>
__device__ inline A slope(feature_kind feature, A x) {
    switch (feature) {
        case feature_kind::elu_plus_one: return x > A(0) ? A(1) : exp(x);
        case feature_kind::exp: return exp(x);
        case feature_kind::relu: return x > A(0) ? A(1) : A(0);
        case feature_kind::silu:
        case feature_kind::silu_half_unit: {
            A const s = A(1) / (A(1) + exp(-x));
            return s + x * s * (A(1) - s);
        }
        default: return A(1);
    }
}

/// A warp takes the gradient by a mapped row y to that by the row itself. With y = u / |u| it is
/// (dy - y (y . dy)) / |u| before the slope.
template <class A>
__device__ inline void leave_mapped(feature_kind feature, index channels, std::byte const* from,
                                    tensor const& x, A const* d_y, std::byte* to, tensor const& d_x,
                                    int lane) {
    A along = 0, squares = 0;
    bool const unit = feature == feature_kind::silu_half_unit;
    auto const raw = [&](index d) { return load<A>(from + d * x.channel, x.kind); };
    if (unit) {
        for (index d = lane; d < channels; d += warp_size) {
            A const u = mapped(feature, raw(d));
            squares += u * u;
            along += u * d_y[d];
        }
        squares = sum_of_warp(squares);
        along = sum_of_warp(along) / squares;
    }
    A const inverse = unit ? A(1) / sqrt(squares) : A(1);
    for (index d = lane; d < channels; d += warp_size) {
        A const d_u = unit ? (d_y[d] - mapped(feature, raw(d)) * along) * inverse : d_y[d];
        store(to + d * d_x.channel, d_x.kind, d_u * slope(feature, raw(d)));
    }
}

/// A warp takes the row of one head: queries first, then the key side.
template <class A>
__global__ void leave_rows(adjoint_call<A> const __grid_constant__ a) {
    call<A> const& c = a.c;
    warp_item const at(c.query_heads + c.heads);
    if (at.row >= a.tokens) return;
    if (at.head < c.query_heads) {
        if (a.d_q.data == nullptr) return;
        index const first = a.query(at.row, at.head) * c.depth;
        leave_mapped(c.feature, c.depth, a.at(c.q, at.row, at.head), c.q, a.sum_q + first,
                     a.at(a.d_q, at.row, at.head), a.d_q, at.lane);
        return;
    }
    index const head = at.head - c.query_heads, row = a.key(at.row, head);
    if (a.d_k.data != nullptr) {
        index const first = row * c.depth;
        leave_mapped(c.feature, c.depth, a.at(c.k, at.row, head), c.k, a.sum_k + first,
                     a.at(a.d_k, at.row, head), a.d_k, at.lane);
    }
    auto const whole = [&](tensor const& x, A const* from, index count) {
        if (x.data == nullptr) return;
        auto* const to = a.at(x, at.row, head);
        for (index i = at.lane; i < count; i += warp_size) {
            store(to + i * x.channel, x.kind, from[i]);
        }
    };
    whole(a.d_v, a.sum_v + row * a.columns, c.width);
    whole(a.d_beta, a.sum_beta + row, 1);
    if (!a.constant) whole(a.d_gate, a.sum_gate + row * a.gates(), a.gates());
}

/// A block adds up the gradient of the gate that all tokens of a head share.
template <class A>
__global__ void leave_constant(adjoint_call<A> const __grid_constant__ a) {
    constexpr int threads = 256;
    __shared__ double sums[threads];
    int const mine = threadIdx.x;
    double sum = 0;
    for (index row = mine; row < a.tokens; row += threads) {
        sum += double(a.sum_gate[a.key(row, blockIdx.x)]);
    }
    sums[mine] = sum;
    for (int half = threads / 2; half > 0; half /= 2) {
        __syncthreads();
        if (mine < half) sums[mine] += sums[mine + half];
    }
    if (mine == 0) store(a.d_gate.data + blockIdx.x * a.d_gate.head, a.d_gate.kind, A(sums[0]));
}

}  // namespace rondo::inline RONDO_ISA::cuda
