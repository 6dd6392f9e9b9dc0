/// @file
/// Linearised relative positional encoding: a unitary matrix to the power of a token's place, so
/// that inner products depend on differences of places alone.
#pragma once

#include <rondo/position/family.hpp>
#include <rondo/position/turn_checks.hpp>

#include <tuple>

namespace rondo::inline RONDO_ISA {

namespace detail {

template <class Lambda>
inline constexpr bool is_lambda = false;
template <>
inline constexpr bool is_lambda<lrpe::rotation_t> = true;
template <>
inline constexpr bool is_lambda<lrpe::cosine_t> = true;
template <>
inline constexpr bool is_lambda<lrpe::permutation_t> = true;

template <class Lambda>
constexpr turn_kind turn_of() noexcept {
    if (std::is_same_v<Lambda, lrpe::permutation_t>) return turn_kind::permuted;
    return std::is_same_v<Lambda, lrpe::cosine_t> ? turn_kind::doubled : turn_kind::interleaved;
}

template <class P>
inline constexpr int basis_number = -1;
template <>
inline constexpr int basis_number<lrpe::identity_t> = int(basis_kind::identity);
template <>
inline constexpr int basis_number<lrpe::householder_t> = int(basis_kind::householder);
template <>
inline constexpr int basis_number<lrpe::permutation_t> = int(basis_kind::permutation);
template <>
inline constexpr int basis_number<lrpe::cosine_transform_t> = int(basis_kind::cosine_transform);
template <>
inline constexpr int basis_number<lrpe::fourier_t> = int(basis_kind::fourier);

/// Whether an argument may stand for rows [head, n] of angles, or of a permutation.
template <class A, class Argument>
inline constexpr bool is_angles = std::is_same_v<Argument, lrpe::fixed_t> ||
                                  (rank_of<Argument> == 2 && accumulates_in<Argument, A>);
template <class Argument>
inline constexpr bool is_order = std::is_convertible_v<Argument, order_view>;

}  // namespace detail

namespace position {

/// {x, theta}, {x, permutation}, and behind them what P takes.
template <class Lambda, class P, class A, int Rank>
struct lrpe_inputs {
    static constexpr bool powers = std::is_same_v<Lambda, lrpe::permutation_t>;
    static constexpr bool reflects = std::is_same_v<P, lrpe::householder_t>;
    static constexpr bool reorders = std::is_same_v<P, lrpe::permutation_t>;

    detail::operand<A, Rank> x;
    detail::operand<A, 2> theta, vector;
    detail::order_view order, basis_order;

    template <class X, class... Rest>
    lrpe_inputs(X const& input, Rest const&... rest) {
        constexpr bool typed = detail::rank_of<X> == Rank && detail::accumulates_in<X, A>;
        static_assert(typed,
                      "rondo::position::lrpe takes x [batch, head, time, channel] (step: without "
                      "time) of y's precision");
        constexpr bool with_data = reflects || reorders;
        constexpr bool short_form = !powers && !with_data && sizeof...(Rest) == 0;
        constexpr bool right = short_form || sizeof...(Rest) == (with_data ? 2 : 1);
        static_assert(right || powers || with_data,
                      "rondo::position::lrpe takes {x, theta}, theta [head, angle] or lrpe::fixed");
        static_assert(right || !powers || with_data,
                      "rondo::position::lrpe with lrpe::permutation takes {x, permutation}");
        static_assert(right || !with_data,
                      "rondo::position::lrpe with such a P takes {x, theta or permutation, vector "
                      "or permutation of P}");
        if constexpr (typed) x = input;
        if constexpr (typed && right && !short_form) take(rest...);
    }

private:
    template <class Angles, class... Data>
    void take(Angles const& angles, Data const&... data) {
        constexpr bool fits = powers ? detail::is_order<Angles> : detail::is_angles<A, Angles>;
        static_assert(fits || powers,
                      "rondo::position::lrpe: theta is a view [head, angle] of y's precision, or "
                      "lrpe::fixed");
        static_assert(fits || !powers,
                      "rondo::position::lrpe: a permutation is a view<rondo::index const, 2>, "
                      "[head, channel]");
        if constexpr (fits && powers) {
            order = angles;
        } else if constexpr (fits && detail::rank_of<Angles> == 2) {
            theta = angles;
        }
        (take_data(data), ...);
    }

