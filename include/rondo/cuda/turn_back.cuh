/// @file
/// Gradients of tokens turned by their places, where rows or sums over all tokens are needed: those
/// through P and through powers of a permutation, and those of the angles and of Householder's
/// vector. Each part of a head's rows leaves sums of its own, which are added up in order: the same
/// bits always.
///
/// Floor: x, d_y and d_x once through memory.
#pragma once

#include <rondo/cuda/scratch.cuh>
#include <rondo/cuda/turn_rows_back.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// A block: some angles of a part of a head's rows, where each pair is turned alone. A thread takes
/// one angle and a slice of the rows, sequences of a token after each other.
template <class A, class Elements, bool Words>
__global__ void __launch_bounds__(turn_threads)
    turn_pairs_back(turn_back_plan<A> const __grid_constant__ p) {
    constexpr int rows_at_once = 4;
    __shared__ double sums[turn_threads];
    turn_plan<A> const& c = p.c;
    element const x_kind = Elements::of(p.x.kind), g_kind = Elements::of(c.x.kind),
                  d_kind = Elements::of(c.y.kind);
    int const lanes = blockDim.x, slice = threadIdx.y, slices = blockDim.y;
    index const i = index(blockIdx.y) * lanes + threadIdx.x, unit = blockIdx.x;
    index const head = unit / p.parts, all = c.batch * c.length;
    index const share = unit % p.parts * slices + slice, shares = p.parts * slices;
    index const first = all * share / shares, last = all * (share + 1) / shares;
    bool const real = i < c.angles.block, pairs = c.kind != turn_kind::doubled;
    double const theta = real ? c.angles.at(c.shared ? 0 : head, i) : 0;
    double sum = 0;
    for (int axis = 0; real && first < last && axis <= c.places.axes; ++axis) {
        // Behind the last axis comes the channel without a partner.
        bool const leftover = axis == c.places.axes;
        if (leftover && (i > 0 || !c.leftover())) break;
        index const angle = leftover ? c.angles.count : axis * c.angles.block + i;
        if (!leftover && angle >= c.angles.count) continue;
        turned_pair const pair(c, angle);
        index token = first / c.batch, b = first % c.batch, known = -1;
        turn<A> by{A(1), A(0)};
        double s = 0;
        auto const load_pair = [&](raw_element<A>(&to)[2], tensor const& from, index row_token,
                                   index row_batch, element kind, bool both) {
            std::byte const* const row = c.row(from, row_batch, head, row_token);
            if constexpr (Words) {
                load_raw<A, 2>(to, row + pair.near * from.channel, kind);
            } else {
                to[0] = load_raw<A>(row + pair.near * from.channel, kind);
                to[1] = both ? load_raw<A>(row + pair.far * from.channel, kind) : 0;
            }
        };
        for (index r = first; r < last; r += rows_at_once) {
            raw_element<A> x[rows_at_once][2], g[rows_at_once][2];
            index tokens[rows_at_once], batches[rows_at_once];
#pragma unroll
            for (int j = 0; j < rows_at_once; ++j) {
                tokens[j] = token, batches[j] = b;
                if (r + j >= last) continue;
                load_pair(g[j], c.x, token, b, g_kind, pair.from_both);
                if (!leftover) load_pair(x[j], p.x, token, b, x_kind, pairs);
                if (++b == c.batch) b = 0, ++token;
            }
#pragma unroll
            for (int j = 0; j < rows_at_once; ++j) {
                if (r + j >= last) continue;
                if (tokens[j] != known && !leftover) {
                    known = tokens[j];
                    index const place = c.place(known);
                    bool const still = c.places.alone(place);
                    s = still ? 0 : double(c.places.along(place, axis));
                    by = {A(1), A(0)};
                    if (!still) turn_by(s, theta, by);
                }
                A back[2] = {widen<A>(g[j][0], g_kind),
                             pair.from_both ? widen<A>(g[j][1], g_kind) : A(0)};
                rotate(by, back[0], back[1]);
                if (!leftover) {
                    A const a = widen<A>(x[j][0], x_kind);
                    A const other = pairs ? widen<A>(x[j][1], x_kind) : A(0);
                    sum += s * double(a * back[1] - other * back[0]);
                }
                if (c.y.data == nullptr) continue;
                std::byte* const to = c.row(c.y, batches[j], head, tokens[j]);
                if constexpr (Words) {
                    store<A, 2>(to + pair.near * c.y.channel, d_kind, back);
                } else {
                    store<A>(to + pair.near * c.y.channel, d_kind, back[0]);
                    if (pair.to_both) store<A>(to + pair.far * c.y.channel, d_kind, back[1]);
                }
            }
        }
    }
    sums[slice * lanes + threadIdx.x] = sum;
    __syncthreads();
    if (slice > 0 || !real) return;
    for (int other = 1; other < slices; ++other) sum += sums[other * lanes + threadIdx.x];
    p.sums[unit * p.entries() + i] = sum;
}

