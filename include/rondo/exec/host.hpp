/// @file
/// Runs a checked call on the processor: scratch first, then units of heads, by one thread or
/// several.
#pragma once

#include <rondo/exec.hpp>
#include <rondo/exec/tuning.hpp>
#include <rondo/form/walk.hpp>
#include <rondo/simd/flush.hpp>

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace rondo::inline RONDO_ISA::detail {

template <class Place>
inline constexpr bool runs_on_host = false;
template <>
inline constexpr bool runs_on_host<exec::serial_t> = true;
template <>
inline constexpr bool runs_on_host<exec::simd_t> = true;
template <>
inline constexpr bool runs_on_host<exec::openmp_t> = true;

template <class Place, class A>
struct lanes_in {
    static_assert(runs_on_host<Place>,
                  "rondo: this verb goes with exec::serial, simd and openmp: it has no kernel for "
                  "another place");
    using type =
        std::conditional_t<std::is_same_v<Place, exec::serial_t>, one_lane<A>, simd_lanes<A>>;
};

/// The lanes that a place computes with.
template <class Place, class A>
using lanes_of = typename lanes_in<Place, A>::type;

template <class Place>
inline int threads_of([[maybe_unused]] Place const& place) noexcept {
#if defined(_OPENMP)
    if constexpr (std::is_same_v<Place, exec::openmp_t>) {
        return place.count > 0 ? place.count : omp_get_max_threads();
    }
#endif
    return 1;
}

/// body(item, thread) for the items [0, count), each by one thread.
template <class Body>
inline void share([[maybe_unused]] int threads, index count, Body const& body) noexcept {
#if defined(_OPENMP)
    if (threads > 1) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
        for (index item = 0; item < count; ++item) body(item, omp_get_thread_num());
        return;
    }
#endif
    for (index item = 0; item < count; ++item) body(item, 0);
}

/// How many parts the columns of a head are cut into, that `units` heads are work for all threads;
/// whole packs each. Rows of a product are summed alike whatever stands beside them, so that the
/// bits do not depend on it.
template <class L>
constexpr index column_parts(problem<typename L::value> const& call, index units,
                             int threads) noexcept {
    // A state handed on in place: what all columns share would be read after it was written.
    bool const shares = call.in.normalizer != nullptr || call.in.max != nullptr;
    if (units >= threads || shares) return 1;
    index const packs = (call.width + L::width - 1) / L::width;
    return std::clamp<index>((threads + units - 1) / units, 1, std::max<index>(packs, 1));
}

/// How many parts of time each of `units` is cut into, that there is work for all threads. Where a
/// state moves, every part but the first repeats the writes in front of it, so that more than three
/// gain little; the delta rule's writes are most of its work.
template <class A>
constexpr index time_parts(problem<A> const& call, cut const& how, index units,
                           int threads) noexcept {
    // A state handed on in place might be written before all have read it.
    bool const in_place = call.in.s != nullptr && call.out.s != nullptr;
    if (call.merges() || in_place || call.what.delta) return 1;
    index const worth_a_thread = std::max<index>(2 * how.piece, 128);
    index const pieces = longest_sequence(call) / worth_a_thread;
    index const most = call.what.one_window() ? pieces : std::min<index>(pieces, 3);
    return std::clamp<index>((threads + units - 1) / units, 1, std::max<index>(most, 1));
}

/// How a call is shared out: groups of heads, parts of time and of columns.
template <class L>
struct shares {
    using A = typename L::value;

    shares(problem<A> const& call, cut const& how, int threads)
        : groups((call.heads + how.heads - 1) / how.heads),
          times(time_parts(call, how, call.sequences * groups, threads)),
          parts(column_parts<L>(call, call.sequences * groups * times, threads)),
          columns(((call.width + parts - 1) / parts + L::width - 1) / L::width * L::width),
          stretches(times > 1 && call.what.one_window() ? most_stretches : 0) {}

    index units(problem<A> const& call, index of_time) const noexcept {
        return call.sequences * groups * of_time * parts;
    }

    index groups, times, parts, columns;
    index stretches;  // of a window, that are summed before it is read
};

/// Computes the whole call.
template <class L, kernel_kind Kind>
inline void run(problem<typename L::value> const& call, int threads) {
    using A = typename L::value;
    using unit_walker = walker<L, Kind>;
    if (call.sequences == 0 || call.heads == 0) return;
    cut const how = tune<L>(call, threads);
    shares<L> const s(call, how, threads);
    threads = int(std::min<index>(threads, s.units(call, std::max(s.times, s.stretches))));

    problem<A> const widest = call.columns(0, std::min(s.columns, call.width));
    arena measure;
    index const state_size = unit_walker(measure, widest, how).state_size();
    index const of_sequence = call.heads * s.stretches * state_size;
    std::size_t const of_thread = measure.used(), of_threads = of_thread * std::size_t(threads);
    std::size_t const summed = std::size_t(call.sequences * s.parts * of_sequence) * sizeof(A);
    scratch_block const block(of_threads + summed);
    auto* const sums = reinterpret_cast<A*>(block.get() + of_threads);

    auto const walk_each = [&](index of_time, [[maybe_unused]] bool sums_stretches) {
        share(threads, s.units(call, of_time), [&](index unit, int thread) {
            flush_subnormals const guard;
            index const part = unit % s.parts, time = unit / s.parts % of_time;
            index const group = unit / s.parts / of_time;
            index const sequence = group / s.groups, first = group % s.groups * how.heads;
            index const begin = part * s.columns, end = std::min(begin + s.columns, call.width);
            if (part > 0 && begin >= end) return;
            problem<A> const mine = call.columns(begin, end - begin);
            arena own(block.get() + of_thread * std::size_t(thread));
            unit_walker walk(own, mine, how);
            head_span const heads{sequence, first, std::min(first + how.heads, call.heads)};
            A* const stretches = sums + (sequence * s.parts + part) * of_sequence;
            if constexpr (Kind.window) {
                if (sums_stretches) return walk.sum_stretch(heads, time, stretches);
            }
            walk.run(heads, {time, of_time}, s.stretches > 0 ? stretches : nullptr);
        });
    };
    if (s.stretches > 0) walk_each(s.stretches, true);
    walk_each(s.times, false);
}

}  // namespace rondo::inline RONDO_ISA::detail
