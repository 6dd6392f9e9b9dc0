/// @file
/// A Toeplitz encoding and its gradients: which sweeps along which axes, and what they add up to.
#pragma once

#include <rondo/position/toeplitz.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// A tensor [..., time, channel], its tokens taken along axis k of their shape.
template <class A, int Rank>
inline lines lines_along(operand<A, Rank> const& x, token_shape const& shape, int k) noexcept {
    index const size = element_size(x.kind);
    index step = x.strides[std::size_t(Rank - 2)] * size;
    lines result{
        const_cast<std::byte*>(x.data), x.kind, step, x.strides[std::size_t(Rank - 1)] * size, {}};
    std::size_t outer = 0;
    for (; outer < std::size_t(Rank - 2); ++outer) result.outer[outer] = x.strides[outer] * size;
    outer += std::size_t(std::max(shape.rank - 1, 0));
    for (int a = shape.rank - 1; a >= 0; --a) {
        (a == k ? result.along : result.outer[--outer]) = step;
        step *= shape.extents[std::size_t(a)];
    }
    return result;
}

template <class A, int Rank>
inline line_space space_along(operand<A, Rank> const& x, token_shape const& shape, int k) noexcept {
    line_space result;
    result.length = x.extents[std::size_t(Rank - 2)];
    result.width = x.extents[std::size_t(Rank - 1)];
    for (int a = 0; a < Rank - 2; ++a) {
        result.extents[std::size_t(result.axes++)] = x.extents[std::size_t(a)];
    }
    for (int a = 0; a < shape.rank; ++a) {
        index const extent = shape.extents[std::size_t(a)];
        if (a == k) result.length = extent;
        if (a != k) result.extents[std::size_t(result.axes++)] = extent;
    }
    return result;
}

/// Coefficients [channel, m], or [axis, channel, m], and states [..., channel, m]: neighbours are
/// channels, m is walked.
template <class A, int Rank>
inline lines lines_over_m(operand<A, Rank> const& x, int k) noexcept {
    lines result = lines_of(x, Rank - 1, Rank - 2);
    if (k > 0) result.data += index(k) * result.outer[0];
    return result;
}

/// The sweeps that a direction takes along one axis.
struct sweep_order {
    bool reversed, strict;
};
inline std::span<sweep_order const> sweeps_of(direction_kind direction) noexcept {
    static constexpr sweep_order all[] = {{false, false}, {true, true}, {true, false}};
    if (direction == direction_kind::causal) return {all, 1};
    return direction == direction_kind::bidirectional ? std::span(all, 2) : std::span(all + 2, 1);
}

/// A call whose operands are checked; tokens left alone are cut off.
template <class A, int Rank, int CoefficientRank>
struct encoding {
    token_shape shape;
    direction_kind direction;
    operand<A, Rank> x;
    operand<A, CoefficientRank> b, log_lambda;
    operand<A, Rank> in{}, out{};

    index exponentials() const noexcept { return b.extents[CoefficientRank - 1]; }
    index channels() const noexcept { return x.extents[Rank - 1]; }

    template <class L>
    exponential_table<L> table(int k) const {
        return {lines_over_m(b, k), lines_over_m(log_lambda, k), channels(), exponentials()};
    }

    sweep<A> sweep_along(int k, sweep_order const& order) const noexcept {
        sweep<A> s;
        s.space = space_along(x, shape, k);
        s.x = lines_along(x, shape, k);
        s.reversed = order.reversed;
        s.strict = order.strict;
        return s;
    }
};

/// y = what the sweeps over e.x give; with `transposed` every sweep goes the other way.
template <class L, class A, int Rank, int CoefficientRank>
inline void encode(encoding<A, Rank, CoefficientRank> const& e, operand<A, Rank> const& y,
                   bool transposed, int threads) {
    bool begun = false;
    for (int k = 0; k < e.shape.axes(); ++k) {
        auto const table = e.template table<L>(k);
        for (sweep_order const& order : sweeps_of(e.direction)) {
            sweep<A> s = e.sweep_along(k, order);
            s.reversed ^= transposed;
            s.y = lines_along(y, e.shape, k);
            s.accumulate = std::exchange(begun, true);
            if (given(e.in)) s.in = lines_over_m(e.in, 0);
            if (given(e.out)) s.out = lines_over_m(e.out, 0);
            A const* const b = order.strict ? table.strict_b.data() : table.b.data();
            run_sweep<L>(s, table, b, threads);
        }
    }
}

