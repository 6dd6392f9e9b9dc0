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

/// Gradients know places only on the processor.
template <composition What>
constexpr void refuse_turned() noexcept {
    static_assert(!What.turned,
                  "rondo: gradients with position::fused go with exec::serial, simd and openmp; "
                  "elsewhere call position::lrpe or rope on q and k first");
}

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

/// How many parts of time each of `units` is cut into, that there is work for all threads. Every
/// part but the first repeats the writes in front of it, so that more than three gain little; the
/// delta rule's writes are most of its work.
template <class A>
constexpr index time_parts(problem<A> const& call, cut const& how, index units,
                           int threads) noexcept {
    bool const merges = std::any_of(call.passes.begin(), call.passes.end(),
                                    [](pass const& p) { return !p.finish; });
    // A state handed on in place might be written before all have read it.
    bool const in_place = call.in.s != nullptr && call.out.s != nullptr;
    if (merges || in_place || call.what.delta) return 1;
    index const most = std::clamp<index>(longest_sequence(call) / (4 * how.piece), 1, 3);
    return std::clamp<index>((threads + units - 1) / units, 1, most);
}

/// Computes the whole call.
template <class L, decay_kind Decay>
inline void run(problem<typename L::value> const& call, int threads) {
    if (call.sequences == 0 || call.heads == 0) return;
    cut const how = tune<L>(call, threads);
    index const groups = (call.heads + how.heads - 1) / how.heads;
    index const times = time_parts(call, how, call.sequences * groups, threads);
    index const parts = column_parts<L>(call, call.sequences * groups * times, threads);
    index const columns = ((call.width + parts - 1) / parts + L::width - 1) / L::width * L::width;
    index const units = call.sequences * groups * times * parts;
    threads = int(std::min<index>(threads, units));

    arena measure;
    walker<L, Decay>(measure, call.columns(0, std::min(columns, call.width)), how);
    scratch_block const block(measure.used() * std::size_t(threads));

    share(threads, units, [&](index unit, int thread) {
        flush_subnormals const guard;
        arena memory(block.get() + measure.used() * std::size_t(thread));
        index const part = unit % parts, time = unit / parts % times;
        index const group = unit / parts / times;
        index const sequence = group / groups, first = group % groups * how.heads;
        index const begin = part * columns, end = std::min(begin + columns, call.width);
        if (part > 0 && begin >= end) return;
        problem<typename L::value> const mine = call.columns(begin, end - begin);
        walker<L, Decay> walk(memory, mine, how);
        walk.run(sequence, first, std::min(first + how.heads, call.heads), {time, times});
    });
}

}  // namespace rondo::inline RONDO_ISA::detail
