/// @file
/// Toeplitz positional encoding: a sum of exponentials of the distance between tokens, along time
/// or along every axis of a grid.
#pragma once

#include <rondo/direction.hpp>
#include <rondo/position/toeplitz_call.hpp>

#include <tuple>

namespace rondo::inline RONDO_ISA::detail {

/// The direction that a policy asks for.
template <class Policy>
consteval direction_kind direction_of() {
    constexpr bool known = [] {
        if constexpr (policy<Policy>) return Policy::makes == choice::direction;
        return false;
    }();
    static_assert(known,
                  "rondo::position::tpe accepts one grid and one direction: causal, anticausal or "
                  "bidirectional");
    composition c;
    if constexpr (known) Policy::apply(c);
    return c.direction;
}

}  // namespace rondo::inline RONDO_ISA::detail

namespace rondo::inline RONDO_ISA::position {

/// {x, b, log_lambda} of `tpe`.
template <class A, int Rank, int CoefficientRank>
struct tpe_inputs {
    detail::operand<A, Rank> x;
    detail::operand<A, CoefficientRank> b, log_lambda;

    template <class... Views>
    tpe_inputs(Views const&... views) {
        using wanted = detail::views_of_rank<A, Rank, CoefficientRank, CoefficientRank>;
        constexpr bool right = wanted::template are<Views...>();
        static_assert(right || CoefficientRank == 3,
                      "rondo::position::tpe takes {x, b, log_lambda}: x of y's rank, b and "
                      "log_lambda [channel, m], all of y's precision");
        static_assert(right || CoefficientRank == 2,
                      "rondo::position::tpe over a grid takes {x, b, log_lambda}: x of y's rank, b "
                      "and log_lambda [axis, channel, m], all of y's precision");
        if constexpr (right) std::tie(x, b, log_lambda) = std::tie(views...);
    }
};

/// What backward gives, in the order of the inputs.
template <class A, int Rank, int CoefficientRank>
struct tpe_gradients {
    detail::target<A, Rank> x{};
    detail::target<A, CoefficientRank> b{}, log_lambda{};
};

/// States are [..., channel, m], the first axes those of x before time: sum_s exp(log_lambda
/// (t - s)) x_s. A state not given is 0.
template <class A, int Rank>
struct tpe_options {
    view<A const, Rank> in{};
    view<A, Rank> out{};
};

template <class A, int Rank>
struct tpe_backward_options {
    view<A const, Rank> in{};
    view<A const, Rank> d_out{};
    view<A, Rank> d_in{};
};

/// A two-sided encoding, and one over a grid, carry nothing: their calls take no options.
struct tpe_no_options {};

/// The encoding, made by `tpe(...)`.
///
/// y_t = sum_(s <= t) (sum_m b[c,m] exp(log_lambda[c,m] (t - s))) x_s; two-sided over every s with
/// |t - s|; over a grid the sum of that along each axis, each with its own coefficients.
///
/// Shapes: x and y [..., time, channel] (rank 2 to 8), b and log_lambda [channel, m], or [axis,
///   channel, m] over a grid; a zero stride shares them. Packed views are refused.
/// Units: log_lambda is a log decay per token, <= 0.
/// Cost: 4 m flops an element and sweep, one sweep an axis, two when two-sided: linear in time.
/// Scratch: 3 m rows of 64 channels and two tiles a thread, and tables of the coefficients;
///   16-bit outputs of several sweeps are summed in float first.
/// Accuracy: 1e-10 in double and 2e-5 in float of the largest output (tests/laws/tpe.cpp).
/// Errors: shape_error before anything is written.
/// Source: Qin et al. 2023, "Toeplitz neural network for sequence modeling", section 3, with the
///   kernel of Qin & Zhong 2023, "Accelerating Toeplitz neural network with constant-time
///   inference complexity", section 3.
template <detail::direction_kind Direction, int GridRank>
class tpe_t {
    static constexpr int coefficient_rank = GridRank == 0 ? 2 : 3;
    static constexpr bool carries =
        GridRank == 0 && Direction != detail::direction_kind::bidirectional;
    static constexpr char const* name = "position::tpe";

