/// @file
/// Element-wise recurrences along lines. A block walks a few neighbouring lines, a tile of tokens
/// at a time; a tile is cut into runs, one for each thread of a line, which are joined as the
/// recurrence's monoid allows. Memory is read and written once.
#pragma once

#include <rondo/cuda/lines.cuh>
#include <rondo/cuda/place.cuh>
#include <rondo/scan.hpp>

namespace rondo::inline RONDO_ISA {
namespace cuda {

using detail::recurrence_kind;

/// y_t = exp(log_a_t) y_(t-1) + x_t over a run: y after = decay (y before) + value.
template <class A>
struct linear_run {
    static constexpr bool gated = true;
    A decay = 1, value = 0;

    static __device__ linear_run state(A y) { return {A(1), y}; }
    static __device__ A nothing() { return A(0); }
    static __device__ A factor(A log_a) { return quick_exp(log_a); }
    __device__ void take(A x, A a) {
        value = a * value + x;
        decay *= a;
    }
    /// On the way back: the gradient of a token, which passes a part of it on.
    __device__ A take_and_pass(A d_y, A part) {
        A const r = value + d_y;
        value = part * r;
        decay *= part;
        return r;
    }
    /// This run, and then another. Nothing stays nothing, whatever it grows by.
    __device__ linear_run then(linear_run const& next) const {
        A const carried = value == A(0) ? A(0) : next.decay * value;
        return {decay * next.decay, carried + next.value};
    }
    __device__ A result() const { return value; }
};

/// y_t = log(exp(y_(t-1)) + exp(x_t)): a maximum, and the sum of exp(x - maximum). -inf is kept as
/// the lowest finite number, so that differences of maxima are never NaN.
template <class A>
struct log_sum_run {
    static constexpr bool gated = false;
    static constexpr A lowest =
        std::is_same_v<A, float> ? A(-3.402823466e38F) : A(-1.7976931348623157e308);
    A max = lowest, sum = 0;

    static __device__ log_sum_run state(A y) { return {bounded(y), A(1)}; }
    static __device__ A nothing() { return -A(HUGE_VAL); }
    static __device__ A factor(A) { return A(1); }
    __device__ void take(A x, A) { *this = then({bounded(x), A(1)}); }
    __device__ log_sum_run then(log_sum_run const& next) const {
        bool const grows = max < next.max;
        A const part = quick_exp(grows ? max - next.max : next.max - max);
        return grows ? log_sum_run{next.max, sum * part + next.sum}
                     : log_sum_run{max, sum + part * next.sum};
    }
    __device__ A result() const {
        if (max <= lowest) return nothing();
        return max >= -lowest ? A(HUGE_VAL) : max + quick_log(sum);
    }

private:
    static __device__ A bounded(A x) { return x < lowest ? lowest : x > -lowest ? -lowest : x; }
};

template <class A, recurrence_kind Kind>
using run_of = std::conditional_t<Kind == recurrence_kind::linear, linear_run<A>, log_sum_run<A>>;

/// A checked call as the kernel takes it. What is empty is not wanted.
struct scan_call {
    walk_space space;
    walked x, log_a, y, in, out;
    bool reversed;
    void* kept = nullptr;  // [tile, neighbour]: the runs in front of tiles

    explicit scan_call(detail::scan_problem const& from)
        : space(from.space),
          x(from.x),
          log_a(from.log_a),
          y(from.y),
          in(from.in),
          out(from.out),
          reversed(from.reversed) {}

