/// @file
/// Rows of channels between the user's memory (any stride, any element type) and packed scratch.
#pragma once

#include <rondo/detail/composition.hpp>
#include <rondo/element.hpp>
#include <rondo/simd/exp.hpp>

#include <bit>

namespace rondo::inline RONDO_ISA::detail {

/// The channels of one token: where they are, how far apart in bytes, and what they are.
struct row {
    std::byte* data;
    index step;
    element kind;
};

inline float widen_bfloat16(std::uint16_t bits) noexcept {
    return std::bit_cast<float>(std::uint32_t(bits) << 16);
}

inline std::uint16_t round_to_bfloat16(float value) noexcept {
    auto const bits = std::bit_cast<std::uint32_t>(value);
    if (value != value) return std::uint16_t((bits >> 16) | 0x40);
    return std::uint16_t((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);  // to nearest, ties to even
}

inline float widen_half(std::uint16_t bits) noexcept {
    std::uint32_t const sign = std::uint32_t(bits & 0x8000) << 16;
    std::uint32_t const exponent = bits & 0x7C00, fraction = bits & 0x3FF;
    auto const with_sign = [sign](std::uint32_t x) { return std::bit_cast<float>(sign | x); };
    if (exponent == 0x7C00) return with_sign(0x7F800000 | fraction << 13);
    // A subnormal half is a small integer times 2^-24, and a normal float.
    if (exponent == 0) return with_sign(std::bit_cast<std::uint32_t>(float(fraction) * 0x1p-24F));
    return with_sign(((exponent | fraction) << 13) + (112U << 23));
}

inline std::uint16_t round_to_half(float value) noexcept {
    auto const bits = std::bit_cast<std::uint32_t>(value);
    auto const sign = std::uint16_t((bits >> 16) & 0x8000);
    float const magnitude = std::bit_cast<float>(bits & 0x7FFFFFFF);
    if (value != value) return std::uint16_t(sign | 0x7E00);
    if (magnitude >= 65520.0F) return std::uint16_t(sign | 0x7C00);
    if (magnitude < 0x1p-14F) {  // subnormal: the sum's last place is 2^-24, so it rounds right
        auto const sum = std::bit_cast<std::uint32_t>(magnitude + 0.5F);
        return std::uint16_t(sign | (sum - 0x3F000000));
    }
    std::uint32_t const rounded = (bits & 0x7FFFFFFF) + 0xFFF + ((bits >> 13) & 1);
    return std::uint16_t(sign | ((rounded - (112U << 23)) >> 13));
}

template <class A>
inline A load_element(std::byte const* from, element kind) noexcept {
    auto const read = [from]<class T>(T value) {
        std::memcpy(&value, from, sizeof value);
        return value;
    };
    if constexpr (std::is_same_v<A, double>) {
        return read(double{});
    } else {
        if (kind == element::float32) return read(float{});
        auto const bits = read(std::uint16_t{});
        return kind == element::bfloat16 ? widen_bfloat16(bits) : widen_half(bits);
    }
}

template <class A>
inline void store_element(std::byte* to, element kind, A value) noexcept {
    auto const write = [to](auto x) { std::memcpy(to, &x, sizeof x); };
    if constexpr (std::is_same_v<A, double>) {
        write(value);
    } else {
        if (kind == element::float32) return write(value);
        write(kind == element::bfloat16 ? round_to_bfloat16(value) : round_to_half(value));
    }
}

/// Whether a row's memory is just an array of A.
template <class A>
inline bool is_plain(row const& r) noexcept {
    return r.kind == element_traits<A>::kind && r.step == index(sizeof(A));
}

/// `to[0..count)` = the row, zeros up to `padded_count`.
template <class L, class A>
inline void load_row(A* to, row const& from, index count, index padded_count) noexcept {
    index c = 0;
    if (is_plain<A>(from)) {
        auto const* values = reinterpret_cast<A const*>(from.data);
        for (; c + L::width <= count; c += L::width) L::store(to + c, L::load(values + c));
        for (; c < count; ++c) to[c] = values[c];
    }
    for (; c < count; ++c) to[c] = load_element<A>(from.data + c * from.step, from.kind);
    for (; c < padded_count; ++c) to[c] = A(0);
}

/// The row = factor from[0..count).
template <class L, class A>
inline void store_row(row const& to, A const* from, index count, A factor = A(1)) noexcept {
    index c = 0;
    if (is_plain<A>(to)) {
        auto* values = reinterpret_cast<A*>(to.data);
        auto const factors = L::broadcast(factor);
        for (; c + L::width <= count; c += L::width) {
            L::store(values + c, factors * L::load(from + c));
        }
        for (; c < count; ++c) values[c] = factor * from[c];
    }
    for (; c < count; ++c) store_element(to.data + c * to.step, to.kind, factor * from[c]);
}

template <class L, class A>
inline void fill(A* to, A value, index count) noexcept {
    for (index c = 0; c < count; ++c) to[c] = value;
}

/// Applies a feature map to `count` channels in place; the padding behind them becomes zero again.
template <class L, class A>
inline void apply_feature(feature_kind feature, A* row, index count, index padded_count) noexcept {
    if (feature == feature_kind::identity) return;
    auto const map = [&](auto const& f) {
        for (index c = 0; c < padded_count; c += L::width) L::store(row + c, f(L::load(row + c)));
    };
    auto const zero = L::broadcast(A(0)), one = L::broadcast(A(1));
    auto const silu = [&](auto x) { return x / (one + L::exp(zero - x)); };
    switch (feature) {
        case feature_kind::identity: break;
        case feature_kind::elu_plus_one:
            map([&](auto x) { return L::where_less(zero, x, x + one, L::exp(x)); });
            break;
        case feature_kind::silu: map(silu); break;
        case feature_kind::exp: map([&](auto x) { return L::exp(x); }); break;
        case feature_kind::relu: map([&](auto x) { return L::max(x, zero); }); break;
        case feature_kind::silu_half_unit:
            map([&](auto x) { return silu(x) + L::broadcast(A(0.5)); });
            break;
    }
    for (index c = count; c < padded_count; ++c) row[c] = A(0);
    if (feature != feature_kind::silu_half_unit) return;
    auto squares = zero;
    for (index c = 0; c < padded_count; c += L::width) {
        auto const x = L::load(row + c);
        squares = L::fma(x, x, squares);
    }
    auto const inverse = L::broadcast(A(1) / std::sqrt(L::sum(squares)));
    if (count > 0) map([&](auto x) { return x * inverse; });
}

}  // namespace rondo::inline RONDO_ISA::detail
