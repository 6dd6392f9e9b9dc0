/// @file
/// Gradients of sums of exponentials along lines. That of x is a walk the other way; those of the
/// coefficients are sums over all lines, each block's part of them added up in order.
///
/// Floor: x and d_y once through memory for every few exponentials; 8 flops an element of each.
#pragma once

#include <rondo/cuda/toeplitz.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// d_in = lambda b g + what d_out gives, g the states at the end of the walk back.
template <class A>
__global__ void leave_first_states(walk_space const space, walked const ends, walked const firsts,
                                   walked const b, walked const log_lambda, walked const to) {
    index const number = index(blockIdx.x) * blockDim.x + threadIdx.x;
    if (number >= space.total) return;
    for (index m = blockIdx.y; m < space.length; m += gridDim.y) {
        auto const coefficient = [&](walked const& of) {
            return load<A>(of.data + m * of.along + number % space.width * of.across, of.kind);
        };
        auto const state = [&](walked const& of) {
            return of.data == nullptr ? A(0)
                                      : load<A>(of.begin(space, number) + m * of.along, of.kind);
        };
        A const decay = exp(coefficient(log_lambda));
        store<A>(to.begin(space, number) + m * to.along, to.kind,
                 coefficient(b) * decay * state(ends) + state(firsts));
    }
}

/// The gradients of x and of the first state; e.x is that of y.
template <class A, int Rank, int CoefficientRank>
inline void encode_back(cudaStream_t stream, detail::encoding<A, Rank, CoefficientRank> e,
                        detail::operand<A, Rank> const& d_x, detail::operand<A, Rank> const& d_out,
                        detail::operand<A, Rank> const& d_in) {
    if (!given(d_x) && !given(d_in)) return;
    bool const moves = given(d_in), both = moves && given(d_out);
    auto const bytes = std::size_t(launch_sums<A, Rank>::size_of(d_in)) * sizeof(A);
    layout parts;
    std::size_t const ends_at = parts.take(moves ? bytes : 0);
    std::size_t const firsts_at = parts.take(both ? bytes : 0);
    scratch const memory(stream, parts.bytes);
    auto const states = [&](std::size_t at, bool wanted) {
        using states_type = detail::operand<A, Rank>;
        return wanted ? states_type(view<A, Rank>(memory.at<A>(at), d_in.extents)) : states_type{};
    };
    e.out = states(ends_at, moves);
    auto const firsts = states(firsts_at, both);
    encode_on(stream, e, d_x, true, given(d_out), [&](auto const& to) {
        if (!given(d_out)) return;
        auto last = e;
        last.x.data = nullptr;
        last.in = d_out, last.out = firsts;
        bool const back = e.direction == detail::direction_kind::causal;
        sweep_on(stream, last, {}, to, 0, {back, true}, true);
    });
    if (!moves) return;
    walk_space const space(detail::space_of(d_in, Rank - 1, Rank - 2));
    if (space.total * space.length == 0) return;
    constexpr unsigned threads = 128, most = 65535;
    dim3 const grid(unsigned((space.total + threads - 1) / threads),
                    unsigned(std::min<index>(space.length, most)));
    auto const over_m = [](auto const& x) { return walked(detail::lines_over_m(x, 0)); };
    leave_first_states<A><<<grid, threads, 0, stream>>>(
        space, over_m(e.out), over_m(firsts), over_m(e.b), over_m(e.log_lambda), over_m(d_in));
    expect("launch of leave_first_states", cudaGetLastError());
}

/// Exponentials whose sensitivities a block walks at once.
inline constexpr int sensitive = 4;

/// One walk over a part of all lines of an axis, for the gradients of its coefficients.
struct sensitivity_call {
    walk_space space;
    walked x, d_y, log_lambda, in, d_out;
    index exponentials, lines, parts;
    bool reversed, strict;
    double* sums;  // [part, of b | of log_lambda / b | of the last state, exponential, channel]

    __device__ index place(index step) const { return reversed ? space.length - 1 - step : step; }
};

/// A state h and its derivative p by log_lambda: p <- lambda (h + p) before h moves on.
template <class A>
struct sensitive_state {
    A h = 0, p = 0;

    __device__ A take(A x, A lambda) {
        A const decayed = lambda * h;
        p = lambda * p + decayed;
        h = decayed + x;
        return decayed;
    }
    /// Behind n more tokens, which by themselves end in `own`.
    __device__ void move(A lambda, int n, sensitive_state const& own) {
        A const decay = to_the_power(lambda, n);
        p = decay * (p + A(n) * h) + own.p;
        h = decay * h + own.h;
    }
};

