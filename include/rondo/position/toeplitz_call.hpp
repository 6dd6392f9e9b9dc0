/// @file
/// One call of a Toeplitz encoding: its checks, then the tokens left alone, then the sweeps.
#pragma once

#include <rondo/position/encoding.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// A tensor [..., time, channel] from token `count` on.
template <class A, int Rank>
inline operand<A, Rank> after(operand<A, Rank> x, index count) noexcept {
    constexpr auto time = std::size_t(Rank - 2);
    if (x.data != nullptr) x.data += count * x.strides[time] * element_size(x.kind);
    x.extents[time] -= count;
    return x;
}

/// Copies the first `count` tokens of [..., time, channel].
template <class L, class A, int Rank>
inline void copy_tokens(operand<A, Rank> const& from, operand<A, Rank> const& to,
                        index count) noexcept {
    token_shape const line;
    line_space const space = space_along(from, line, 0);
    lines const x = lines_along(from, line, 0), y = lines_along(to, line, 0);
    A buffer[exponential_block];
    for (index number = 0; number < space.count(); ++number) {
        lines const source = x.line(space, number), sink = y.line(space, number);
        for (index t = 0; t < count; ++t) {
            for (index c = 0; c < space.width; c += exponential_block) {
                index const n = std::min(exponential_block, space.width - c);
                load_row<L>(buffer, source.at(t, c), n, n);
                store_row<L>(sink.at(t, c), buffer, n);
            }
        }
    }
}

/// Packed rows of A with the extents of a tensor.
template <class A, int Rank>
struct packed_tensor {
    std::vector<A> values;
    operand<A, Rank> whole;

    explicit packed_tensor(std::array<index, std::size_t(Rank)> const& extents) {
        index count = 1;
        for (index extent : extents) count *= extent;
        values.resize(std::size_t(count) + 1);
        whole = view<A, Rank>(values.data(), extents);
    }
};

/// What a call holds besides its outputs.
template <class A, int Rank, int CoefficientRank>
struct toeplitz_call {
    using tensor_type = operand<A, Rank>;
    using coefficients = operand<A, CoefficientRank>;

    checker check;
    token_shape shape;
    direction_kind direction;
    index skip;
    tensor_type x, in;
    coefficients b, log_lambda;

    template <class Place>
    void forward(Place const& place, tensor_type const& y, tensor_type const& out) const {
        check_call("y", y);
        check_output(check, "y", y);
        check_state("state out", out);
        if (given(out)) check_output(check, "state out", out);
        apart("y", y);
        apart("state out", out, false);
        check_apart(check, "y", y, "state out", out);
        auto e = inner();
        e.out = out;
        if constexpr (runs_on_host<Place>) {
            using L = lanes_of<Place, A>;
            copy_tokens<L>(x, y, alone());
            encode_into<L>(e, after(y, alone()), false, threads_of(place));
        } else {
            encode_on(place, x, y, alone(), e, after(y, alone()));  // found where the place is
        }
    }

    template <class Place>
    void backward(Place const& place, tensor_type const& d_y, tensor_type const& d_x,
                  coefficients const& d_b, coefficients const& d_log_lambda,
                  tensor_type const& d_out, tensor_type const& d_in) const {
        check_call("d_y", d_y);
        check.present("d_y", d_y);
        check_state("d_out", d_out);
        check_state("d_in", d_in);
        check_gradient("d_x", d_x, x, d_y);
        check_gradient("d_b", d_b, b, d_y);
        check_gradient("d_log_lambda", d_log_lambda, log_lambda, d_y);
        check_gradient("d_in", d_in, d_in, d_y);
        check_apart(check, "d_in", d_in, "d_out", d_out);
        check_apart(check, "d_x", d_x, "d_out", d_out);
        check_apart(check, "d_x", d_x, "d_in", d_in);
        check_apart(check, "d_x", d_x, "d_b", d_b);
        check_apart(check, "d_x", d_x, "d_log_lambda", d_log_lambda);
        check_apart(check, "d_b", d_b, "d_log_lambda", d_log_lambda);

        tensor_type const d_y_inner = after(d_y, alone());
        tensor_type const d_x_inner = given(d_x) ? after(d_x, alone()) : tensor_type{};
        auto e = inner();
        e.x = d_y_inner;
        e.in = {};
        if constexpr (runs_on_host<Place>) {
            using L = lanes_of<Place, A>;
            int const threads = threads_of(place);
            if (given(d_b) || given(d_log_lambda)) {
                differentiate<L>(inner(), d_y_inner, d_out, d_b, d_log_lambda, threads);
            }
            if (!given(d_x) && !given(d_in)) return;
            if (given(d_x)) copy_tokens<L>(d_y, d_x, alone());
            back_to_x<L>(e, d_x_inner, d_out, d_in, threads);
        } else {
            if (given(d_b) || given(d_log_lambda)) {
                differentiate_on(place, inner(), d_y_inner, d_out, d_b, d_log_lambda);
            }
            encode_back_on(place, d_y, d_x, alone(), e, d_x_inner, d_out, d_in);
        }
    }

private:
    index alone() const noexcept { return std::min(skip, x.extents[Rank - 2]); }

