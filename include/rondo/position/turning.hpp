/// @file
/// Who takes which heads, tokens and sequences of a call that turns channels.
#pragma once

#include <rondo/exec/host.hpp>
#include <rondo/position/turner.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// body(turner, unit) for `units` units, each by one thread that keeps `tables` tables.
template <class L, class Body>
inline void share_turns(turn_call<typename L::value> const& call, basis<L> const& p, int threads,
                        index tables, index units, Body const& body) {
    threads = int(std::clamp<index>(units, 1, threads));
    arena measure;
    turner<L>(measure, call, p, tables);
    scratch_block const block(measure.used() * std::size_t(threads));
    share(threads, units, [&](index unit, int thread) {
        flush_subnormals const guard;
        arena memory(block.get() + measure.used() * std::size_t(thread));
        turner<L> turns(memory, call, p, tables);
        body(turns, unit);
        stream_fence();
    });
}

/// How a forward call is cut: heads side by side, runs of tokens, groups of sequences.
struct turn_cut {
    index heads = 1;   // of a unit
    index tables = 1;  // that they need
    index runs = 1, groups = 1;
    bool heads_inside = false, streamed = false;

    template <class L>
    static turn_cut of(turn_call<typename L::value> const& call, bool plain, int threads) noexcept {
        using A = typename L::value;
        turn_cut cut;
        // Rows that are neighbours in memory follow each other. A permutation has one table only.
        cut.heads_inside = call.x.head < call.x.time && (call.shared() || !call.permuted());
        bool const together = call.shared() || cut.heads_inside;
        cut.heads = together ? std::max<index>(call.heads, 1) : 1;
        cut.tables = call.shared() ? 1 : cut.heads;
        index const sets = std::max<index>(call.heads, 1) / cut.heads;
        index const wanted = threads > 1 ? (4 * threads + sets - 1) / sets : 1;
        cut.runs = std::clamp<index>(call.length / 512, 1, wanted);
        cut.groups = std::clamp<index>((wanted + cut.runs - 1) / cut.runs, 1,
                                       std::max<index>(call.batch, 1));
        index const bytes = call.batch * call.heads * call.length * call.width() * index(sizeof(A));
        // Whole packs only, at addresses that are multiples of 16.
        index const pack = L::width * index(sizeof(A));
        bool const whole_rows = call.kind == turn_kind::interleaved;  // else in two parts
        index const part = (whole_rows ? call.channels : call.angles()) * index(sizeof(A));
        auto const whole = [](index x, index unit) { return x % unit == 0; };
        cut.streamed = plain && bytes >= stream_from && whole(part, pack) &&
                       whole(index(reinterpret_cast<std::intptr_t>(call.y.data)), 16) &&
                       whole(call.y.batch, 16) && whole(call.y.head, 16) && whole(call.y.time, 16);
        return cut;
    }
};

/// Units are sets of heads, times runs of tokens, times groups of sequences: as many as keep the
/// threads busy, since each makes the tables that it needs.
template <class L, bool Streamed>
inline void turn_units(turn_call<typename L::value> const& call, basis<L> const& p,
                       turn_cut const& cut, int threads) {
    index const sets = call.heads / cut.heads, each = cut.runs * cut.groups;
    index const run = (call.length / cut.runs + turn_tile) / turn_tile * turn_tile;
    index const ahead = 8 * (cut.heads_inside ? call.x.head : call.x.time);
    share_turns<L>(call, p, threads, cut.tables, sets * each, [&](turner<L>& turns, index unit) {
        index const first = unit / each * cut.heads, group = unit % cut.groups;
        index const begin = unit / cut.groups % cut.runs * run;
        index const end = std::min(begin + run, call.length);
        index const last = call.batch * (group + 1) / cut.groups;
        for (index table = 0; table < cut.tables; ++table) turns.begin(table, first + table);
        auto const one = [&](index b, index head, index t) {
            index const table = cut.tables == 1 ? 0 : head;
            turns.template forward<Streamed>(table, b, first + head, t, ahead);
        };
        for (index t = begin; t < end; t += turns.tokens()) {
            index const count = std::min(turns.tokens(), end - t);
            turns.tile(t, count);
            for (index b = call.batch * group / cut.groups; b < last; ++b) {
                index const outer = cut.heads_inside ? count : cut.heads;
                index const inner = cut.heads_inside ? cut.heads : count;
                for (index i = 0; i < outer; ++i) {
                    for (index j = 0; j < inner; ++j) {
                        cut.heads_inside ? one(b, j, i) : one(b, i, j);
                    }
                }
            }
        }
    });
}

template <class L>
inline void turn_forward(turn_call<typename L::value> const& call, basis<L> const& p, int threads) {
    using A = typename L::value;
    if (call.heads == 0) return;
    bool const turned = p.trivial() && !call.permuted();
    bool const plain = turned && is_plain<A>(call.y.at(0, 0, 0));
    turn_cut const cut = turn_cut::of<L>(call, plain, threads);
    cut.streamed ? turn_units<L, true>(call, p, cut, threads)
                 : turn_units<L, false>(call, p, cut, threads);
}

/// A unit is a head, with all its sequences and tokens: sums come out the same for any threads.
template <class L>
inline void turn_backward(turn_call<typename L::value> const& call, basis<L> const& p,
                          int threads) {
    using A = typename L::value;
    index const angles = given(call.d_theta) ? call.block() : 0;
    index const vector = given(call.d_vector) ? call.channels : 0;
    std::vector<double> sums(std::size_t(call.heads * (angles + vector)) + 1);
    auto const leave = [](operand<A, 2> const& to, index head, double const* from, index count) {
        for (index i = 0; i < count; ++i) {
            index const at = head * to.strides[0] + i * to.strides[1];
            auto* const data = const_cast<std::byte*>(to.data) + at * element_size(to.kind);
            store_element(data, to.kind, A(from[i]));
        }
    };
    share_turns<L>(call, p, threads, 1, call.heads, [&](turner<L>& turns, index head) {
        double* const d_theta = sums.data() + head * (angles + vector);
        turns.begin(0, head);
        for (index t = 0; t < call.length; t += turns.tokens()) {
            index const count = std::min(turns.tokens(), call.length - t);
            turns.tile(t, count);
            for (index b = 0; b < call.batch; ++b) {
                for (index i = 0; i < count; ++i) {
                    turns.backward(b, head, i, angles > 0 ? d_theta : nullptr,
                                   vector > 0 ? d_theta + angles : nullptr);
                }
            }
        }
        leave(call.d_theta, head, d_theta, angles);
        leave(call.d_vector, head, d_theta + angles, vector);
    });
}

}  // namespace rondo::inline RONDO_ISA::detail
