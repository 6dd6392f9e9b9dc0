/// @file
/// Whole rows of gradients turned back, where P, a permutation or a reflection joins channels: a
/// warp walks a part of a head's rows.
#pragma once

#include <rondo/cuda/turn.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// What a walk back needs beside the plan, whose x and y are the gradients of y and of x.
template <class A>
struct turn_back_plan {
    turn_plan<A> c;
    tensor x;
    index width;                 // of a row of y
    index parts;                 // of a head's rows
    index d_angles, d_channels;  // sums for theta and for the vector; 0: not wanted
    double* sums;                // [head, part, d_angles, then d_channels]
    A* wide;                     // rows that no shared memory holds

    __host__ __device__ index entries() const { return d_angles + d_channels; }
    /// Elements of a warp's rows: of the gradient of y, then of that of P x, of P x and of x.
    __host__ __device__ index elements() const { return turn_rows * (width + 3 * c.channels); }
};

/// A warp's way back through some rows of a head, `turn_rows` at a time.
template <class A>
class row_turner {
public:
    __device__ row_turner(turn_back_plan<A> const& plan, index unit, A* memory)
        : p_(plan),
          c_(plan.c),
          head_(unit / plan.parts),
          sums_(plan.sums + unit * plan.entries()),
          g_(memory),
          back_(g_ + turn_rows * plan.width),
          px_(back_ + turn_rows * c_.channels),
          x_(px_ + turn_rows * c_.channels),
          lane_(threadIdx.x % warp_size) {
        for (int j = 0; j < turn_rows; ++j) heads_[j] = head_;
        for (index i = lane_; i < p_.d_angles; i += warp_size) sums_[i] = 0;
        for (index d = lane_; d < p_.d_channels; d += warp_size) sums_[p_.d_angles + d] = 0;
    }

    __device__ void take(index first, int count) {
        bool const trivial = c_.basis == basis_kind::identity, sums = p_.entries() > 0;
        index const D = c_.channels;
        count_ = count;
        each([&](int j) {
            batch_[j] = (first + j) / c_.length;
            token_[j] = (first + j) % c_.length;
            place_[j] = c_.place(token_[j]);
            still_[j] = c_.places.alone(place_[j]);
        });
        __syncwarp();
        load_rows(g_, c_.x, p_.width);
        if (sums) load_rows(x_, p_.x, D);
        __syncwarp();
        bool const reflected = !trivial && p_.d_angles > 0;
        if (reflected) apply_basis(c_, x_, px_, heads_, count, lane_);
        __syncwarp();
        c_.kind == turn_kind::permuted ? permute() : turn_angles(reflected ? px_ : x_);
        __syncwarp();
        if (p_.d_channels > 0) reflect();
        if (c_.y.data == nullptr) return;
        if (!trivial) apply_basis(c_, back_, g_, heads_, count, lane_, true);
        __syncwarp();
        each([&](int j) {
            // Tokens left alone are left alone by P, too.
            A const* const from = (trivial || still_[j] ? back_ : g_) + j * D;
            std::byte* const to = c_.row(c_.y, batch_[j], head_, token_[j]);
            for (index d = lane_; d < D; d += warp_size) {
                store<A>(to + d * c_.y.channel, c_.y.kind, from[d]);
            }
        });
    }

private:
    template <class Body>
    __device__ void each(Body const& body) {
#pragma unroll
        for (int j = 0; j < turn_rows; ++j) {
            if (j < count_) body(j);
        }
    }

    __device__ void load_rows(A* to, tensor const& from, index width) {
        std::byte const* rows[turn_rows];
#pragma unroll
        for (int j = 0; j < turn_rows; ++j) {
            int const known = j < count_ ? j : 0;
            rows[j] = c_.row(from, batch_[known], head_, token_[known]);
        }
        for (index d = lane_; d < width; d += warp_size) {
#pragma unroll
            for (int j = 0; j < turn_rows; ++j) {
                to[j * width + d] = load<A>(rows[j] + d * from.channel, from.kind);
            }
        }
    }

    /// Channel d of y is some channel of P x.
    __device__ void permute() {
        index const D = c_.channels, block = D / c_.places.axes;
        int const* const cycle = c_.cycles + (c_.shared ? 0 : head_) * 4 * block;
        for (index d = lane_; d < D; d += warp_size) {
            int const axis = int(d / block), i = int(d % block);
            int const start = cycle[block + i], length = cycle[2 * block + i];
            each([&](int j) {
                index const step = still_[j] ? 0 : c_.places.along(place_[j], axis);
                index const at = start + (cycle[3 * block + i] + step) % length;
                back_[j * D + axis * block + cycle[at]] = g_[j * p_.width + d];
            });
        }
    }