template <class A, class Elements>
__global__ void __launch_bounds__(walk_block::threads, 2)
    sensitivities_of_lines(sensitivity_call const c) {
    constexpr int run = walk_block::run, threads = walk_block::threads;
    using state = sensitive_state<A>;
    __shared__ alignas(16) char memory[sensitive * threads * sizeof(state)];
    __shared__ double sums_of_slices[threads];
    auto* const ends = reinterpret_cast<state*>(memory);
    element const x_kind = Elements::of(c.x.kind), y_kind = Elements::of(c.d_y.kind);
    int const lane = threadIdx.x, slice = threadIdx.y, lanes = blockDim.x, slices = blockDim.y;
    int const me = slice * lanes + lane;
    index const channel = index(blockIdx.x) * lanes + lane, length = c.space.length;
    bool const inside = channel < c.space.width;
    index const mine = inside ? channel : 0, first = index(blockIdx.y) * sensitive;
    int const count = int(c.exponentials - first < sensitive ? c.exponentials - first : sensitive);
    index const way = c.reversed ? -1 : 1, tile = index(slices) * run;
    auto const at = [&](walked const& of, std::byte* line, int m) {
        return load<A>(line + (first + m) * of.along, of.kind);
    };
    // This thread joins the runs of those exponentials of its channel.
    auto const joins = [&](int m) { return m < count && m % slices == slice; };
    A lambda[sensitive];
    double of_b[sensitive] = {}, of_lambda[sensitive] = {}, of_state[sensitive] = {};
#pragma unroll
    for (int m = 0; m < sensitive; ++m) {
        bool const real = m < count;
        lambda[m] =
            real ? exp(at(c.log_lambda, c.log_lambda.data + mine * c.log_lambda.across, m)) : A(0);
    }
    index const part = blockIdx.z, last_line = c.lines * (part + 1) / c.parts;
    for (index line = c.lines * part / c.parts; line < last_line; ++line) {
        index const number = line * c.space.width + mine;
        std::byte *const x = c.x.begin(c.space, number), *const d_y = c.d_y.begin(c.space, number);
        std::byte* const in = c.in.begin(c.space, number);
        std::byte* const d_out = c.d_out.begin(c.space, number);
        state states[sensitive];
#pragma unroll
        for (int m = 0; m < sensitive; ++m) {
            if (joins(m) && in != nullptr) states[m].h = at(c.in, in, m);
        }
        for (index begin = 0; begin < length; begin += tile) {
            index const rest = length - begin - index(slice) * run;
            int const left = !inside || rest < 0 ? 0 : rest < run ? int(rest) : run;
            index const place = c.place(begin + index(slice) * run);
            raw_element<A> x_raw[run], y_raw[run];
            A values[run], gradients[run];
#pragma unroll
            for (int i = 0; i < run; ++i) {
                if (i >= left) continue;
                x_raw[i] = load_raw<A>(x + (place + i * way) * c.x.along, x_kind);
                y_raw[i] = load_raw<A>(d_y + (place + i * way) * c.d_y.along, y_kind);
            }
#pragma unroll
            for (int i = 0; i < run; ++i) {
                values[i] = i < left ? widen<A>(x_raw[i], x_kind) : A(0);
                gradients[i] = i < left ? widen<A>(y_raw[i], y_kind) : A(0);
            }
#pragma unroll
            for (int m = 0; m < sensitive; ++m) {
                state own;
#pragma unroll
                for (int i = 0; i < run; ++i) {
                    if (i < left) own.take(values[i], lambda[m]);
                }
                ends[m * threads + me] = own;
            }
            __syncthreads();
            index const tokens = length - begin;
#pragma unroll
            for (int m = 0; m < sensitive; ++m) {
                if (!joins(m)) continue;
                for (int s = 0; s < slices; ++s) {
                    index const more = tokens - index(s) * run;
                    state& end = ends[m * threads + s * lanes + lane];
                    state const own = end;
                    end = states[m];
                    states[m].move(lambda[m], more < 0 ? 0 : more < run ? int(more) : run, own);
                }
            }
            __syncthreads();
#pragma unroll
            for (int m = 0; m < sensitive; ++m) {
                state now = ends[m * threads + me];
                A to_b = 0, to_lambda = 0;
#pragma unroll
                for (int i = 0; i < run; ++i) {
                    A const decayed = now.take(values[i], lambda[m]);
                    to_b += gradients[i] * (c.strict ? decayed : now.h);
                    to_lambda += gradients[i] * now.p;
                }
                // Sums over many tokens are kept in double, those over a run need not be.
                of_b[m] += double(to_b), of_lambda[m] += double(to_lambda);
            }
        }
#pragma unroll
        for (int m = 0; m < sensitive; ++m) {
            if (!joins(m) || d_out == nullptr) continue;
            of_state[m] += double(at(c.d_out, d_out, m)) * double(states[m].p);
        }
    }
#pragma unroll
    for (int m = 0; m < sensitive; ++m) {
        double* const to =
            c.sums + (part * 3 * c.exponentials + first + m) * c.space.width + channel;
        index const each = c.exponentials * c.space.width;
#pragma unroll
        for (int which = 0; which < 2; ++which) {
            __syncthreads();
            sums_of_slices[me] = which == 0 ? of_b[m] : of_lambda[m];
            __syncthreads();
            double sum = 0;
            for (int s = 0; s < slices; ++s) sum += sums_of_slices[s * lanes + lane];
            if (slice == 0 && m < count && inside) to[which * each] = sum;
        }
        if (joins(m) && inside) to[2 * each] = of_state[m];
    }
}