    /// The call without the tokens that are left alone.
    encoding<A, Rank, CoefficientRank> inner() const noexcept {
        return {shape, direction, after(x, alone()), b, log_lambda, in, {}};
    }

    /// Sums of several sweeps lie in A: a 16-bit output would round each of them.
    template <class L>
    static void encode_into(encoding<A, Rank, CoefficientRank> const& e, tensor_type const& y,
                            bool transposed, int threads) {
        bool const once = e.shape.axes() == 1 && sweeps_of(e.direction).size() == 1;
        if (once || y.kind == element_traits<A>::kind) return encode<L>(e, y, transposed, threads);
        packed_tensor<A, Rank> sums(y.extents);
        encode<L>(e, sums.whole, transposed, threads);
        copy_tokens<L>(sums.whole, y, y.extents[Rank - 2]);
    }

    /// d_x, d_in = lambda (b g) + what d_out gives, g the states of the walk back over d_y.
    template <class L>
    void back_to_x(encoding<A, Rank, CoefficientRank> e, tensor_type const& d_x,
                   tensor_type const& d_out, tensor_type const& d_in, int threads) const {
        if (!given(d_out) && !given(d_in)) return encode_into<L>(e, d_x, true, threads);
        packed_tensor<A, Rank> sums(e.x.extents), ends(state_extents()), firsts(state_extents());
        e.out = ends.whole;
        encode<L>(e, sums.whole, true, threads);
        if (given(d_out)) decode_state<L>(e, d_out, sums.whole, firsts.whole, threads);
        if (given(d_x)) copy_tokens<L>(sums.whole, d_x, d_x.extents[Rank - 2]);
        if (!given(d_in)) return;
        auto const table = e.template table<L>(0);
        index const rows = e.channels() * e.exponentials();
        for (index i = 0; i + 1 < index(ends.values.size()); ++i) {
            index const c = i % rows / e.exponentials(), m = i % e.exponentials();
            index const block = c / exponential_block;
            auto const at = std::size_t((block * e.exponentials() + m) * exponential_block +
                                        c % exponential_block);
            A const back = table.strict_b[at] * ends.values[std::size_t(i)];
            ends.values[std::size_t(i)] = back + firsts.values[std::size_t(i)];
        }
        copy_tokens<L>(ends.whole, d_in, d_in.extents[Rank - 2]);
    }

    std::array<index, std::size_t(Rank)> state_extents() const noexcept {
        auto extents = x.extents;
        extents[Rank - 2] = x.extents[Rank - 1];
        extents[Rank - 1] = b.extents[CoefficientRank - 1];
        return extents;
    }

    /// The inputs, against each other and against the tensor that the call gives or is given.
    void check_call(char const* name, tensor_type const& y) const {
        check.present("x", x);
        check_one_sequence(check, "x", x);
        check_extents(check, "x", x, y.extents, (std::string(name) + "'s").c_str());
        check_places(check, shape, skip, std::nullopt, x.extents[Rank - 2]);
        auto extents = b.extents;
        extents[CoefficientRank - 2] = x.extents[Rank - 1];
        if (CoefficientRank == 3) extents[0] = shape.rank;
        check.present("b", b);
        check_extents(check, "b", b, extents, "the axes of the grid, then x's channels, then m");
        check.present("log_lambda", log_lambda);
        check_extents(check, "log_lambda", log_lambda, b.extents, "b's");
        check_state("state in", in);
    }

    void check_state(char const* name, tensor_type const& state) const {
        if (!given(state)) return;
        check_extents(check, name, state, state_extents(), "x's without time, then b's m");
    }

    template <int Any>
    void check_gradient(char const* name, operand<A, Any> const& d, operand<A, Any> const& like,
                        tensor_type const& d_y) const {
        if (!given(d)) return;
        check_output(check, name, d);
        check_extents(check, name, d, like.extents, "its input's");
        check_apart(check, name, d, "d_y", d_y);
        apart(name, d);
    }

    template <int Any>
    void apart(char const* name, operand<A, Any> const& o, bool and_state = true) const {
        check_apart(check, name, o, "x", x);
        check_apart(check, name, o, "b", b);
        check_apart(check, name, o, "log_lambda", log_lambda);
        if (and_state) check_apart(check, name, o, "state in", in);
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
