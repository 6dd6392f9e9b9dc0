/// @file
/// Sums of exponentials of the distance along lines. A block walks neighbouring lines a tile of
/// tokens at a time, a run of it for each thread: the states at the ends of earlier runs, decayed,
/// are those that a run starts from.
///
/// Floor: x and y once through memory; 4 multiply-adds an element and exponential.
#pragma once

#include <rondo/cuda/lines.cuh>
#include <rondo/cuda/scratch.cuh>
#include <rondo/position/toeplitz_call.hpp>

namespace rondo::inline RONDO_ISA::cuda {

/// Exponentials of one launch: their states fit in shared memory, several times.
template <class A>
inline constexpr int most_exponentials = sizeof(A) == 4 ? 16 : 8;

/// One walk over all lines of an axis, for some of the exponentials. `in` and `out` are states,
/// `along` being the step between exponentials. Without x it is zero, without b all b are 1, before
/// the decay of a strict reader; y and states that are empty are not wanted.
struct sweep_call {
    walk_space space;
    walked x, y, b, log_lambda, in, out;
    int exponentials;
    bool reversed, strict, accumulate;

    __device__ index place(index step) const { return reversed ? space.length - 1 - step : step; }
};

template <class A>
__device__ inline A to_the_power(A x, int n) {
    A result = 1;
    for (; n > 0; n /= 2, x *= x) {
        if (n % 2 == 1) result *= x;
    }
    return result;
}

/// The states that the runs of a tile start from, in the place of those that each of them ends with
/// by itself: (exponential, lane) by (exponential, lane), `tokens` being what is left of the line.
template <class A, int Most>
__device__ inline void join_states(A (&ends)[Most][walk_block::threads],
                                   A (&states)[Most][warp_size], A const (&lambda)[Most][warp_size],
                                   int exponentials, index tokens) {
    constexpr int run = walk_block::run;
    int const lane = threadIdx.x, lanes = blockDim.x, slices = blockDim.y;
    int const whole = tokens >= index(slices) * run ? slices : int(tokens / run);
    for (int m = threadIdx.y; m < exponentials; m += slices) {
        A const decay = lambda[m][lane], of_run = to_the_power(decay, run);
        A h = states[m][lane];
        for (int s = 0; s < slices; ++s) {
            A& end = ends[m][s * lanes + lane];
            A const own = end;
            end = h;
            if (s < whole) {
                h = of_run * h + own;
            } else if (s == whole) {  // a run cut short, maybe of no token
                h = to_the_power(decay, int(tokens % run)) * h + own;
            }
        }
        states[m][lane] = h;
    }
}

template <class A, class Elements>
__global__ void __launch_bounds__(walk_block::threads, 4) sweep_lines(sweep_call const c) {
    constexpr int run = walk_block::run, most = most_exponentials<A>;
    __shared__ A ends[most][walk_block::threads], states[most][warp_size];
    __shared__ A lambda[most][warp_size], weight[most][warp_size];
    element const x_kind = Elements::of(c.x.kind), y_kind = Elements::of(c.y.kind);
    int const lane = threadIdx.x, slice = threadIdx.y, lanes = blockDim.x, slices = blockDim.y;
    index const number = index(blockIdx.x) * lanes + lane, length = c.space.length;
    bool const inside = number < c.space.total;
    index const mine = inside ? number : 0, channel = mine % c.space.width;
    index const way = c.reversed ? -1 : 1, start = c.place(index(slice) * run);
    index const x_step = way * c.x.along, y_step = way * c.y.along, tile = index(slices) * run;
    std::byte* x = c.x.begin(c.space, mine) + start * c.x.along;
    std::byte* y = c.y.begin(c.space, mine) + start * c.y.along;
    std::byte* const in = c.in.begin(c.space, mine);
    for (int m = slice; m < c.exponentials; m += slices) {
        auto const at = [&](walked const& of) {
            return load<A>(of.data + m * of.along + channel * of.across, of.kind);
        };
        A const decay = exp(at(c.log_lambda));
        lambda[m][lane] = decay;
        weight[m][lane] = c.b.data == nullptr ? A(1) : c.strict ? at(c.b) * decay : at(c.b);
        states[m][lane] = in == nullptr ? A(0) : load<A>(in + m * c.in.along, c.in.kind);
    }
    __syncthreads();
    for (index begin = 0; begin < length; begin += tile) {
        index const rest = length - begin - index(slice) * run;
        int const left = !inside || rest < 0 ? 0 : rest < run ? int(rest) : run;
        int const given = c.x.data == nullptr ? 0 : left, wanted = c.y.data == nullptr ? 0 : left;
        raw_element<A> raw[run];
        A values[run], sums[run] = {};
#pragma unroll
        for (int i = 0; i < run; ++i) raw[i] = i < given ? load_raw<A>(x + i * x_step, x_kind) : 0;
#pragma unroll
        for (int i = 0; i < run; ++i) values[i] = i < given ? widen<A>(raw[i], x_kind) : A(0);
        for (int m = 0; m < c.exponentials; ++m) {
            A const decay = lambda[m][lane];
            A end = 0;
#pragma unroll
            for (int i = 0; i < run; ++i) {
                if (i < left) end = decay * end + values[i];
            }
            ends[m][slice * lanes + lane] = end;
        }
        __syncthreads();
        join_states(ends, states, lambda, c.exponentials, length - begin);
        __syncthreads();
        for (int m = 0; m < c.exponentials; ++m) {
            A const decay = lambda[m][lane], by = weight[m][lane];
            A h = ends[m][slice * lanes + lane];
#pragma unroll
            for (int i = 0; i < run; ++i) {
                if (c.strict) sums[i] += by * h;
                h = decay * h + values[i];
                if (!c.strict) sums[i] += by * h;
            }
        }
#pragma unroll
        for (int i = 0; i < run; ++i) {
            if (i >= wanted) continue;
            A const before = c.accumulate ? load<A>(y + i * y_step, y_kind) : A(0);
            store<A>(y + i * y_step, y_kind, before + sums[i]);
        }
        x += tile * x_step, y += tile * y_step;
    }
    if (c.out.data == nullptr || !inside) return;
    __syncthreads();
    std::byte* const out = c.out.begin(c.space, mine);
    for (int m = slice; m < c.exponentials; m += slices) {
        store<A>(out + m * c.out.along, c.out.kind, states[m][lane]);
    }
}

/// Copies tokens as they are, or as another element type: [..., time, channel] as lines.
template <class A>
__global__ void copy_lines(walk_space const space, walked const from, walked const to) {
    index const number = index(blockIdx.x) * blockDim.x + threadIdx.x;
    if (number >= space.total) return;
    for (index t = blockIdx.y; t < space.length; t += gridDim.y) {
        store<A>(to.begin(space, number) + t * to.along, to.kind,
                 load<A>(from.begin(space, number) + t * from.along, from.kind));
    }
}

template <class A, int Rank>
inline void copy_on(cudaStream_t stream, detail::operand<A, Rank> const& from,
                    detail::operand<A, Rank> const& to, index tokens) {
    detail::token_shape const line;
    auto lines = detail::space_along(from, line, 0);
    lines.length = tokens;
    walk_space const space(lines);
    if (space.total * tokens == 0) return;
    constexpr unsigned threads = 128, most = 65535;
    dim3 const grid(unsigned((space.total + threads - 1) / threads),
                    unsigned(std::min<index>(tokens, most)));
    copy_lines<A><<<grid, threads, 0, stream>>>(space, walked(detail::lines_along(from, line, 0)),
                                                walked(detail::lines_along(to, line, 0)));
    expect("launch of copy_lines", cudaGetLastError());
}

/// Launches of one sweep over e.x along axis k, a group of exponentials each: y, or with
/// `accumulate` y +, what they give. b is e.b, or empty.
template <class A, int Rank, int CoefficientRank>
inline void sweep_on(cudaStream_t stream, detail::encoding<A, Rank, CoefficientRank> const& e,
                     detail::operand<A, CoefficientRank> const& b,
                     detail::operand<A, Rank> const& y, int k, detail::sweep_order const& order,
                     bool accumulate) {
    auto const s = e.sweep_along(k, order);
    constexpr index group = most_exponentials<A>;
    index first = 0;
    do {
        auto const from = [&](auto const& x) {
            walked result(detail::lines_over_m(x, k));
            if (result.data != nullptr) result.data += first * result.along;
            return result;
        };
        sweep_call const c{walk_space(s.space),
                           walked(s.x),
                           walked(detail::lines_along(y, e.shape, k)),
                           from(b),
                           from(e.log_lambda),
                           from(e.in),
                           from(e.out),
                           int(std::min<index>(e.exponentials() - first, group)),
                           order.reversed,
                           order.strict,
                           accumulate || first > 0};
        if (c.space.total == 0) return;
        walk_block const block(c.space.total, c.space.length, walk_block::threads);
        element const x_kind = given(e.x) ? c.x.kind : c.y.kind;
        with_elements<A>({x_kind, given(y) ? c.y.kind : x_kind}, [&](auto elements) {
            sweep_lines<A, decltype(elements)><<<block.blocks, block.shape(), 0, stream>>>(c);
        });
        expect("launch of sweep_lines", cudaGetLastError());
        first += group;
    } while (first < e.exponentials());
}

/// Where the sums of several launches lie: in A, since a 16-bit output would round each of them.
template <class A, int Rank>
class launch_sums {
public:
    launch_sums(cudaStream_t stream, detail::operand<A, Rank> const& y, bool several)
        : stream_(stream),
          y_(y),
          apart_(several && given(y) && y.kind != detail::element_traits<A>::kind),
          memory_(stream, apart_ ? std::size_t(size_of(y)) * sizeof(A) : 0) {}

