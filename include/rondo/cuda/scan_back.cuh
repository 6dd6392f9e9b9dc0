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

    /// d_log_a_t = a_t y_(t-1) r_t.
    __device__ passed_on(linear_run<A> const& before, A, A factor)
        : pass(factor), weight(factor * before.value) {}

    /// d_x_t = exp(x_t - y_t) r_t, and exp(y_(t-1) - y_t) r_t is passed on. From the maxima, that
    /// large logits lose no digits; an empty window passes nothing.
    __device__ passed_on(log_sum_run<A> const& before, A x, A) {
        log_sum_run<A> one = log_sum_run<A>::state(x);
        log_sum_run<A> const after = before.then(one);
        auto const share = [&](log_sum_run<A> const& part) {
            bool const empty = part.max <= part.lowest;
            return empty ? A(0) : quick_exp(part.max - after.max) * part.sum / after.sum;
        };
        pass = share(before), weight = share(one);
    }
};

template <class A, recurrence_kind Kind, class Elements>
__global__ void __launch_bounds__(walk_block::threads, 3) walk_lines_back(scan_back_call const b) {
    using Run = run_of<A, Kind>;
    using Back = linear_run<A>;
    constexpr int run = walk_block::run;
    constexpr bool linear = Kind == recurrence_kind::linear;
    __shared__ alignas(16) char memory[2 * walk_block::threads * (sizeof(Run) + sizeof(Back))];
    auto* const runs = reinterpret_cast<Run*>(memory);
    auto* const runs_back = reinterpret_cast<Back*>(runs + 2 * walk_block::threads);
    scan_call const& c = b.forth;
    element const x_kind = Elements::of(c.x.kind), a_kind = Elements::of(c.log_a.kind),
                  y_kind = Elements::of(b.d_y.kind), d_x_kind = Elements::of(b.d_x.kind),
                  d_a_kind = Elements::of(b.d_log_a.kind);
    int const slice = threadIdx.y, slices = blockDim.y;
    index const number = index(blockIdx.x) * blockDim.x + threadIdx.x, length = c.space.length;
    bool const inside = number < c.space.total, again = !linear || b.again;
    index const mine = inside ? number : 0, way = c.reversed ? -1 : 1;
    index const tile = index(slices) * run;
    auto const begin_of = [&](walked const& of) { return of.begin(c.space, mine); };
    std::byte *const x_line = begin_of(c.x), *const a_line = begin_of(c.log_a);
    std::byte *const y_line = begin_of(b.d_y), *const d_x_line = begin_of(b.d_x);
    std::byte *const d_a_line = begin_of(b.d_log_a), *const in = begin_of(c.in);
    std::byte const* const out = begin_of(b.d_out);
    Back carried = Back::state(out == nullptr ? A(0) : load<A>(out, b.d_out.kind));
    for (index n = (length + tile - 1) / tile - 1; n >= 0; --n) {
        index const first = n * tile + index(slice) * run, rest = length - first;
        int const left = !inside || rest < 0 ? 0 : rest < run ? int(rest) : run;
        index const place = c.place(first);
        auto const at = [&](std::byte* line, walked const& of, int i) {
            return line + (place + i * way) * of.along;
        };
        raw_element<A> x_raw[run], a_raw[run], y_raw[run];
#pragma unroll
        for (int i = 0; i < run; ++i) {
            if (i >= left) continue;
            y_raw[i] = load_raw<A>(at(y_line, b.d_y, i), y_kind);
            if (again) x_raw[i] = load_raw<A>(at(x_line, c.x, i), x_kind);
            if constexpr (linear) a_raw[i] = load_raw<A>(at(a_line, c.log_a, i), a_kind);
        }
        A x[run], factor[run];
        Run whole, before;
#pragma unroll
        for (int i = 0; i < run; ++i) {
            if (i >= left) continue;
            x[i] = again ? widen<A>(x_raw[i], x_kind) : A(0);
            if constexpr (linear) factor[i] = Run::factor(widen<A>(a_raw[i], a_kind));
            whole.take(x[i], factor[i]);
        }
        if (again) {
            join_runs(runs, whole, before, slice);
            if (n > 0) {
                before = static_cast<Run const*>(c.kept)[n * c.space.total + mine].then(before);
            } else {
                A const state = in == nullptr ? Run::nothing() : load<A>(in, c.in.kind);
                before = Run::state(state).then(before);
            }
        }
        A weight[run];
#pragma unroll
        for (int i = 0; i < run; ++i) {
            if (i >= left) continue;
            passed_on<A> const to(before, x[i], factor[i]);
            before.take(x[i], factor[i]);
            factor[i] = to.pass, weight[i] = to.weight;
        }
        Back all_back, behind;
        A d_y[run];
#pragma unroll
        for (int i = run - 1; i >= 0; --i) {
            if (i >= left) continue;
            d_y[i] = widen<A>(y_raw[i], y_kind);
            all_back.take_and_pass(d_y[i], factor[i]);
        }
        Back const joined = join_runs(runs_back, all_back, behind, slices - 1 - slice);
        Back now = carried.then(behind);
        carried = carried.then(joined);
#pragma unroll
        for (int i = run - 1; i >= 0; --i) {
            if (i >= left) continue;
            A const r = now.take_and_pass(d_y[i], factor[i]);
            if (d_x_line != nullptr) {
                store<A>(at(d_x_line, b.d_x, i), d_x_kind, linear ? r : weight[i] * r);
            }
            if (linear && d_a_line != nullptr) {
                store<A>(at(d_a_line, b.d_log_a, i), d_a_kind, weight[i] * r);
            }
        }
        __syncthreads();
    }
    if (!inside || slice != 0 || b.d_in.data == nullptr) return;
    store<A>(begin_of(b.d_in), b.d_in.kind, carried.result());
}

/// Computes the gradients of a checked call.
template <class A, recurrence_kind Kind>
inline void scan_backward(cudaStream_t stream, detail::scan_problem const& from) {
    constexpr bool linear = Kind == recurrence_kind::linear;
    scan_back_call c(from, !linear || !from.d_log_a.empty());
    bool const wanted = !from.d_x.empty() || !from.d_log_a.empty() || !from.d_in.empty();
    if (c.forth.space.total == 0 || !wanted) return;
    walk_block const block(c.forth.space.total, c.forth.space.length, walk_block::threads);
    index const tile = block.slices * walk_block::run;
    index const tiles = c.again ? (c.forth.space.length + tile - 1) / tile : 0;
    index const kept = tiles > 1 ? tiles * c.forth.space.total : 0;
    scratch const memory(stream, std::size_t(kept) * sizeof(run_of<A, Kind>));
    if (kept > 0) {
        c.forth.kept = memory.at<void>(0);
        scan_forward<A, Kind>(stream, c.forth);
    }
    auto const kind = [&](walked const& x) { return x.data == nullptr ? c.d_y.kind : x.kind; };
    with_elements<A>(
        {c.d_y.kind, kind(c.forth.x), kind(c.forth.log_a), kind(c.d_x), kind(c.d_log_a)},
        [&](auto elements) {
            walk_lines_back<A, Kind, decltype(elements)>
                <<<block.blocks, block.shape(), 0, stream>>>(c);
        });
    expect("launch of walk_lines_back", cudaGetLastError());
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