/// A warp adds up the parts of one coefficient.
template <class A>
__global__ void leave_coefficients(double const* sums, index parts, index exponentials,
                                   index channels, walked const b, walked const d_b,
                                   walked const d_log_lambda) {
    index const number = (index(blockIdx.x) * blockDim.x + threadIdx.x) / warp_size;
    index const each = exponentials * channels;
    if (number >= each) return;
    index const m = number / channels, channel = number % channels;
    int const lane = threadIdx.x % warp_size;
    double whole[3] = {};
    for (index part = lane; part < parts; part += warp_size) {
        for (int i = 0; i < 3; ++i) whole[i] += sums[(part * 3 + i) * each + number];
    }
    for (double& sum : whole) sum = sum_of_warp(sum);
    if (lane > 0) return;
    auto const at = [&](walked const& of) { return of.data + m * of.along + channel * of.across; };
    if (d_b.data != nullptr) store<A>(at(d_b), d_b.kind, A(whole[0]));
    if (d_log_lambda.data == nullptr) return;
    double const factor = double(load<A>(at(b), b.kind));
    store<A>(at(d_log_lambda), d_log_lambda.kind, A(factor * whole[1] + whole[2]));
}

/// d_b and d_log_lambda of e from d_y, and from d_out where that is given.
template <class A, int Rank, int CoefficientRank>
inline void differentiate(cudaStream_t stream, detail::encoding<A, Rank, CoefficientRank> const& e,
                          detail::operand<A, Rank> const& d_y,
                          detail::operand<A, Rank> const& d_out,
                          detail::operand<A, CoefficientRank> const& d_b,
                          detail::operand<A, CoefficientRank> const& d_log_lambda) {
    auto const orders = detail::sweeps_of(e.direction);
    index const exponentials = e.exponentials(), channels = e.channels();
    index const each = exponentials * channels;
    if (each == 0) return;
    for (int k = 0; k < e.shape.axes(); ++k) {
        auto const space = detail::space_along(e.x, e.shape, k);
        auto const over_m = [&](auto const& x) { return walked(detail::lines_over_m(x, k)); };
        walk_block const block(space.count() * space.width, space.length, walk_block::threads);
        index const across = (channels + block.lanes - 1) / block.lanes;
        index const groups = (exponentials + sensitive - 1) / sensitive;
        index const wanted = 4 * walk_block::enough / (across * groups);
        index const parts = std::clamp<index>(wanted, 1, std::max<index>(space.count(), 1));
        index const all = parts * index(orders.size());
        scratch const memory(stream, std::size_t(all * 3 * each) * sizeof(double));
        double* const sums = memory.at<double>(0);
        for (std::size_t i = 0; i < orders.size(); ++i) {
            sensitivity_call const c{walk_space(space),
                                     walked(detail::lines_along(e.x, e.shape, k)),
                                     walked(detail::lines_along(d_y, e.shape, k)),
                                     over_m(e.log_lambda),
                                     over_m(e.in),
                                     over_m(d_out),
                                     exponentials,
                                     space.count(),
                                     parts,
                                     orders[i].reversed,
                                     orders[i].strict,
                                     sums + index(i) * parts * 3 * each};
            dim3 const grid{unsigned(across), unsigned(groups), unsigned(parts)};
            with_elements<A>({c.x.kind, c.d_y.kind}, [&](auto elements) {
                sensitivities_of_lines<A, decltype(elements)>
                    <<<grid, block.shape(), 0, stream>>>(c);
            });
            expect("launch of sensitivities_of_lines", cudaGetLastError());
        }
        constexpr index threads = 128;
        leave_coefficients<A><<<unsigned((each * warp_size + threads - 1) / threads),
                                unsigned(threads), 0, stream>>>(
            sums, all, exponentials, channels, over_m(e.b), over_m(d_b), over_m(d_log_lambda));
        expect("launch of leave_coefficients", cudaGetLastError());
    }
}

}  // namespace rondo::inline RONDO_ISA::cuda
