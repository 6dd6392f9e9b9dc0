/// @file
/// The operator: linear recurrences over keys and values, composed from policies.
#pragma once

#include <rondo/decay.hpp>
#include <rondo/detail/check.hpp>
#include <rondo/detail/gradients.hpp>
#include <rondo/detail/passes.hpp>
#include <rondo/direction.hpp>
#include <rondo/exec/adjoint.hpp>
#include <rondo/exec/host.hpp>
#include <rondo/feature.hpp>
#include <rondo/form.hpp>
#include <rondo/form/step.hpp>
#include <rondo/normalize.hpp>
#include <rondo/position/places.hpp>
#include <rondo/update.hpp>

#include <type_traits>

namespace rondo::inline RONDO_ISA {
namespace detail {

/// Computes a checked call in a place.
template <composition What, class Place, class A>
inline void dispatch(Place const& place, problem<A> const& call) {
    if constexpr (runs_on_host<Place>) {
        run<lanes_that_turn<lanes_of<Place, A>, What.turned>, What.kernel()>(call,
                                                                             threads_of(place));
    } else {
        run_on(place, composition_constant<What>{}, call);  // found where the place is defined
    }
}

/// Notes where the tokens of a call stand, that of every packed sequence from the same place on.
template <composition What, class A>
inline void take_places(char const* name, problem<A>& call, position::places const& at) {
    if constexpr (What.turned) {
        if (What.turned_as == turn_kind::half_split && call.depth % 2 != 0) {
            refuse(name, {"q has ", call.depth, " channels, expected an even number (pairs)"});
        }
        for (index s = 0; s < call.sequences; ++s) {
            check_places({name}, at.grid, at.skip, at.offset, call.length_of(s), "q");
        }
        call.places = {at.grid, at.skip, at.offset.value_or(0)};
        call.base = at.base;
    } else if (at != position::places{}) {
        refuse(name, {"places are given (.at), expected none (0) without position::fused"});
    }
}

/// Stands for a state in the options of an operator that carries none.
struct no_state {
    static constexpr bool present = false;
    no_state() = default;
    template <class State>
    no_state(State const&) {
        static_assert(!sizeof(State),
                      "rondo: a bidirectional operator carries no state: it accepts .scale and "
                      ".eps, and states go with causal and anticausal");
    }
};

/// The options of a call of a bidirectional operator.
struct stateless_options {
    no_state in{}, out{};
    double scale = 1;
    double eps = 1e-6;
    position::places at{};

    template <class A>
    operator options<A>() const {
        return {.scale = scale, .eps = eps, .at = at};
    }
};

template <composition What, class A>
using options_of = std::conditional_t<What.bidirectional(), stateless_options, options<A>>;

template <composition What, class A>
using gradient_options_of =
    std::conditional_t<What.bidirectional(), stateless_gradient_options<A>, gradient_options<A>>;

}  // namespace detail

/// A linear-recurrence attention operator, made by `attention(...)`.
///
/// o_i = scale * sum_j w(i, j) (q_i . k_j) v_j, the weights w given by the decay, the sum by the
/// direction; with update::delta and normalize::sum as those policies say.
///
/// Shapes: q [B, Hq, T, D], k [B, Hkv, T, D] or `ones`, v [B, Hkv, T, E], o [B, Hq, T, E]; Hq a
/// multiple
///   of Hkv; the gate as its decay says, beta [B, Hkv, T].
/// Units: gates are log decays (natural logarithm), or logits with an additive decay.
/// Cost: recurrent and chunkwise O(T D E) a head, quadratic O(T^2 (D + E)).
/// Scratch: one block a thread, allocated before the computation; it does not grow with T, but for
/// the
///   quadratic form and for the denominators of normalize::sum over several passes.
/// Accuracy: 1e-10 in double and 2e-5 in float of the largest output (tests/laws).
/// Padding: on either side a token leaves no trace whose logits are -inf (additive), whose key and
///   log decay are 0 (the others, where the feature map keeps 0: identity, silu, relu), or whose
///   beta and log decay are 0 (update::delta). Its own output is to be ignored. For other feature
///   maps, and to save the work, see view.packed.
/// Errors: shape_error before anything is written.
template <detail::composition What>
class attention_t {
public:
    static constexpr detail::composition composition = What;

    /// Computes the output of whole sequences.
    template <class Place, class T>
    void forward(
        Place const& place, std::type_identity_t<inputs<What, accumulator_t<T>>> const& in,
        view<T, 4> const& o,
        std::type_identity_t<detail::options_of<What, accumulator_t<T>>> const& with = {}) const {
        auto call = detail::check_call<What, T, false>("attention", in, o, with);
        detail::take_places<What>("attention", call, with.at);
        auto passes = detail::passes_of(What);
        std::span<detail::pass> const used(passes.items.data(), passes.count);
        detail::merge(used);
        call.passes = used;
        detail::dispatch<What>(place, call);
    }

