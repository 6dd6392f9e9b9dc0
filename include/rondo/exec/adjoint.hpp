/// @file
/// Runs a checked call of `backward` on the processor, a unit for each part of time of a key/value
/// head of a sequence.
#pragma once

#include <rondo/exec/host.hpp>
#include <rondo/form/adjoint_walk.hpp>

#include <functional>

namespace rondo::inline RONDO_ISA::detail {

/// Pieces of at least `least` tokens, whatever the form, as pairs weigh less among more products
/// with states, and at most `most`.
template <class L>
constexpr cut tune_adjoint(problem<typename L::value> const& call, int threads, index least = 32,
                           index most = 64) noexcept {
    problem<typename L::value> plain = call;
    plain.what.form = form_kind::automatic;
    cut result = tune<L>(plain, threads);
    if (!call.what.delta) result.piece = std::max(result.piece, least);  // a solve is C^2
    if (call.what.form == form_kind::chunkwise) result.piece = call.what.chunk;
    if (call.what.form == form_kind::quadratic) result.piece = most;
    index const tokens = std::max<index>(call.length, 1);
    result.piece = std::clamp<index>(result.piece, 1, std::min(most, tokens));
    result.form = form_kind::chunkwise;
    result.heads = 1;
    return result;
}

/// The gradient of a gate that all tokens and sequences share, from its parts by sequence and head.
template <class A>
inline void leave_constant_gate(adjoint_problem<A> const& call, double const* parts) noexcept {
    for (index h = 0; h < call.call.heads; ++h) {
        double sum = 0;
        for (index s = 0; s < call.call.sequences; ++s) sum += parts[s * call.call.heads + h];
        store_element(call.d_gate.at(0, h, 0).data, call.d_gate.kind, A(sum));
    }
}

/// How many parts of time each of `units` is cut into, that there is work for all threads: where
/// nothing but S and dS hands on from token to token, and a part may move these as others do. Each
/// part moves one of them past every token, a quarter of all work.
template <class A>
constexpr index adjoint_parts(adjoint_problem<A> const& call, cut const& how, index units,
                              index longest, int threads) noexcept {
    constexpr index most = 8;
    problem<A> const& p = call.call;
    bool const adds_up = p.what.decay == decay_kind::constant && call.wants_gate();
    bool const moves = p.passes.size() == 1 && !p.what.delta && !p.what.normalized &&
                       !p.what.additive() && !adds_up;
    // Handed on in place it might be written before all have read it.
    index const size = p.sequences * p.heads * p.depth * p.state_width;
    auto const overwrites = [&, before = std::less<A const*>{}](carried<A> const& x) {
        A const *const to = call.d_in.s, *const from = x.s;
        return to != nullptr && from != nullptr && before(to, from + size) &&
               before(from, to + size);
    };
    if (!moves || overwrites(p.in) || overwrites(call.d_out)) return 1;
    index const worth_a_thread = std::max<index>(2 * how.piece * call.every, 128);
    index const parts = std::min<index>((threads + units - 1) / std::max<index>(units, 1), most);
    return std::clamp<index>(parts, 1, std::max<index>(longest / worth_a_thread, 1));
}

/// Computes all gradients of a call. Parts of time move states in the same steps, and parts of
/// shared gates are added up in order: the same bits for any number of threads.
template <class L, kernel_kind Kind>
inline void run_adjoint(adjoint_problem<typename L::value> const& call, int threads) {
    problem<typename L::value> const& p = call.call;
    index const units = p.sequences * p.heads, longest = longest_sequence(p);
    cut const how = tune_adjoint<L>(p, threads);
    index const times = adjoint_parts(call, how, units, longest, threads);
    threads = int(std::clamp<index>(units * times, 1, threads));

    arena measure;
    adjoint_walker<L, Kind>(measure, call, how, longest, times);
    bool const constant = Kind.decay == decay_kind::constant && call.wants_gate();
    std::size_t const of_gates = constant ? std::size_t(units) * sizeof(double) : 0;
    scratch_block const block(measure.used() * std::size_t(threads) + of_gates);
    std::byte* const end = block.get() + measure.used() * std::size_t(threads);
    auto* const gates = constant ? new (end) double[std::size_t(units)]{} : nullptr;

    share(threads, units * times, [&](index item, int thread) {
        flush_subnormals const guard;
        arena memory(block.get() + measure.used() * std::size_t(thread));
        adjoint_walker<L, Kind> walk(memory, call, how, longest, times);
        index const unit = item / times;
        walk.run(unit / p.heads, unit % p.heads, {item % times, times},
                 gates == nullptr ? nullptr : gates + unit);
    });
    if (constant) leave_constant_gate(call, gates);
}

/// Computes a checked call of `backward` in a place.
template <composition What, class Place, class A>
inline void dispatch_backward(Place const& place, adjoint_problem<A> const& call) {
    if constexpr (runs_on_host<Place>) {
        using L = lanes_that_turn<lanes_of<Place, A>, What.turned>;
        run_adjoint<L, What.kernel()>(call, threads_of(place));
    } else {
        run_backward_on(place, composition_constant<What>{}, call);  // found where the place is
    }
}

}  // namespace rondo::inline RONDO_ISA::detail