    template <class A, int Rank>
    using inputs = tpe_inputs<A, Rank, coefficient_rank>;
    template <class A, int Rank>
    using gradients = tpe_gradients<A, Rank, coefficient_rank>;
    template <class A, int Rank>
    using options = std::conditional_t<carries, tpe_options<A, Rank>, tpe_no_options>;
    template <class A, int Rank>
    using backward_options =
        std::conditional_t<carries, tpe_backward_options<A, Rank>, tpe_no_options>;

public:
    constexpr explicit tpe_t(detail::token_shape const& shape) noexcept : shape_(shape) {}

    /// The same encoding with the first `tokens` left alone: they stay as they are, and no other
    /// token sees them.
    constexpr tpe_t skip(index tokens) const noexcept {
        tpe_t result = *this;
        result.skip_ = tokens;
        return result;
    }

    /// The encoding of whole sequences.
    template <class Place, class T, int Rank>
    void forward(Place const& place, std::type_identity_t<inputs<accumulator_t<T>, Rank>> const& in,
                 view<T, Rank> const& y,
                 std::type_identity_t<options<accumulator_t<T>, Rank>> const& with = {}) const {
        using A = accumulator_t<T>;
        auto c = call<A, Rank>(in.x, in.b, in.log_lambda);
        detail::operand<A, Rank> out;
        if constexpr (carries) {
            c.in = with.in;
            out = with.out;
        }
        c.forward(place, detail::operand<A, Rank>(y), out);
    }

    /// Gradients of a loss from d_y (and `.d_out`); those not wanted are left empty.
    template <class Place, class T, int Rank>
    void backward(
        Place const& place, std::type_identity_t<inputs<accumulator_t<T>, Rank>> const& in,
        view<T, Rank> const& d_y, std::type_identity_t<gradients<accumulator_t<T>, Rank>> const& to,
        std::type_identity_t<backward_options<accumulator_t<T>, Rank>> const& with = {}) const {
        using A = accumulator_t<T>;
        auto c = call<A, Rank>(in.x, in.b, in.log_lambda);
        detail::operand<A, Rank> d_out, d_in;
        if constexpr (carries) {
            c.in = with.in;
            d_out = with.d_out;
            d_in = with.d_in;
        }
        c.backward(place, detail::operand<A, Rank>(d_y), to.x, to.b, to.log_lambda, d_out, d_in);
    }

    /// One token: moves `state` on. Shapes: as forward's without the time axis.
    template <class Place, class T, int Rank>
    void step(Place const& place, std::type_identity_t<inputs<accumulator_t<T>, Rank>> const& in,
              std::type_identity_t<view<accumulator_t<T>, Rank + 1>> const& state,
              view<T, Rank> const& y) const {
        static_assert(carries,
                      "rondo::position::tpe: step goes with causal and anticausal along time; a "
                      "two-sided encoding, or one over a grid, needs all tokens: use forward");
        using A = accumulator_t<T>;
        detail::operand<A, Rank> const out = y;
        auto c = call<A, Rank + 1>(detail::with_axis(in.x, Rank - 1), in.b, in.log_lambda);
        c.skip = 0;
        c.in = state;
        if (!given(c.in) && given(out)) {
            detail::refuse(name, {"step is given a null state, expected [..., channel, m] for the ",
                                  y.size(), " elements of y"});
        }
        c.forward(place, detail::with_axis(out, Rank - 1), c.in);
    }

private:
    template <class A, int Rank>
    detail::toeplitz_call<A, Rank, coefficient_rank> call(
        detail::operand<A, Rank> const& x, detail::operand<A, coefficient_rank> const& b,
        detail::operand<A, coefficient_rank> const& log_lambda) const {
        static_assert(Rank >= 2 && Rank + GridRank <= detail::max_axes + 2,
                      "rondo::position::tpe takes x of rank 2 or more, [..., time, channel], and "
                      "at most 8 axes with those of the grid");
        return {{name}, shape_, Direction, skip_, x, {}, b, log_lambda};
    }

    detail::token_shape shape_;
    index skip_ = 0;
};

/// Along time; `causal` (default), `anticausal` or `bidirectional` (two-sided).
template <class Way = causal_t>
constexpr auto tpe(Way = {}) {
    return tpe_t<detail::direction_of<Way>(), 0>(detail::token_shape{});
}

/// MD-TPE: the sum of the encodings along each axis of a grid.
template <int GridRank, class Way = causal_t>
constexpr auto tpe(grid<GridRank> const& tokens, Way = {}) {
    return tpe_t<detail::direction_of<Way>(), GridRank>(detail::token_shape(tokens));
}

}  // namespace rondo::inline RONDO_ISA::position