    detail::operand<A, Rank> to() const {
        if (!apart_) return y_;
        return detail::operand<A, Rank>(view<A, Rank>(memory_.template at<A>(0), y_.extents));
    }
    void leave() const {
        if (apart_) copy_on(stream_, to(), y_, y_.extents[Rank - 2]);
    }

    static index size_of(detail::operand<A, Rank> const& x) {
        index size = 1;
        for (index extent : x.extents) size *= extent;
        return size;
    }

private:
    cudaStream_t stream_;
    detail::operand<A, Rank> const& y_;
    bool apart_;
    scratch memory_;
};

/// y = what the sweeps over e.x give; with `transposed` every sweep goes the other way.
/// `finish(to)` may add to the sums.
template <class A, int Rank, int CoefficientRank, class Finish>
inline void encode_on(cudaStream_t stream, detail::encoding<A, Rank, CoefficientRank> const& e,
                      detail::operand<A, Rank> const& y, bool transposed, bool more,
                      Finish const& finish) {
    auto const orders = detail::sweeps_of(e.direction);
    bool const once = e.shape.axes() * index(orders.size()) == 1 &&
                      e.exponentials() <= most_exponentials<A> && !more;
    launch_sums<A, Rank> const sums(stream, y, !once);
    auto const to = sums.to();
    bool begun = false;
    for (int k = 0; k < e.shape.axes(); ++k) {
        for (detail::sweep_order order : orders) {
            order.reversed ^= transposed;
            sweep_on(stream, e, e.b, to, k, order, std::exchange(begun, true));
        }
    }
    finish(to);
    sums.leave();
}

}  // namespace rondo::inline RONDO_ISA::cuda
