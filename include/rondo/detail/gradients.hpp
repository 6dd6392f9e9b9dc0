/// @file
/// The gradients that `backward` leaves, its options, and the checks on both.
#pragma once

#include <rondo/detail/operands.hpp>
#include <rondo/kernel/adjoint/chunk.hpp>

namespace rondo::inline RONDO_ISA {
namespace detail {

/// The options of `backward` of a bidirectional operator.
template <class A>
struct stateless_gradient_options {
    double scale = 1, eps = 1e-6;
    index every = 1;
    position::places at{};
    static constexpr state_view<A const> in{}, d_out{};
    static constexpr state_view<A> d_in{};
};

}  // namespace detail

/// The gradients of a call, in the order of the inputs; an operator without a gate or beta has no
/// such member. An empty view is not wanted and costs nothing.
template <detail::composition What, class A>
struct gradients {
    detail::target<A, 4> q{}, k{}, v{};
};
template <detail::composition What, class A>
    requires(What.gated() && !What.delta)
struct gradients<What, A> {
    detail::target<A, 4> q{}, k{}, v{};
    detail::target<A, What.gate_rank()> gate{};
};
template <detail::composition What, class A>
    requires(!What.gated() && What.delta)
struct gradients<What, A> {
    detail::target<A, 4> q{}, k{}, v{};
    detail::target<A, 3> beta{};
};
template <detail::composition What, class A>
    requires(What.gated() && What.delta)
struct gradients<What, A> {
    detail::target<A, 4> q{}, k{}, v{};
    detail::target<A, What.gate_rank()> gate{};
    detail::target<A, 3> beta{};
};

/// What `backward` may be given besides inputs and gradients: `in`, `scale` and `eps` as forward
/// had them, and
template <class A>
struct gradient_options {
    state_view<A const> in{};
    /// The gradient by the state that forward left in `out` (none: zero), and where to leave the
    /// one by `in`. S, the normaliser and the additive sum are differentiated; the additive maximum
    /// is the reference that they are relative to, and fixed.
    state_view<A const> d_out{};
    state_view<A> d_in{};
    double scale = 1;
    double eps = 1e-6;
    /// A state is stored every so many chunks, those between are computed once more: 4 cost some
    /// 5 % of the time, but of a long sequence, whose states are fresh memory in every call, none.
    index every = 1;
    /// As forward had it.
    position::places at{};
};

namespace detail {

/// Checks one gradient against the input that it belongs to, and adds it to those written so far.
template <class A, int Rank>
inline tensor check_gradient(checker const& check, char const* name, target<A, Rank> const& x,
                             argument const& input, std::span<argument> written, index& count) {
    if (x.data == nullptr) return {};
    argument const to = argument_of(check, name, x, false);
    if (input.ones) refuse(check.name, {name, " is given, but k is rondo::ones: leave it empty"});
    std::string const because = std::string("the extents of ") + input.name;
    expected const wanted{input.extents,
                          {because.c_str(), because.c_str(), because.c_str(), because.c_str()}};
    check_extents(check, to, wanted);
    check_packing(check, to, input);
    check_output(check, to, std::span<argument const>(written.data(), std::size_t(count)));
    written[std::size_t(count++)] = to;
    return to.as_tensor();
}

/// Builds the problem of one call of `backward`.
template <composition What, class A, class Options>
inline adjoint_problem<A> check_backward(char const* name, inputs<What, A> const& in,
                                         operand<A, 4> const& d_o, gradients<What, A> const& to,
                                         Options const& with) {
    using place = call_arguments::place;
    checker const check{name};
    call_arguments const all = arguments_of(check, in, "d_o", d_o);
    adjoint_problem<A> result;
    problem<A>& call = result.call;
    call = check_arguments<A>(check, What, all, false);
    call.scale = A(with.scale);
    call.eps = A(with.eps);
    if (with.every < 1) refuse(name, {"every is ", with.every, ", expected at least 1"});
    result.every = with.every;

    // No gradient may share memory with what is read, nor with another gradient.
    std::array<argument, 11> used;
    index count = 0;
    for (argument const& x : all.in) used[std::size_t(count++)] = x;
    used[std::size_t(count++)] = all.o;
    auto const checked = [&](char const* gradient, auto const& x, place input) {
        return check_gradient(check, gradient, x, all.in[input], used, count);
    };
    result.d_q = checked("d_q", to.q, place::q);
    result.d_k = checked("d_k", to.k, place::k);
    result.d_v = checked("d_v", to.v, place::v);
    if constexpr (What.gated()) result.d_gate = checked("d_gate", to.gate, place::gate);
    if constexpr (What.delta) result.d_beta = checked("d_beta", to.beta, place::beta);
    call.in = check_state(check, "state in", call, with.in);
    result.d_out = check_state(check, "state d_out", call, with.d_out);
    result.d_in = check_state(check, "state d_in", call, with.d_in);
    return result;
}

}  // namespace detail
}  // namespace rondo::inline RONDO_ISA
