/// @file
/// One token of every sequence and head: decoding.
#pragma once

#include <rondo/exec/host.hpp>
#include <rondo/state.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// The part of a dense state that a token of one head works on.
template <class A>
inline head_state<A> dense(carried<A> const& part, index width) noexcept {
    return {part.s, part.normalizer, part.max, part.sum, width};
}

/// 4 KB, since the processor's own prefetcher stops at the end of every page: from memory and from
/// the third cache that gains a fifth to a third. The plain loops do without.
template <class L>
inline constexpr index read_ahead = L::width == 1 ? 0 : 4096 / index(sizeof(typename L::value));

/// Moves the states of call.out past one token, turned by `turn`. `spare` holds step_scratch
/// elements a head when those are more than the stack takes.
template <class L>
inline void step_heads(problem<typename L::value> const& call, int threads, row_turn<L> const& turn,
                       typename L::value* spare) noexcept {
    using A = typename L::value;
    index const needed = step_scratch(call.depth, call.width);
    index const units = call.sequences * call.heads;
    share(int(std::min<index>(threads, units)), units, [&](index unit, int) {
        flush_subnormals const guard;
        alignas(cache_line) A local[step_scratch_on_stack];
        bool const fits = needed <= step_scratch_on_stack;
        auto rows = token_rows<L>::carve(fits ? local : spare + unit * needed,
                                         fits ? step_scratch_on_stack : needed, call.depth,
                                         call.width, call.group());
        rows.turn = turn;
        site<A> const where(call, unit / call.heads, unit % call.heads);
        head_state<A> const state =
            dense(call.part(call.out, where.sequence, where.head), call.width);
        token_kernel<L, read_ahead<L>>(rows, where, state, pass{}, 0).run();
    });
}

/// The same where positions are fused: all heads share the turn of the token.
template <class L>
inline void step_turned(problem<typename L::value> const& call, int threads,
                        typename L::value* spare) noexcept {
    alignas(cache_line) std::byte local[turn_scratch(step_depth_on_stack)];
    bool const fits = call.depth <= step_depth_on_stack;
    index const rows = step_spare(call.sequences * call.heads, call.depth, call.width);
    arena memory(fits ? local : reinterpret_cast<std::byte*>(spare + rows));
    row_turns<L> turns(memory, call, 1);
    index const first = 0;
    turns.hold(&first, 1);
    step_heads<L>(call, threads, turns[0], spare);
}

/// Takes a checked step in a place.
template <composition What, class Place, class A>
inline void dispatch_step(Place const& place, problem<A> const& call, A* spare) {
    if constexpr (runs_on_host<Place>) {
        using L = lanes_that_turn<lanes_of<Place, A>, What.turned>;
        if constexpr (What.turned) {
            step_turned<L>(call, threads_of(place), spare);
        } else {
            step_heads<L>(call, threads_of(place), {nullptr}, spare);
        }
    } else {
        step_on(place, composition_constant<What>{}, call);  // found where the place is defined
    }
}

}  // namespace rondo::inline RONDO_ISA::detail