    /// Computes the gradients of sum(d_o * o) by the inputs: {d_q, d_k, d_v, ...} in the order of
    /// the inputs, or by name, {.q = d_q}; an empty view is not wanted.
    ///
    /// Shapes: d_o as o, each gradient as its input; summed over the query heads that share a key,
    ///   value or gate, and a constant gate's over tokens and sequences.
    /// Cost: O(T D E) a head, about 2.5 times the products of forward.
    /// Scratch: as forward's, and a state for every `every` chunks of the longest sequence.
    /// Threads: a head of a sequence each; fewer heads than threads share their time too, in one
    ///   direction with no decay, a scalar or a vector one. The same bits for any number.
    /// Accuracy: 1e-9 in double and 5e-5 in float of the largest entry (tests/laws/gradient.cpp).
    /// Errors: shape_error before anything is written.
    template <class Place, class T>
    void backward(
        Place const& place, std::type_identity_t<inputs<What, accumulator_t<T>>> const& in,
        view<T, 4> const& d_o, std::type_identity_t<gradients<What, accumulator_t<T>>> const& to,
        std::type_identity_t<detail::gradient_options_of<What, accumulator_t<T>>> const& with = {})
        const {
        using A = accumulator_t<T>;
        auto call = detail::check_backward<What, A>("attention backward", in,
                                                    detail::operand<A, 4>(d_o), to, with);
        detail::take_places<What>("attention backward", call.call, with.at);
        auto const passes = detail::passes_of(What);
        call.call.passes = {passes.items.data(), passes.count};
        detail::dispatch_backward<What>(place, call);
    }

    /// Takes one token of every sequence: moves `carried` on and computes the token's output.
    /// Shapes: as forward's without the time axis. Allocates nothing.
    template <class Place, class T>
    void step(Place const& place,
              std::type_identity_t<inputs<What, accumulator_t<T>, true>> const& in,
              std::type_identity_t<state_view<accumulator_t<T>>> const& carried,
              view<T, 3> const& o,
              std::type_identity_t<options<accumulator_t<T>>> with = {}) const {
        static_assert(!What.bidirectional(),
                      "rondo: step goes with causal and anticausal; a bidirectional operator needs "
                      "the whole sequence: use forward");
        with.out = carried;
        auto call = detail::check_call<What, T, true>("attention step", in, o, with);
        detail::take_places<What>("attention step", call, with.at);
        detail::dispatch_step<What>(place, call, carried.spare);
    }

    /// The state of no tokens, for `batch` sequences and `heads` key/value heads; `depth` are the
    /// channels of q and k, of which fused lrpe::cosine makes 2 each.
    template <class T>
    rondo::state<accumulator_t<T>> state(index batch, index heads, index depth, index width) const {
        static_assert(!What.bidirectional(),
                      "rondo: a bidirectional operator carries no state; states go with causal and "
                      "anticausal");
        return {What, batch, heads, What.turned_channels(depth), width};
    }

    /// The state that another program, or this one before, left as `bytes()`.
    /// Errors: shape_error for a blob that is damaged, cut short or not this operator's.
    template <class T>
    rondo::state<accumulator_t<T>> state(std::span<std::byte const> blob) const {
        static_assert(!What.bidirectional(),
                      "rondo: a bidirectional operator carries no state; states go with causal and "
                      "anticausal");
        return {What, blob};
    }
};

/// Composes an operator from policies, in any order, each kind at most once; what is not given is
/// decay::none, on_read, causal, update::outer, normalize::none, feature::identity, no positions
/// and any form.
template <class... Policies>
consteval auto attention(Policies...) {
    using detail::choice;
    constexpr bool known = (detail::policy<Policies> && ...);
    static_assert(known,
                  "rondo::attention accepts policies: decay::..., causal | anticausal | "
                  "bidirectional, recurrent | quadratic | chunkwise<C>, update::..., "
                  "normalize::..., feature::..., position::fused(...)");
    if constexpr (known) {
        constexpr auto count = []([[maybe_unused]] choice wanted) {
            return ((Policies::makes == wanted ? 1 : 0) + ... + 0);
        };
        static_assert(count(choice::decay) <= 1,
                      "rondo::attention accepts one decay: decay::none, constant, scalar, vector, "
                      "additive or additive_scalar");
        static_assert(count(choice::placement) <= 1,
                      "rondo::attention accepts one placement: decay::on_read or decay::on_write");
        static_assert(count(choice::direction) <= 1,
                      "rondo::attention accepts one direction: causal, anticausal or "
                      "bidirectional");
        static_assert(count(choice::form) <= 1,
                      "rondo::attention accepts one form: recurrent, quadratic or chunkwise<C>");
        static_assert(count(choice::update) <= 1,
                      "rondo::attention accepts one update: update::outer or update::delta");
        static_assert(count(choice::normalize) <= 1,
                      "rondo::attention accepts one normalisation: normalize::none or "
                      "normalize::sum");
        static_assert(count(choice::feature) <= 1, "rondo::attention accepts one feature map");
        static_assert(count(choice::position) <= 1,
                      "rondo::attention accepts one position::fused(...)");
        constexpr detail::composition what = [] {
            detail::composition c;
            (Policies::apply(c), ...);
            return c;
        }();
        static_assert(!what.delta || !what.additive(),
                      "rondo::attention: update::delta goes with decay::none, constant, scalar or "
                      "vector");
        static_assert(!what.delta || !what.normalized,
                      "rondo::attention: update::delta goes with normalize::none");
        static_assert(!what.delta || !what.bidirectional(),
                      "rondo::attention: update::delta goes with causal and anticausal");
        static_assert(!what.on_write || !what.additive(),
                      "rondo::attention: decay::on_write goes with decay::none, constant, scalar "
                      "or vector");
        return attention_t<what>{};
    }
}

}  // namespace rondo::inline RONDO_ISA
