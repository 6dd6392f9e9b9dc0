/// @file
/// The adjoint of the feature maps.
#pragma once

#include <rondo/detail/rows.hpp>

#include <algorithm>

namespace rondo::inline RONDO_ISA::detail {

/// d silu / dx = s + x s (1 - s) with s = 1 / (1 + exp(-x))
template <class L>
inline typename L::pack silu_slope(typename L::pack x) noexcept {
    using A = typename L::value;
    auto const zero = L::broadcast(A(0)), one = L::broadcast(A(1));
    auto const s = one / (one + L::exp(zero - x));
    return L::fma(x * s, one - s, s);
}

/// Before silu_half_unit's slope: y = u / |u|, du = (dy - y (y . dy)) / |u|. `x` holds y.
template <class L, class A>
inline void differentiate_unit(A const* x, A* gradient, A length, index padded_count) noexcept {
    auto along = L::broadcast(A(0));
    for (index c = 0; c < padded_count; c += L::width) {
        along = L::fma(L::load(x + c), L::load(gradient + c), along);
    }
    auto const dot = L::broadcast(L::sum(along)), inverse = L::broadcast(A(1) / length);
    for (index c = 0; c < padded_count; c += L::width) {
        L::store(gradient + c, (L::load(gradient + c) - L::load(x + c) * dot) * inverse);
    }
}

/// Turns the gradient by a mapped row into the one by the row itself. `x` holds the row before the
/// map, `buffer` as many channels of scratch.
template <class L, class A>
inline void differentiate_feature(feature_kind feature, A const* x, A* gradient, A* buffer,
                                  index count, index padded_count) noexcept {
    auto const zero = L::broadcast(A(0)), one = L::broadcast(A(1));
    auto const slope = [&](auto const& f) {
        for (index c = 0; c < padded_count; c += L::width) {
            L::store(gradient + c, L::load(gradient + c) * f(L::load(x + c)));
        }
    };
    switch (feature) {
        case feature_kind::identity: break;
        case feature_kind::elu_plus_one:
            slope([&](auto v) { return L::where_less(zero, v, one, L::exp(v)); });
            break;
        case feature_kind::exp: slope([](auto v) { return L::exp(v); }); break;
        case feature_kind::relu:
            slope([&](auto v) { return L::where_less(zero, v, one, zero); });
            break;
        case feature_kind::silu_half_unit: {
            std::copy_n(x, padded_count, buffer);
            apply_feature<L>(feature_kind::silu, buffer, count, padded_count);
            A squares = 0;
            for (index c = 0; c < count; ++c) {
                buffer[c] += A(0.5);
                squares += buffer[c] * buffer[c];
            }
            A const length = std::sqrt(squares);
            for (index c = 0; c < count; ++c) buffer[c] /= length;
            if (count > 0) differentiate_unit<L>(buffer, gradient, length, padded_count);
            [[fallthrough]];
        }
        case feature_kind::silu: slope([](auto v) { return silu_slope<L>(v); }); break;
    }
}

}  // namespace rondo::inline RONDO_ISA::detail