    template <class Data>
    void take_data(Data const& data) {
        constexpr bool vectors = detail::rank_of<Data> == 2 && detail::accumulates_in<Data, A>;
        constexpr bool fits = reflects ? vectors : detail::is_order<Data>;
        static_assert(fits || !reflects,
                      "rondo::position::lrpe: the Householder vector is a view [head, channel] of "
                      "y's precision");
        static_assert(fits || reflects,
                      "rondo::position::lrpe: the permutation P is a view<rondo::index const, 2>, "
                      "[head, channel]");
        if constexpr (fits && reflects) vector = data;
        if constexpr (fits && !reflects) basis_order = data;
    }
};

/// What backward gives: theta [head, angle], vector (of Householder) [head, channel].
template <class A>
struct lrpe_gradients {
    detail::target<A, 4> x{};
    detail::target<A, 2> theta{}, vector{};
};

/// The encoding, made by `lrpe(Lambda, [P], [grid])`.
///
/// y_s = Lambda^s P x_s. On a grid of r axes with A angles a token (the channels for cosine, the
/// pairs for rotation) theta is [head, ceil(A / r)], and the angles of the token at (s_1 .. s_r)
/// are concat(s_1 theta, ..., s_r theta)[:A]; a permutation [head, D / r] acts on the same blocks.
///
/// Shapes: x [batch, head, time, channel], y the same, with lrpe::cosine 2 D channels; a zero
///   stride shares theta over the heads. Packed views are refused.
/// Units: radians a place.
/// Cost: 6 flops an element, householder 4 more, the transforms 2 D.
/// Scratch: tables of up to 64 turns a thread and head; P and the sums of gradients a call.
/// Accuracy: 2e-6 in float and 1e-12 in double of the largest |x|, places below 2^26
///   (tests/laws/position.cpp).
/// Errors: shape_error before anything is written.
/// Source: Qin et al. 2023, "Linearized relative positional encoding", section 3.
template <class Lambda, class P>
class lrpe_t {
    template <class A, int Rank>
    using inputs = lrpe_inputs<Lambda, P, A, Rank>;

public:
    constexpr lrpe_t() = default;
    constexpr explicit lrpe_t(detail::token_shape const& shape) noexcept : shape_(shape) {}

    /// The same encoding with the first `tokens` left alone: as they are, with lrpe::cosine and
    /// imaginary parts of 0; places count after them.
    constexpr lrpe_t skip(index tokens) const noexcept {
        lrpe_t result = *this;
        result.skip_ = tokens;
        return result;
    }

    template <class Place, class T>
    void forward(Place const& place, std::type_identity_t<inputs<accumulator_t<T>, 4>> const& in,
                 view<T, 4> const& y, place_options const& with = {}) const {
        using A = accumulator_t<T>;
        request<A>(in.x, in, with).forward(place, y);
    }

    /// Gradients of a loss from d_y; those not wanted are left empty.
    template <class Place, class T>
    void backward(Place const& place, std::type_identity_t<inputs<accumulator_t<T>, 4>> const& in,
                  view<T, 4> const& d_y,
                  std::type_identity_t<lrpe_gradients<accumulator_t<T>>> const& to,
                  place_options const& with = {}) const {
        using A = accumulator_t<T>;
        if (std::is_same_v<Lambda, lrpe::permutation_t> && given(to.theta)) {
            detail::refuse(name, {"d_theta has ", to.theta.extents[1],
                                  " angles, expected none (0) with lrpe::permutation"});
        }
        if (!std::is_same_v<P, lrpe::householder_t> && given(to.vector)) {
            detail::refuse(name, {"d_vector has ", to.vector.extents[1],
                                  " channels, expected none (0) without lrpe::householder"});
        }
        request<A>(in.x, in, with).backward(place, d_y, to.x, to.theta, to.vector);
    }

    /// One token, at `.offset`. Views without the time axis.
    template <class Place, class T>
    void step(Place const& place, std::type_identity_t<inputs<accumulator_t<T>, 3>> const& in,
              view<T, 3> const& y, place_options const& with) const {
        using A = accumulator_t<T>;
        detail::operand<A, 3> const out = y;
        request<A>(detail::with_axis(in.x, 2), in, with).forward(place, detail::with_axis(out, 2));
    }

private:
    static constexpr char const* name = "position::lrpe";

    template <class A, class Inputs>
    detail::turn_request<A> request(detail::operand<A, 4> const& x, Inputs const& in,
                                    place_options const& with) const {
        detail::turn_request<A> result{{name}};
        result.kind = detail::turn_of<Lambda>();
        result.basis_of = detail::basis_kind(detail::basis_number<P>);
        result.shape = shape_;
        result.skip = skip_;
        result.x = x;
        result.theta = in.theta;
        result.vector = in.vector;
        result.order = in.order;
        result.basis_order = in.basis_order;
        result.offset = with.offset;
        return result;
    }

    detail::token_shape shape_{};
    index skip_ = 0;
};

/// Along time. Lambda: lrpe::rotation, cosine or permutation. P: lrpe::identity (the default),
/// householder, permutation, cosine_transform or fourier.
template <class Lambda, class P = lrpe::identity_t>
    requires(detail::is_lambda<Lambda>&& detail::basis_number<P> >= 0)
constexpr auto lrpe(Lambda, P = {}) { return lrpe_t<Lambda, P>(); }

/// MD-LRPE, over a grid.
template <class Lambda, int GridRank>
    requires(detail::is_lambda<Lambda>)
constexpr auto lrpe(Lambda, grid<GridRank> const& tokens) {
    return lrpe_t<Lambda, rondo::lrpe::identity_t>(detail::token_shape(tokens));
}
template <class Lambda, class P, int GridRank>
    requires(detail::is_lambda<Lambda>&& detail::basis_number<P> >= 0)
constexpr auto lrpe(Lambda, P, grid<GridRank> const& tokens) {
    return lrpe_t<Lambda, P>(detail::token_shape(tokens));
}

}  // namespace position
}  // namespace rondo::inline RONDO_ISA