/// A warp adds up the parts of one entry, [head, entry] of `count` from `first` on.
template <class A>
__global__ void leave_turn_sums(turn_back_plan<A> const __grid_constant__ p, index first,
                                index count, std::byte* to, element kind, index row, index step) {
    index const number = (index(blockIdx.x) * blockDim.x + threadIdx.x) / warp_size;
    if (number >= p.c.heads * count) return;
    index const head = number / count, i = number % count;
    int const lane = threadIdx.x % warp_size;
    double sum = 0;
    for (index part = lane; part < p.parts; part += warp_size) {
        sum += p.sums[(head * p.parts + part) * p.entries() + first + i];
    }
    sum = sum_of_warp(sum);
    if (lane == 0) store<A>(to + head * row + i * step, kind, A(sum));
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
        index const rows = call.batch * call.length, heads = std::max<index>(call.heads, 1);
        whole_rows_ = plan.basis != basis_kind::identity || call.permuted();
        whole_rows_ ? plan_rows(rows, heads) : plan_pairs(rows, heads);
        units_ = call.heads * plan_.parts;
        sums_at_ = bytes_.take(std::size_t(units_ * plan_.entries()) * sizeof(double));
        wide_at_ = bytes_.take(whole_rows_ && shared_ == 0 ? std::size_t(units_ * of_warp_) : 0);
    }

    /// Whether a thread for each pair would not do.
    bool needed() const {
        return plan_.entries() > 0 || (whole_rows_ && plan_.c.y.data != nullptr);
    }

    void operator()(cudaStream_t stream) const {
        if (units_ == 0 || call_.channels == 0) return;
        scratch const memory(stream, bytes_.bytes);
        turn_back_plan<A> p = plan_;
        p.sums = memory.at<double>(sums_at_);
        if (whole_rows_) {
            p.wide = shared_ > 0 ? nullptr : memory.at<A>(wide_at_);
            auto const blocks = unsigned((units_ + warps_ - 1) / warps_);
            turn_rows_back<A><<<blocks, unsigned(warps_ * warp_size), shared_, stream>>>(p);
            expect("launch of turn_rows_back", cudaGetLastError());
        } else {
            turn_pairs_of(stream, p);
        }
        leave(stream, p, 0, p.d_angles, call_.d_theta);
        leave(stream, p, p.d_angles, p.d_channels, call_.d_vector);
    }

private:
    /// Warps of a block, as many as shared memory has rows for. As many parts as keep the chip
    /// busy: each leaves sums of its own.
    void plan_rows(index rows, index heads) {
        constexpr index shared_bytes = 48 * 1024, most = turn_threads / warp_size;
        constexpr index many = 4096, few = 256;
        of_warp_ = std::max<index>(plan_.elements() * index(sizeof(A)), 1);
        index const fit = std::min(shared_bytes / of_warp_, most);
        warps_ = std::max<index>(fit, 1);
        shared_ = fit > 0 ? std::size_t(warps_ * of_warp_) : 0;
        plan_.parts = std::clamp<index>(((fit > 0 ? many : few) + heads - 1) / heads, 1,
                                        std::max<index>(rows / turn_rows, 1));
    }
    /// Threads of a block along the angles, slices of rows across.
    void plan_pairs(index rows, index heads) {
        lanes_ = 8;
        while (lanes_ < plan_.d_angles && lanes_ < 64) lanes_ *= 2;
        across_ = (plan_.d_angles + lanes_ - 1) / lanes_;
        constexpr index enough = 4096;
        index const slices = turn_threads / lanes_;
        plan_.parts = std::clamp<index>(enough / (heads * std::max<index>(across_, 1)), 1,
                                        std::max<index>(rows / (8 * slices), 1));
    }

    void turn_pairs_of(cudaStream_t stream, turn_back_plan<A> const& p) const {
        dim3 const grid{unsigned(units_), unsigned(across_)};
        dim3 const block{unsigned(lanes_), unsigned(turn_threads / lanes_)};
        bool const writes = p.c.y.data != nullptr;
        bool const words = p.c.kind == turn_kind::interleaved && p.c.channels % 2 == 0 &&
                           in_words(p.x) && in_words(p.c.x) && (!writes || in_words(p.c.y));
        with_elements<A>(
            {p.x.kind, p.c.x.kind, writes ? p.c.y.kind : p.x.kind}, [&](auto elements) {
                using Elements = decltype(elements);
                if constexpr (Elements::narrow) {
                    if (words) {
                        turn_pairs_back<A, Elements, true><<<grid, block, 0, stream>>>(p);
                        return;
                    }
                }
                turn_pairs_back<A, Elements, false><<<grid, block, 0, stream>>>(p);
            });
        expect("launch of turn_pairs_back", cudaGetLastError());
    }

    void leave(cudaStream_t stream, turn_back_plan<A> const& p, index first, index count,
               detail::operand<A, 2> const& to) const {
        index const size = detail::element_size(to.kind), items = call_.heads * count * warp_size;
        if (items == 0) return;
        leave_turn_sums<A>
            <<<unsigned((items + turn_threads - 1) / turn_threads), turn_threads, 0, stream>>>(
                p, first, count, const_cast<std::byte*>(to.data), to.kind, to.strides[0] * size,
                to.strides[1] * size);
        expect("launch of leave_turn_sums", cudaGetLastError());
    }

    detail::turn_call<A> const& call_;
    turn_back_plan<A> plan_;
    bool whole_rows_;
    index warps_ = 0, of_warp_ = 0, units_ = 0, lanes_ = 0, across_ = 0;
    std::size_t shared_ = 0, sums_at_ = 0, wide_at_ = 0;
    layout bytes_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
