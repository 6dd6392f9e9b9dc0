/// @file
/// Checks of a call that turns channels, and the call itself from the views it is given.
#pragma once

#include <rondo/position/turning.hpp>

namespace rondo::inline RONDO_ISA {
namespace position {

/// Where the first token of a call stands: 0 unless it goes on with a sequence.
struct place_options {
    /// Over a grid, a call without an offset holds the whole grid, and one with it any part.
    std::optional<index> offset{};
};

}  // namespace position

namespace detail {

template <class A>
inline tensor tensor_of(operand<A, 4> const& x) noexcept {
    index const size = element_size(x.kind);
    return {const_cast<std::byte*>(x.data),
            x.strides[0] * size,
            x.strides[1] * size,
            x.strides[2] * size,
            x.strides[3] * size,
            x.kind};
}

/// What a call turns, and with what; operands that it lacks are empty.
template <class A>
struct turn_request {
    checker check;
    turn_kind kind = turn_kind::interleaved;
    basis_kind basis_of = basis_kind::identity;
    token_shape shape{};
    index skip = 0;
    double base = 10000;
    operand<A, 4> x{};
    operand<A, 2> theta{}, vector{};
    order_view order{}, basis_order{};
    std::optional<index> offset{};

    /// The call without its outputs, after the checks that every verb makes.
    turn_call<A> call() const {
        turn_call<A> result;
        check.present("x", x);
        check_one_sequence(check, "x", x);
        result.kind = kind;
        result.batch = x.extents[0];
        result.heads = x.extents[1];
        result.length = x.extents[2];
        result.channels = x.extents[3];
        result.x = tensor_of(x);
        result.base = base;
        result.theta = theta;
        result.order = order;
        result.places = check_places(check, shape, skip, offset, result.length);
        if (result.permuted()) check_powers(result);
        if (given(theta) || theta.extents != std::array<index, 2>{}) {
            check_rows("theta", theta, result.heads, result.block(),
                       "the angles of a token over the axes of the grid, rounded up");
        }
        if (basis_of == basis_kind::householder) {
            check_rows("the Householder vector", vector, result.heads, result.channels,
                       "x's channels");
        }
        if (basis_of == basis_kind::permutation) {
            check_order(check, "the permutation P", basis_order, result.heads, result.channels,
                        "x's channels");
        }
        return result;
    }

    template <class Place>
    void forward(Place const& place, operand<A, 4> const& y) const {
        turn_call<A> c = call();
        check_output(check, "y", y);
        check_extents(check, "y", y, extents(c.width()), "x's, the channels as y has them");
        apart("y", y);
        c.y = tensor_of(y);
        if constexpr (runs_on_host<Place>) {
            using L = lanes_of<Place, A>;
            turn_forward<L>(c, basis_for<L>(c), threads_of(place));
        } else {
            turn_on(place, c, *this);  // found where the place is defined
        }
    }

    template <class Place>
    void backward(Place const& place, operand<A, 4> const& d_y, operand<A, 4> const& d_x,
                  operand<A, 2> const& d_theta, operand<A, 2> const& d_vector) const {
        turn_call<A> c = call();
        check.present("d_y", d_y);
        check_extents(check, "d_y", d_y, extents(c.width()), "x's, the channels as y has them");
        check_gradient("d_x", d_x, extents(c.channels), d_y);
        check_gradient("d_theta", d_theta, {c.heads, c.block()}, d_y);
        check_gradient("d_vector", d_vector, {c.heads, c.channels}, d_y);
        check_apart(check, "d_x", d_x, "d_theta", d_theta);
        check_apart(check, "d_x", d_x, "d_vector", d_vector);
        check_apart(check, "d_theta", d_theta, "d_vector", d_vector);
        c.d_y = tensor_of(d_y);
        c.d_x = tensor_of(d_x);
        c.d_theta = d_theta;
        c.d_vector = d_vector;
        if constexpr (runs_on_host<Place>) {
            using L = lanes_of<Place, A>;
            turn_backward<L>(c, basis_for<L>(c), threads_of(place));
        } else {
            turn_back_on(place, c, *this);
        }
    }

private:
    template <class L>
    basis<L> basis_for(turn_call<A> const& c) const {
        return {basis_of, c.heads, c.channels, vector, basis_order};
    }

    std::array<index, 4> extents(index channels) const noexcept {
        return {x.extents[0], x.extents[1], x.extents[2], channels};
    }

    void check_rows(char const* name, operand<A, 2> const& rows, index heads, index width,
                    char const* because) const {
        check.extent(name, "head", rows.extents[0], heads, "x's heads");
        check.extent(name, "channel", rows.extents[1], width, because);
        check.present(name, rows);
    }

    /// A permutation acts on blocks of channels, one an axis: all of them whole.
    void check_powers(turn_call<A> const& c) const {
        if (c.channels % c.axes() != 0) {
            refuse(check.name, {"x has ", c.channels, " channels, expected a multiple of the ",
                                c.axes(), " axes of the grid for lrpe::permutation"});
        }
        check_order(check, "the permutation", order, c.heads, c.block(),
                    "x's channels over the axes of the grid");
    }

    template <int Rank>
    void check_gradient(char const* name, operand<A, Rank> const& d,
                        std::array<index, std::size_t(Rank)> const& wanted,
                        operand<A, 4> const& d_y) const {
        if (!given(d)) return;
        check_output(check, name, d);
        check_extents(check, name, d, wanted, "its input's");
        check_apart(check, name, d, "d_y", d_y);
        apart(name, d);
    }

    template <int Rank>
    void apart(char const* name, operand<A, Rank> const& o) const {
        check_apart(check, name, o, "x", x);
        check_apart(check, name, o, "theta", theta);
        check_apart(check, name, o, "the Householder vector", vector);
    }
};

}  // namespace detail
}  // namespace rondo::inline RONDO_ISA
