/// @file
/// Gradients of tokens turned by their places, where rows or sums over all tokens are needed: those
/// through P and through powers of a permutation, and those of the angles and of Householder's
/// vector. A warp walks a part of a head's rows; parts are added up in order, the same bits always.
///
/// Floor: x, d_y and d_x once through memory.
#pragma once

#include <rondo/cuda/scratch.cuh>
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
        each([&](int j) {
            if (p_.d_channels > 0 && !still_[j]) reflect(x_ + j * D, back_ + j * D);
        });
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
    __device__ void reflect(A const* x, A const* g) {
        A const* const v = c_.vector + head_ * c_.channels;
        A along_x = 0, along_g = 0, square = 0;
        for (index d = lane_; d < c_.channels; d += warp_size) {
            along_x += v[d] * x[d];
            along_g += v[d] * g[d];
            square += v[d] * v[d];
        }
        along_x = sum_of_warp(along_x), along_g = sum_of_warp(along_g);
        square = sum_of_warp(square);
        A const f = square > A(0) ? A(2) / square : A(0);
        for (index d = lane_; d < c_.channels; d += warp_size) {
            A const term = f * (f * along_x * along_g * v[d] - along_x * g[d] - along_g * x[d]);
            sums_[p_.d_angles + d] += double(term);
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

/// A thread adds up the parts of one entry, [head, entry] of `count` from `first` on.
template <class A>
__global__ void leave_turn_sums(turn_back_plan<A> const __grid_constant__ p, index first,
                                index count, std::byte* to, element kind, index row, index step) {
    index const number = index(blockIdx.x) * blockDim.x + threadIdx.x;
    if (number >= p.c.heads * count) return;
    index const head = number / count, i = number % count;
    double sum = 0;
    for (index part = 0; part < p.parts; ++part) {
        sum += p.sums[(head * p.parts + part) * p.entries() + first + i];
    }
    store<A>(to + head * row + i * step, kind, A(sum));
}

/// The gradients of a checked call where they are more than pairs turned back.
template <class A>
class turn_back_launch {
public:
    turn_back_launch(turn_plan<A> const& plan, detail::turn_call<A> const& call)
        : call_(call),
          plan_{plan,
                call.x,
                call.width(),
                1,
                given(call.d_theta) ? call.block() : 0,
                given(call.d_vector) ? call.channels : 0,
                nullptr,
                nullptr} {
        constexpr index shared_bytes = 48 * 1024, most = turn_threads / warp_size;
        index const each = std::max<index>(plan_.elements() * index(sizeof(A)), 1);
        index const fit = std::min(shared_bytes / each, most);
        warps_ = std::max<index>(fit, 1);
        shared_ = fit > 0 ? std::size_t(warps_ * each) : 0;
        // As many parts as keep the chip busy; each leaves sums of its own.
        constexpr index many = 4096, few = 256;
        index const rows = call.batch * call.length, heads = std::max<index>(call.heads, 1);
        plan_.parts = std::clamp<index>(((fit > 0 ? many : few) + heads - 1) / heads, 1,
                                        std::max<index>(rows / turn_rows, 1));
        units_ = call.heads * plan_.parts;
        sums_at_ = bytes_.take(std::size_t(units_ * plan_.entries()) * sizeof(double));
        wide_at_ = bytes_.take(fit > 0 ? 0 : std::size_t(units_ * each));
    }

    /// Whether a thread for each pair would not do.
    bool needed() const {
        turn_plan<A> const& c = plan_.c;
        bool const turns = c.basis != basis_kind::identity || c.kind == turn_kind::permuted;
        return plan_.entries() > 0 || (turns && c.y.data != nullptr);
    }

    void operator()(cudaStream_t stream) const {
        if (units_ == 0 || call_.channels == 0) return;
        scratch const memory(stream, bytes_.bytes);
        turn_back_plan<A> p = plan_;
        p.sums = memory.at<double>(sums_at_);
        p.wide = shared_ > 0 ? nullptr : memory.at<A>(wide_at_);
        auto const blocks = unsigned((units_ + warps_ - 1) / warps_);
        turn_rows_back<A><<<blocks, unsigned(warps_ * warp_size), shared_, stream>>>(p);
        expect("launch of turn_rows_back", cudaGetLastError());
        leave(stream, p, 0, p.d_angles, call_.d_theta);
        leave(stream, p, p.d_angles, p.d_channels, call_.d_vector);
    }

private:
    void leave(cudaStream_t stream, turn_back_plan<A> const& p, index first, index count,
               detail::operand<A, 2> const& to) const {
        index const size = detail::element_size(to.kind), items = call_.heads * count;
        if (items == 0) return;
        leave_turn_sums<A>
            <<<unsigned((items + turn_threads - 1) / turn_threads), turn_threads, 0, stream>>>(
                p, first, count, const_cast<std::byte*>(to.data), to.kind, to.strides[0] * size,
                to.strides[1] * size);
        expect("launch of leave_turn_sums", cudaGetLastError());
    }

    detail::turn_call<A> const& call_;
    turn_back_plan<A> plan_;
    index warps_, units_;
    std::size_t shared_, sums_at_, wide_at_;
    layout bytes_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
