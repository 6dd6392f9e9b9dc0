/// @file
/// Rotary positions: pairs of channels turned by the place of their token.
#pragma once

#include <rondo/position/family.hpp>
#include <rondo/position/turn_checks.hpp>

#include <tuple>

namespace rondo::inline RONDO_ISA::position {

/// {x} of `rope`.
template <class A, int Rank>
struct rope_inputs {
    detail::operand<A, Rank> x;

    template <class... Views>
    rope_inputs(Views const&... views) {
        constexpr bool right = detail::views_of_rank<A, Rank>::template are<Views...>();
        static_assert(right,
                      "rondo::position::rope takes {x}: a view [batch, head, time, channel] (step: "
                      "without time) of y's precision");
        if constexpr (right) std::tie(x) = std::tie(views...);
    }
};

template <class A>
struct rope_gradients {
    detail::target<A, 4> x{};
};

/// The encoding, made by `rope(...)`.
///
/// Pair i of a token at place s is turned by s base^(-i / n), n pairs. On a grid of r axes the
/// pairs are split evenly over them, n = ceil(pairs / r) each: pair k n + i is turned by
/// s_k base^(-i / n).
///
/// Shapes: x and y [batch, head, time, channel], the channels even (lrpe::rotation takes an odd
///   number and leaves the last alone). Packed views are refused; position::fused takes them.
/// Cost: 6 flops an element; memory is read and written once.
/// Scratch: tables of up to 64 turns a thread and head.
/// Accuracy: 2e-6 in float and 1e-12 in double of the largest |x|, places below 2^26
///   (tests/laws/position.cpp), for the angle s theta, theta = base^(-i / n) as double holds it.
/// Errors: shape_error before anything is written.
/// Source: Su et al. 2021, "RoFormer", section 3.2.
class rope_t {
public:
    constexpr rope_t() = default;

    template <class... Policies>
    constexpr explicit rope_t(Policies const&... policies) {
        (take(policies), ...);
    }

    /// The same encoding with another base than 10000.
    constexpr rope_t base(double value) const noexcept {
        rope_t result = *this;
        result.base_ = value;
        return result;
    }
    /// The same encoding with the first `tokens` left alone; places count after them.
    constexpr rope_t skip(index tokens) const noexcept {
        rope_t result = *this;
        result.skip_ = tokens;
        return result;
    }

    template <class Place, class T>
    void forward(Place const& place,
                 std::type_identity_t<rope_inputs<accumulator_t<T>, 4>> const& in,
                 view<T, 4> const& y, place_options const& with = {}) const {
        using A = accumulator_t<T>;
        request<A>(in.x, with).forward(place, y);
    }

    /// d_x from d_y: turned back. x itself is not read.
    template <class Place, class T>
    void backward(Place const& place,
                  std::type_identity_t<rope_inputs<accumulator_t<T>, 4>> const& in,
                  view<T, 4> const& d_y,
                  std::type_identity_t<rope_gradients<accumulator_t<T>>> const& to,
                  place_options const& with = {}) const {
        using A = accumulator_t<T>;
        request<A>(in.x, with).backward(place, d_y, to.x, {}, {});
    }

    /// One token, at `.offset`. Views without the time axis.
    template <class Place, class T>
    void step(Place const& place, std::type_identity_t<rope_inputs<accumulator_t<T>, 3>> const& in,
              view<T, 3> const& y, place_options const& with) const {
        using A = accumulator_t<T>;
        detail::operand<A, 3> const out = y;
        request<A>(detail::with_axis(in.x, 2), with).forward(place, detail::with_axis(out, 2));
    }

private:
    template <class Policy>
    constexpr void take(Policy const& policy) {
        constexpr bool layout =
            std::is_same_v<Policy, interleaved_t> || std::is_same_v<Policy, half_split_t>;
        constexpr bool known = layout || requires { detail::token_shape(policy); };
        static_assert(known, "rondo::position::rope accepts a grid, and interleaved or half_split");
        if constexpr (std::is_same_v<Policy, half_split_t>) {
            kind_ = detail::turn_kind::half_split;
        } else if constexpr (known && !layout) {
            shape_ = detail::token_shape(policy);
        }
    }

    template <class A>
    detail::turn_request<A> request(detail::operand<A, 4> const& x,
                                    place_options const& with) const {
        detail::turn_request<A> result{{"position::rope"}};
        if (x.extents[3] % 2 != 0) {
            detail::refuse("position::rope",
                           {"x has ", x.extents[3], " channels, expected an even number (pairs)"});
        }
        result.kind = kind_;
        result.shape = shape_;
        result.skip = skip_;
        result.base = base_;
        result.x = x;
        result.offset = with.offset;
        return result;
    }

    detail::turn_kind kind_ = detail::turn_kind::interleaved;
    detail::token_shape shape_{};
    index skip_ = 0;
    double base_ = 10000;
};

/// `rope()`, `rope(half_split)`, `rope(grid)`, `rope(grid, half_split)`.
template <class... Policies>
constexpr rope_t rope(Policies const&... policies) {
    return rope_t(policies...);
}

}  // namespace rondo::inline RONDO_ISA::position