/// Adds to d_x what the gradient of the last state gives, and leaves that of the first in `first`:
/// a walk back over no input, each state read before it decays.
template <class L, class A, int Rank, int CoefficientRank>
inline void decode_state(encoding<A, Rank, CoefficientRank> const& e, operand<A, Rank> const& d_out,
                         operand<A, Rank> const& d_x, operand<A, Rank> const& first, int threads) {
    auto const table = e.template table<L>(0);
    sweep<A> s = e.sweep_along(0, {e.direction == direction_kind::causal, true});
    s.x = {};
    s.y = lines_along(d_x, e.shape, 0);
    s.in = lines_over_m(d_out, 0);
    if (given(first)) s.out = lines_over_m(first, 0);
    s.accumulate = true;
    run_sweep<L>(s, table, table.ones.data(), threads);
}

/// Stores one block of the sums that `differentiate` made.
template <class L>
inline void leave_gradients(exponential_table<L> const& table, index block, double const* sums,
                            lines const& d_b, lines const& d_log_lambda, index channels) noexcept {
    using A = typename L::value;
    index const first = block * exponential_block, count = table.exponentials;
    index const width = std::min(exponential_block, channels - first);
    index const size = count * exponential_block;
    A rounded[exponential_block];
    for (index m = 0; m < count; ++m) {
        double const* const from = sums + m * exponential_block;
        A const* const b = table.b.data() + (block * count + m) * exponential_block;
        for (index c = 0; c < width; ++c) rounded[c] = A(from[c]);
        if (!d_b.empty()) store_row<L>(d_b.at(m, first), rounded, width);
        for (index c = 0; c < width; ++c) {
            rounded[c] = A(double(b[c]) * from[size + c] + from[2 * size + c]);
        }
        if (!d_log_lambda.empty()) store_row<L>(d_log_lambda.at(m, first), rounded, width);
    }
}

/// d_b and d_log_lambda of e from d_y, and from d_out where that is given.
template <class L, class A, int Rank, int CoefficientRank>
inline void differentiate(encoding<A, Rank, CoefficientRank> const& e, operand<A, Rank> const& d_y,
                          operand<A, Rank> const& d_out, operand<A, CoefficientRank> const& d_b,
                          operand<A, CoefficientRank> const& d_log_lambda, int threads) {
    index const count = e.exponentials(), size = count * exponential_block;
    for (int k = 0; k < e.shape.axes(); ++k) {
        auto const table = e.template table<L>(k);
        std::vector<double> sums(std::size_t(table.blocks * 3 * size), 0.0);
        share_sweeps<L>(threads, table.blocks, count, 1, [&](sweeper<L>& walk, index block) {
            double* const to_b = sums.data() + block * 3 * size;
            double *const to_lambda = to_b + size, *const to_state = to_lambda + size;
            for (sweep_order const& order : sweeps_of(e.direction)) {
                sweep<A> s = e.sweep_along(k, order);
                s.y = lines_along(d_y, e.shape, k);
                if (given(e.in)) s.in = lines_over_m(e.in, 0);
                lines const last = given(d_out) ? lines_over_m(d_out, 0) : lines{};
                for (index line = 0; line < s.space.count(); ++line) {
                    walk.differentiate(s, table, line, block, last, to_b, to_lambda, to_state);
                }
            }
            leave_gradients<L>(table, block, to_b, given(d_b) ? lines_over_m(d_b, k) : lines{},
                               given(d_log_lambda) ? lines_over_m(d_log_lambda, k) : lines{},
                               e.channels());
        });
    }
}

}  // namespace rondo::inline RONDO_ISA::detail
