/// @file
/// Gradients of element-wise recurrences along lines: a walk forwards keeps what stands in front of
/// each tile, one backwards computes a tile's outputs again and takes their gradients with it.
///
/// Floor: x, log_a, d_y, d_x and d_log_a once through memory; x and log_a are read twice.
#pragma once

#include <rondo/cuda/scan.cuh>
#include <rondo/cuda/scratch.cuh>

namespace rondo::inline RONDO_ISA {
namespace cuda {

/// A checked call of backward; what is empty is not wanted.
struct scan_back_call {
    scan_call forth;
    walked d_y, d_x, d_log_a, d_out, d_in;
    bool again;  // outputs are needed

    scan_back_call(detail::scan_problem const& from, bool outputs)
        : forth(from),
          d_y(from.d_y),
          d_x(from.d_x),
          d_log_a(from.d_log_a),
          d_out(from.d_out),
          d_in(from.d_in),
          again(outputs) {}
};

/// How a token's gradient r = d_y + what comes from behind goes on: `pass` r to the one before,
/// and `weight` r to what is not the plain sum: log_a of scan, x of log_cumsum_exp.
template <class A>
struct passed_on {
    A pass, weight;

    /// Moves `before` past the token: d_log_a_t = a_t y_(t-1) r_t.
    static __device__ passed_on from(linear_run<A>& before, A x, A factor) {
        A const weight = factor * before.value;
        before.take(x, factor);
        return {factor, weight};
    }

    /// d_x_t = exp(x_t - y_t) r_t, and exp(y_(t-1) - y_t) r_t is passed on. From maxima and sums,
    /// that large logits lose no digits; an empty window passes nothing.
    static __device__ passed_on from(log_sum_run<A>& before, A x, A) {
        log_sum_run<A> const one = log_sum_run<A>::state(x);
        bool const grows = before.max < one.max;
        A const part = quick_exp(grows ? before.max - one.max : one.max - before.max);
        A const rescaled = grows ? before.sum * part : before.sum, mine = grows ? A(1) : part;
        A const sum = rescaled + mine, inverse = A(1) / sum;
        passed_on const result{before.max <= before.lowest ? A(0) : rescaled * inverse,
                               one.max <= one.lowest ? A(0) : mine * inverse};
        before = {grows ? one.max : before.max, sum};
        return result;
    }
};

/// A thread's run of a tile in one operand, and the tiles before it.
struct run_pointer {
    std::byte* first;
    index step, tile;

