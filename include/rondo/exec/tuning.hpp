/// @file
/// The sizes that a call is cut into: constants of the machine and one function of the problem.
#pragma once

#include <rondo/form/walk.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// What the choice depends on. Plain numbers: a program may make its own and pass it on.
struct tuning {
    index chunk = 16;                  // tokens: pairs cost chunk / 2 keys, states 2 passes a chunk
    index wide_chunk = 32;             // when a state no longer fits the first cache
    index window_chunk = 64;           // when readers and writers never meet: no pairs
    index first_cache = 32 * 1024;     // bytes that a head's state may take of it
    index second_cache = 1024 * 1024;  // bytes that the states of a unit may take of it
    index recurrent_below = 4;         // tokens: fewer than a tile are walked one by one
    index asked = 128 * 1024;          // bytes of it for rows that heads ask for together
    index ask_from = 256;              // tokens: the first chunk's rows are asked for by nobody
};
inline constexpr tuning default_tuning{};

template <class A>
constexpr index longest_sequence(problem<A> const& call) noexcept {
    if (call.offsets.empty()) return call.length;
    index longest = 0;
    for (index s = 0; s < call.sequences; ++s) longest = std::max(longest, call.length_of(s));
    return longest;
}

template <class L>
constexpr cut tune(problem<typename L::value> const& call, int threads,
                   tuning const& with = default_tuning) noexcept {
    index const state =
        padded<L>(call.depth) * padded<L>(call.width) * index(sizeof(typename L::value));
    index const longest = longest_sequence(call);
    cut result{call.what.form, call.what.chunk, 1};
    if (result.form == form_kind::automatic) {
        result.form = longest < with.recurrent_below ? form_kind::recurrent : form_kind::chunkwise;
        result.recurrent_below = with.recurrent_below;
        result.piece = state > with.first_cache ? with.wide_chunk : with.chunk;
        if (call.what.one_window()) result.piece = with.window_chunk;
    }
    if (result.form == form_kind::quadratic) result.piece = longest;
    if (result.form == form_kind::recurrent) result.piece = with.wide_chunk;
    result.piece = std::clamp<index>(result.piece, 1, std::max<index>(longest, 1));

    // Heads side by side only where they are neighbours in memory or share turns, as many as their
    // states fit.
    bool const neighbours = call.q.head < call.q.time || call.v.head < call.v.time;
    if (neighbours || call.what.turned)
        result.heads = std::max<index>(with.second_cache / std::max<index>(state, 1), 1);
    index const fair = (call.heads * call.sequences + threads - 1) / threads;
    result.heads = std::clamp<index>(std::min(result.heads, fair), 1, call.heads);
    // As even as the bytes allow: rows of q, k, v, the gate and o.
    index const row = (3 * call.depth + 2 * call.width) * index(sizeof(typename L::value));
    index const most = std::max<index>(with.asked / std::max<index>(result.piece * row, 1), 1);
    index const rounds = longest > with.ask_from ? (result.heads + most - 1) / most : result.heads;
    result.ask_heads = (result.heads + rounds - 1) / rounds;
    return result;
}

}  // namespace rondo::inline RONDO_ISA::detail