    __device__ index place(index step) const { return reversed ? space.length - 1 - step : step; }
};

/// Joins the runs of the slices: `before` are those of all earlier ones, `mine` becomes that of
/// all.
template <class Run, int Count>
__device__ inline void join_runs(Run* runs, Run (&mine)[Count], Run (&before)[Count], int slice) {
    int const lane = threadIdx.x, lanes = blockDim.x, slices = blockDim.y;
    int side = 0;
    auto const cell = [&](int n, int of_slice) -> Run& {
        return runs[(2 * n + side) * walk_block::threads + of_slice * lanes + lane];
    };
    auto const publish = [&] {
#pragma unroll
        for (int n = 0; n < Count; ++n) cell(n, slice) = mine[n];
        __syncthreads();
    };
    publish();
    for (int step = 1; step < slices; step *= 2) {
#pragma unroll
        for (int n = 0; n < Count; ++n) {
            if (slice >= step) mine[n] = cell(n, slice - step).then(mine[n]);
        }
        side = 1 - side;
        publish();
    }
#pragma unroll
    for (int n = 0; n < Count; ++n) {
        if (slice > 0) before[n] = cell(n, slice - 1);
        mine[n] = cell(n, slices - 1);
    }
}

/// A thread takes `Count` neighbours.
template <class A, recurrence_kind Kind, class Elements, int Count>
__global__ void __launch_bounds__(walk_block::threads, 4) walk_lines(scan_call const c) {
    using Run = run_of<A, Kind>;
    constexpr int run = walk_block::run;
    __shared__ alignas(16) char memory[Count * 2 * walk_block::threads * sizeof(Run)];
    auto* const runs = reinterpret_cast<Run*>(memory);
    element const x_kind = Elements::of(c.x.kind), a_kind = Elements::of(c.log_a.kind),
                  y_kind = Elements::of(c.y.kind);
    index const number = (index(blockIdx.x) * blockDim.x + threadIdx.x) * Count;
    bool const inside = number < c.space.total;
    index const mine = inside ? number : 0, length = c.space.length;
    index const way = c.reversed ? -1 : 1, start = c.place(index(threadIdx.y) * run);
    std::byte* x = c.x.begin(c.space, mine) + start * c.x.along;
    std::byte* log_a = Run::gated ? c.log_a.begin(c.space, mine) + start * c.log_a.along : nullptr;
    std::byte* y = c.y.begin(c.space, mine) + start * c.y.along;
    index const x_step = way * c.x.along, a_step = way * c.log_a.along, y_step = way * c.y.along;
    std::byte* const in = c.in.begin(c.space, mine);
    Run carried[Count];
    for (int n = 0; n < Count; ++n) {
        A const state = in == nullptr ? Run::nothing() : load<A>(in + n * c.in.across, c.in.kind);
        carried[n] = Run::state(state);
    }
    index const tile = index(blockDim.y) * run;
    auto* kept = static_cast<Run*>(c.kept) + mine;
    for (index begin = 0; begin < length; begin += tile) {
        index const rest = length - begin - index(threadIdx.y) * run;
        int const left = !inside || rest < 0 ? 0 : rest < run ? int(rest) : run;
        if (c.kept != nullptr && threadIdx.y == 0 && inside) {
            for (int n = 0; n < Count; ++n) kept[n] = carried[n];
        }
        kept += c.space.total;
        raw_element<A> x_raw[run][Count], a_raw[run][Count];
#pragma unroll
        for (int i = 0; i < run; ++i) {
            if (i >= left) continue;
            load_raw<A, Count>(x_raw[i], x + i * x_step, x_kind);
            if constexpr (Run::gated) load_raw<A, Count>(a_raw[i], log_a + i * a_step, a_kind);
        }
        A value[run][Count], factor[run][Count];
#pragma unroll
        for (int i = 0; i < run; ++i) {
#pragma unroll
            for (int n = 0; n < Count; ++n) {
                value[i][n] = widen<A>(x_raw[i][n], x_kind);
                if constexpr (Run::gated) factor[i][n] = Run::factor(widen<A>(a_raw[i][n], a_kind));
            }
        }
        Run whole[Count], now[Count];
#pragma unroll
        for (int i = 0; i < run; ++i) {
#pragma unroll
            for (int n = 0; n < Count; ++n) {
                if (i < left) whole[n].take(value[i][n], factor[i][n]);
            }
        }
        join_runs(runs, whole, now, int(threadIdx.y));
#pragma unroll
        for (int n = 0; n < Count; ++n) {
            now[n] = carried[n].then(now[n]);
            carried[n] = carried[n].then(whole[n]);
        }
#pragma unroll
        for (int i = 0; i < run; ++i) {
            if (i >= left || c.y.data == nullptr) continue;
            A result[Count];
#pragma unroll
            for (int n = 0; n < Count; ++n) {
                now[n].take(value[i][n], factor[i][n]);
                result[n] = now[n].result();
            }
            store<A, Count>(y + i * y_step, y_kind, result);
        }
        x += tile * x_step, log_a += tile * a_step, y += tile * y_step;
        __syncthreads();
    }
    if (!inside || threadIdx.y != 0 || c.out.data == nullptr) return;
    std::byte* const out = c.out.begin(c.space, mine);
    for (int n = 0; n < Count; ++n) {
        store<A>(out + n * c.out.across, c.out.kind, carried[n].result());
    }
}

/// visit(elements, how many neighbours a thread takes) for operands of a walk; what is empty fits.
template <class A, class Visit, class... Walked>
inline void with_neighbours(walk_space const& space, Visit const& visit, walked const& first,
                            Walked const&... more) {
    auto const kind = [&](walked const& x) { return x.data == nullptr ? first.kind : x.kind; };
    auto const pairs = [&](walked const& x) { return x.data == nullptr || x.pairs(space); };
    with_elements<A>({first.kind, kind(more)...}, [&](auto elements) {
        if constexpr (decltype(elements)::narrow) {
            constexpr index fair = 2 * (warp_size / 2) * walk_block::enough;
            if (space.total >= fair && pairs(first) && (pairs(more) && ...)) {
                return visit(elements, std::integral_constant<int, 2>{});
            }
        }
        visit(elements, std::integral_constant<int, 1>{});
    });
}

/// Computes a checked call.
template <class A, recurrence_kind Kind>
inline void scan_forward(cudaStream_t stream, scan_call const& c) {
    if (c.space.total == 0) return;
    auto const launch = [&]<class Elements, int Count>(Elements,
                                                       std::integral_constant<int, Count>) {
        walk_block const block(c.space.total / Count, c.space.length, walk_block::threads);
        walk_lines<A, Kind, Elements, Count><<<block.blocks, block.shape(), 0, stream>>>(c);
        expect("launch of walk_lines", cudaGetLastError());
    };
    with_neighbours<A>(c.space, launch, c.x, c.log_a, c.y);
}

}  // namespace cuda

namespace exec {

template <detail::recurrence_kind Kind, class A>
inline void run_scan_on(cuda const& place, detail::scan_kind<Kind, A>,
                        detail::scan_problem const& from) {
    rondo::cuda::scan_forward<A, Kind>(place.stream, rondo::cuda::scan_call(from));
}

}  // namespace exec
}  // namespace rondo::inline RONDO_ISA
