/// @file
/// Runs a checked call of `backward` on the processor, a unit for each key/value head of a
/// sequence.
#pragma once

#include <rondo/exec/host.hpp>
#include <rondo/form/adjoint_walk.hpp>

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

/// Computes all gradients of a call. Each head of a sequence is one thread's, and parts of shared
/// gates are added up in order: the same bits for any number of threads.
template <class L, decay_kind Decay>
inline void run_adjoint(adjoint_problem<typename L::value> const& call, int threads) {
    problem<typename L::value> const& p = call.call;
    index const units = p.sequences * p.heads;
    index longest = 0;
    for (index s = 0; s < p.sequences; ++s) longest = std::max(longest, p.length_of(s));
    cut const how = tune_adjoint<L>(p, threads);
    threads = int(std::clamp<index>(units, 1, threads));

    arena measure;
    adjoint_walker<L, Decay>(measure, call, how, longest);
    bool const constant = Decay == decay_kind::constant && call.wants_gate();
    std::size_t const of_parts = constant ? std::size_t(units) * sizeof(double) : 0;
    scratch_block const block(measure.used() * std::size_t(threads) + of_parts);
    std::byte* const end = block.get() + measure.used() * std::size_t(threads);
    auto* const parts = constant ? new (end) double[std::size_t(units)]{} : nullptr;

    share(threads, units, [&](index unit, int thread) {
        flush_subnormals const guard;
        arena memory(block.get() + measure.used() * std::size_t(thread));
        adjoint_walker<L, Decay> walk(memory, call, how, longest);
        walk.run(unit / p.heads, unit % p.heads, parts == nullptr ? nullptr : parts + unit);
    });
    if (constant) leave_constant_gate(call, parts);
}

/// Computes a checked call of `backward` in a place.
template <composition What, class Place, class A>
inline void dispatch_backward(Place const& place, adjoint_problem<A> const& call) {
    if constexpr (runs_on_host<Place>) {
        using L = lanes_that_turn<lanes_of<Place, A>, What.turned>;
        run_adjoint<L, What.decay>(call, threads_of(place));
    } else {
        run_backward_on(place, composition_constant<What>{}, call);  // found where the place is
    }
}

}  // namespace rondo::inline RONDO_ISA::detail
