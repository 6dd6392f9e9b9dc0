/// @file
/// The inputs of an operator, taken in mathematical order, and the options of a call.
#pragma once

#include <rondo/detail/problem.hpp>
#include <rondo/position/fused.hpp>
#include <rondo/state.hpp>
#include <rondo/view.hpp>

namespace rondo::inline RONDO_ISA {
namespace detail {

/// An input of any element type that accumulates in A.
template <class A, int Rank>
struct operand {
    std::byte const* data = nullptr;
    element kind = element::float32;
    std::array<index, std::size_t(Rank)> extents{}, strides{};  // strides in elements
    std::span<index const> offsets{};
    bool ones = false;

    constexpr operand() = default;
    template <class T>
        requires std::is_same_v<accumulator_t<T>, A> operand(view<T, Rank> const& v)
    noexcept
        : data(reinterpret_cast<std::byte const*>(v.data())),
          kind(element_traits<std::remove_cv_t<T>>::kind),
          extents(v.extents()),
          strides(v.strides()),
          offsets(v.offsets()) {}
    operand(ones_t) noexcept : ones(true) {}
};

template <class Argument>
inline constexpr int rank_of = -1;
template <class T, int Rank>
inline constexpr int rank_of<view<T, Rank>> = Rank;
template <>
inline constexpr int rank_of<ones_t> = 0;

template <class Argument, class A>
inline constexpr bool accumulates_in = true;
template <class T, int Rank, class A>
inline constexpr bool accumulates_in<view<T, Rank>, A> = [] {
    if constexpr (element_traits<std::remove_cv_t<T>>::known) {
        return std::is_same_v<accumulator_t<T>, A>;
    } else {
        return false;
    }
}();

/// The axes that an input lacks at one token: `step` takes views without the time axis.
constexpr int rank_at(int rank, bool one_token) noexcept {
    return one_token && rank > 1 ? rank - 1 : rank;
}

}  // namespace detail

/// q, k, v, then the gate and beta where the operator has them; the wrong number or the wrong rank
/// is a sentence of the compiler.
template <detail::composition What, class A, bool OneToken = false>
struct inputs {
    static constexpr int channel_rank = OneToken ? 3 : 4;
    static constexpr int gate_rank = detail::rank_at(What.gate_rank(), OneToken);
    static constexpr int beta_rank = OneToken ? 2 : 3;

    detail::operand<A, channel_rank> q, k, v;
    detail::operand<A, gate_rank> gate;
    detail::operand<A, beta_rank> beta;

    template <class... Arguments>
    inputs(Arguments const&... arguments) {
        constexpr bool gated = What.gated(), delta = What.delta;
        constexpr std::size_t count = 3 + (gated ? 1 : 0) + (delta ? 1 : 0);
        constexpr bool right = sizeof...(Arguments) == count;
        static_assert(right || gated || delta,
                      "rondo: an operator with decay::none takes the inputs {q, k, v}");
        static_assert(right || !gated || delta,
                      "rondo: an operator with a gated decay takes the inputs {q, k, v, gate}");
        static_assert(right || gated || !delta,
                      "rondo: update::delta with decay::none takes the inputs {q, k, v, beta}");
        static_assert(right || !gated || !delta,
                      "rondo: update::delta with a decay takes the inputs {q, k, v, gate, beta}");
        constexpr bool typed = (detail::accumulates_in<Arguments, A> && ...);
        static_assert(typed,
                      "rondo: inputs and output agree in precision: all double, or each of them "
                      "float, Eigen::bfloat16 or Eigen::half");
        if constexpr (right && typed) take(arguments...);
    }

private:
    template <class Q, class K, class V, class... Rest>
    void take(Q const& query, K const& key, V const& value, Rest const&... rest) {
        constexpr int q_rank = detail::rank_of<Q>, k_rank = detail::rank_of<K>;
        constexpr bool main = q_rank == channel_rank &&
                              (k_rank == channel_rank ||
                               std::is_same_v<K, ones_t>)&&detail::rank_of<V> == channel_rank;
        static_assert(main || OneToken,
                      "rondo: q, k and v are views of rank 4, [batch, head, time, channel] (k may "
                      "be rondo::ones)");
        static_assert(main || !OneToken,
                      "rondo: step takes q, k and v of rank 3, [batch, head, channel] (k may be "
                      "rondo::ones)");
        if constexpr (main) {
            q = query;
            k = key;
            v = value;
            take_rest(rest...);
        }
    }

    void take_rest() {}

    template <class First, class... Second>
    void take_rest(First const& first, Second const&... second) {
        if constexpr (What.gated()) {
            constexpr bool fits = detail::rank_of<First> == gate_rank;
            static_assert(fits || OneToken || !What.per_channel(),
                          "rondo: the gate of decay::vector and decay::additive is a view of rank "
                          "4, [batch, head, time, channel]");
            static_assert(fits || OneToken || What.gate_rank() != 3,
                          "rondo: the gate of decay::scalar and decay::additive_scalar is a view "
                          "of rank 3, [batch, head, time]");
            static_assert(fits || What.gate_rank() != 1,
                          "rondo: the gate of decay::constant is a view of rank 1, [head]");
            static_assert(fits || !OneToken || What.gate_rank() == 1,
                          "rondo: step takes gates without the time axis: [batch, head, channel] "
                          "or [batch, head]");
            if constexpr (fits) gate = first;
            (take_beta(second), ...);
        } else {
            take_beta(first);
        }
    }

    template <class Beta>
    void take_beta(Beta const& value) {
        constexpr bool fits = detail::rank_of<Beta> == beta_rank;
        static_assert(fits || OneToken, "rondo: beta is a view of rank 3, [batch, head, time]");
        static_assert(fits || !OneToken, "rondo: step takes beta of rank 2, [batch, head]");
        if constexpr (fits) beta = value;
    }
};

/// What a call may be given besides inputs and output.
template <class A>
struct options {
    /// The state to start from, and where to leave the state after; they may be the same.
    state_view<A const> in{};
    state_view<A> out{};
    /// Multiplies the output.
    double scale = 1;
    /// Added to the denominator of normalize::sum.
    double eps = 1e-6;
    /// Where the tokens stand, for an operator with position::fused.
    position::places at{};
};

}  // namespace rondo::inline RONDO_ISA