    /// Theta i turns angle i of every axis, by that axis' coordinate s: with the gradient turned
    /// back, (r, m), the pair (a, b) of P x adds s (a m - b r).
    __device__ void turn_angles(A const* px) {
        index const D = c_.channels, count = c_.angles.count;
        bool const pairs = c_.kind != turn_kind::doubled;
        for (index i = lane_; i < c_.angles.block; i += warp_size) {
            double const theta = c_.angles.at(c_.shared ? 0 : head_, i);
            double sum = 0;
            for (int axis = 0; axis < c_.places.axes; ++axis) {
                index const angle = axis * c_.angles.block + i;
                if (angle >= count) break;
                turned_pair const pair(c_, angle);
                each([&](int j) {
                    A const* const g = g_ + j * p_.width;
                    A r = g[pair.near], m = g[pair.far];
                    double const s = still_[j] ? 0 : double(c_.places.along(place_[j], axis));
                    turn<A> by{A(1), A(0)};
                    if (!still_[j]) turn_by(s, theta, by);
                    rotate(by, r, m);
                    back_[j * D + pair.near] = r;
                    if (pairs) back_[j * D + pair.far] = m;
                    if (p_.d_angles == 0) return;
                    A const a = px[j * D + pair.near], b = pairs ? px[j * D + pair.far] : A(0);
                    sum += s * double(a * m - b * r);
                });
            }
            if (p_.d_angles > 0) sums_[i] += sum;
        }
        for (int j = lane_; c_.leftover() && j < count_; j += warp_size) {
            back_[j * D + D - 1] = g_[j * p_.width + D - 1];
        }
    }

    /// Adds the gradient of Householder's vector from x and the gradient g of P x: with
    /// f = 2 / v.v, d_v = -f ((v.x) g + (v.g) x) + f^2 (v.x) (v.g) v.
    __device__ void reflect() {
        index const D = c_.channels;
        A const* const v = c_.vector + head_ * D;
        A square = 0, along_x[turn_rows] = {}, along_g[turn_rows] = {};
        for (index d = lane_; d < D; d += warp_size) {
            square += v[d] * v[d];
            each([&](int j) {
                along_x[j] += v[d] * x_[j * D + d];
                along_g[j] += v[d] * back_[j * D + d];
            });
        }
        square = sum_of_warp(square);
        A const f = square > A(0) ? A(2) / square : A(0);
        each([&](int j) {
            along_x[j] = still_[j] ? A(0) : f * sum_of_warp(along_x[j]);
            along_g[j] = still_[j] ? A(0) : f * sum_of_warp(along_g[j]);
        });
        for (index d = lane_; d < D; d += warp_size) {
            A sum = 0;
            each([&](int j) {
                sum += along_x[j] * along_g[j] * v[d] - along_x[j] * back_[j * D + d] -
                       along_g[j] * x_[j * D + d];
            });
            sums_[p_.d_angles + d] += double(sum);
        }
    }

    turn_back_plan<A> const& p_;
    turn_plan<A> const& c_;
    index head_;
    double* sums_;
    A *g_, *back_, *px_, *x_;
    int lane_, count_ = 0;
    index heads_[turn_rows], batch_[turn_rows], token_[turn_rows], place_[turn_rows];
    bool still_[turn_rows];
};

template <class A>
__global__ void __launch_bounds__(turn_threads)
    turn_rows_back(turn_back_plan<A> const __grid_constant__ p) {
    extern __shared__ double2 turn_shared[];
    int const warp = threadIdx.x / warp_size, warps = blockDim.x / warp_size;
    index const unit = index(blockIdx.x) * warps + warp;
    if (unit >= p.c.heads * p.parts) return;
    A* const shared = reinterpret_cast<A*>(turn_shared) + warp * p.elements();
    row_turner<A> rows(p, unit, p.wide == nullptr ? shared : p.wide + unit * p.elements());
    index const all = p.c.batch * p.c.length, part = unit % p.parts;
    index const end = all * (part + 1) / p.parts;
    for (index r = all * part / p.parts; r < end; r += turn_rows) {
        rows.take(r, end - r < turn_rows ? int(end - r) : turn_rows);
    }
}

}  // namespace rondo::inline RONDO_ISA::cuda