    __device__ run_pointer(scan_call const& c, walked const& of, index line, index place,
                           index tokens)
        : first(of.begin(c.space, line)),
          step(c.reversed ? -of.along : of.along),
          tile(tokens * step) {
        if (first != nullptr) first += place * of.along;
    }
    __device__ void go_back() { first -= tile; }
};

/// What a thread reads of a tile. The next one is under way while one is computed.
template <class A, class Run, int Count>
struct scanned_run {
    static constexpr int run = walk_block::run;
    raw_neighbours<A, Count> x[run], log_a[run], d_y[run];
    Run in_front[Count];  // of the tile
    int left;
};

/// A thread takes `Count` neighbours.
template <class A, recurrence_kind Kind, class Elements, int Count>
__global__ void __launch_bounds__(walk_block::threads, 2)
    walk_lines_back(scan_back_call const __grid_constant__ b) {
    using Run = run_of<A, Kind>;
    using Back = linear_run<A>;
    constexpr int run = walk_block::run, buffer = 2 * walk_block::threads;
    constexpr bool linear = Kind == recurrence_kind::linear;
    __shared__ alignas(16) char memory[Count * buffer * (sizeof(Run) + sizeof(Back))];
    auto* const runs = reinterpret_cast<Run*>(memory);
    auto* const runs_back = reinterpret_cast<Back*>(runs + Count * buffer);
    scan_call const& c = b.forth;
    element const x_kind = Elements::of(c.x.kind), a_kind = Elements::of(c.log_a.kind),
                  y_kind = Elements::of(b.d_y.kind), d_x_kind = Elements::of(b.d_x.kind),
                  d_a_kind = Elements::of(b.d_log_a.kind);
    int const slice = threadIdx.y, slices = blockDim.y;
    index const number = (index(blockIdx.x) * blockDim.x + threadIdx.x) * Count;
    index const length = c.space.length, tile = index(slices) * run;
    bool const inside = number < c.space.total, again = !linear || b.again;
    index const mine = inside ? number : 0;
    index which = (length + tile - 1) / tile - 1;
    index const start = c.place(which * tile + index(slice) * run);
    auto const pointer = [&](walked const& of) { return run_pointer(c, of, mine, start, tile); };
    run_pointer x_at = pointer(c.x), a_at = pointer(c.log_a), y_at = pointer(b.d_y);
    run_pointer d_x_at = pointer(b.d_x), d_a_at = pointer(b.d_log_a);
    auto const state = [&](walked const& of, int n, A otherwise) {
        if (of.data == nullptr) return otherwise;
        return load<A>(of.begin(c.space, mine) + n * of.across, of.kind);
    };
    auto const fetch = [&](scanned_run<A, Run, Count>& to, index of_tile) {
        index const rest = length - of_tile * tile - index(slice) * run;
        to.left = !inside || rest < 0 ? 0 : rest < run ? int(rest) : run;
        std::byte const *x = x_at.first, *log_a = a_at.first, *d_y = y_at.first;
#pragma unroll
        for (int i = 0; i < run; ++i) {
            if (i < to.left) {
                to.d_y[i] = load_neighbours<A, Count>(d_y, y_kind);
                if (again) to.x[i] = load_neighbours<A, Count>(x, x_kind);
                if constexpr (linear) to.log_a[i] = load_neighbours<A, Count>(log_a, a_kind);
            }
            x += x_at.step, log_a += a_at.step, d_y += y_at.step;
        }
        x_at.go_back(), a_at.go_back(), y_at.go_back();
        for (int n = 0; n < Count && again; ++n) {
            to.in_front[n] =
                of_tile > 0 ? static_cast<Run const*>(c.kept)[of_tile * c.space.total + mine + n]
                            : Run::state(state(c.in, n, Run::nothing()));
        }
    };
    scanned_run<A, Run, Count> now, next;
    if (which >= 0) fetch(next, which);
    Back carried[Count];
    for (int n = 0; n < Count; ++n) carried[n] = Back::state(state(b.d_out, n, A(0)));
    for (; which >= 0; --which) {
        now = next;
        if (which > 0) fetch(next, which - 1);
        A pass[run][Count], weight[run][Count];
        Run whole[Count], before[Count];
#pragma unroll
        for (int i = 0; i < run; ++i) {
            if (i >= now.left) continue;
#pragma unroll
            for (int n = 0; n < Count; ++n) {
                weight[i][n] = again ? neighbour<A, Count>(now.x[i], n, x_kind) : A(0);
                if constexpr (linear) {
                    pass[i][n] = Run::factor(neighbour<A, Count>(now.log_a[i], n, a_kind));
                }
                if (again) whole[n].take(weight[i][n], pass[i][n]);
            }
        }
        if (again) {
            join_runs(runs, whole, before, slice);
            for (int n = 0; n < Count; ++n) before[n] = now.in_front[n].then(before[n]);
        }
        Back all[Count], back[Count];
        auto const d_y = [&](int i, int n) { return neighbour<A, Count>(now.d_y[i], n, y_kind); };
#pragma unroll
        for (int i = 0; i < run; ++i) {
            if (i >= now.left) continue;
#pragma unroll
            for (int n = 0; n < Count; ++n) {
                auto const to = passed_on<A>::from(before[n], weight[i][n], pass[i][n]);
                pass[i][n] = to.pass, weight[i][n] = to.weight;
            }
        }
#pragma unroll
        for (int i = run - 1; i >= 0; --i) {
            if (i >= now.left) continue;
#pragma unroll
            for (int n = 0; n < Count; ++n) all[n].take_and_pass(d_y(i, n), pass[i][n]);
        }
        join_runs(runs_back, all, back, slices - 1 - slice);
#pragma unroll
        for (int n = 0; n < Count; ++n) {
            back[n] = carried[n].then(back[n]);
            carried[n] = carried[n].then(all[n]);
        }
        std::byte* d_x = d_x_at.first + (run - 1) * d_x_at.step;
        std::byte* d_a = d_a_at.first + (run - 1) * d_a_at.step;
#pragma unroll
        for (int i = run - 1; i >= 0; --i) {
            if (i < now.left) {
                A r[Count], weighted[Count];
#pragma unroll
                for (int n = 0; n < Count; ++n) {
                    r[n] = back[n].take_and_pass(d_y(i, n), pass[i][n]);
                    weighted[n] = weight[i][n] * r[n];
                }
                if (b.d_x.data != nullptr) store<A, Count>(d_x, d_x_kind, linear ? r : weighted);
                if (linear && b.d_log_a.data != nullptr) {
                    store<A, Count>(d_a, d_a_kind, weighted);
                }
            }
            d_x -= d_x_at.step, d_a -= d_a_at.step;
        }
        d_x_at.go_back(), d_a_at.go_back();
        __syncthreads();
    }
    if (!inside || slice != 0 || b.d_in.data == nullptr) return;
    for (int n = 0; n < Count; ++n) {
        store<A>(b.d_in.begin(c.space, mine) + n * b.d_in.across, b.d_in.kind, carried[n].result());
    }
}

/// Computes the gradients of a checked call.
template <class A, recurrence_kind Kind>
inline void scan_backward(cudaStream_t stream, detail::scan_problem const& from) {
    constexpr bool linear = Kind == recurrence_kind::linear;
    scan_back_call c(from, !linear || !from.d_log_a.empty());
    walk_space const& space = c.forth.space;
    bool const wanted = !from.d_x.empty() || !from.d_log_a.empty() || !from.d_in.empty();
    if (space.total == 0 || !wanted) return;
    auto const launch = [&]<class Elements, int Count>(Elements,
                                                       std::integral_constant<int, Count>) {
        walk_block const block(space.total / Count, space.length, walk_block::threads);
        index const tile = block.slices * walk_block::run;
        index const tiles = c.again ? (space.length + tile - 1) / tile : 0;
        index const kept = tiles > 1 ? tiles * space.total : 0;
        scratch const memory(stream, std::size_t(kept) * sizeof(run_of<A, Kind>));
        if (kept > 0) {
            c.forth.kept = memory.at<void>(0);
            walk_lines<A, Kind, Elements, Count>
                <<<block.blocks, block.shape(), 0, stream>>>(c.forth);
            expect("launch of walk_lines", cudaGetLastError());
        }
        walk_lines_back<A, Kind, Elements, Count><<<block.blocks, block.shape(), 0, stream>>>(c);
        expect("launch of walk_lines_back", cudaGetLastError());
    };
    with_neighbours<A>(space, launch, c.d_y, c.forth.x, c.forth.log_a, c.d_x, c.d_log_a);
}

}  // namespace cuda

namespace exec {

template <detail::recurrence_kind Kind, class A>
inline void run_scan_back_on(cuda const& place, detail::scan_kind<Kind, A>,
                             detail::scan_problem const& from) {
    rondo::cuda::scan_backward<A, Kind>(place.stream, from);
}

}  // namespace exec
}  // namespace rondo::inline RONDO_ISA
