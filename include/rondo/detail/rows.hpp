/// @file
/// Rows of channels between the user's memory (any stride, any element type) and packed scratch.
#pragma once

#include <rondo/detail/composition.hpp>
#include <rondo/detail/half.hpp>
#include <rondo/element.hpp>
#include <rondo/simd/exp.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// The channels of one token: where they are, how far apart in bytes, and what they are.
struct row {
    std::byte* data;
    index step;
    element kind;
};

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
        float value;
        kind == element::bfloat16 ? bfloat16_format::widen<1>(bits, value)
                                  : half_format::widen<1>(bits, value);
        return value;
    }
}

template <class A>
inline void store_element(std::byte* to, element kind, A value) noexcept {
    auto const write = [to](auto x) { std::memcpy(to, &x, sizeof x); };
    if constexpr (std::is_same_v<A, double>) {
        write(value);
    } else {
        if (kind == element::float32) return write(value);
        std::uint16_t bits;
        kind == element::bfloat16 ? bfloat16_format::round<1>(value, bits)
                                  : half_format::round<1>(value, bits);
        write(bits);
    }
}

/// Whether a row's memory is just an array of A.
template <class A>
inline bool is_plain(row const& r) noexcept {
    return r.kind == element_traits<A>::kind && r.step == index(sizeof(A));
}

/// Whether a row's memory is just an array of 16-bit values.
inline bool is_plain_half(row const& r) noexcept {
    return element_size(r.kind) == 2 && r.step == 2;
}

/// Widens whole packs from an array of 16-bit values; returns how many values that were.
template <class L, class Format>
inline index widen_packs(float* to, std::byte const* from, index count) noexcept {
    index c = 0;
    for (; c + L::width <= count; c += L::width) {
        typename words<L::width>::half bits;
        typename words<L::width>::real values;
        std::memcpy(&bits, from + 2 * c, sizeof bits);
        Format::template widen<L::width>(bits, values);
        std::memcpy(to + c, &values, sizeof values);
    }
    return c;
}

/// Rounds whole packs of factor * from into an array of 16-bit values; returns how many.
template <class L, class Format>
inline index round_packs(std::byte* to, float const* from, index count, float factor) noexcept {
    index c = 0;
    for (; c + L::width <= count; c += L::width) {
        typename words<L::width>::half bits;
        typename words<L::width>::real values;
        std::memcpy(&values, from + c, sizeof values);
        values *= factor;
        Format::template round<L::width>(values, bits);
        std::memcpy(to + 2 * c, &bits, sizeof bits);
    }
    return c;
}

/// `to[0..count)` = the row, zeros up to `padded_count`.
template <class L, class A>
inline void load_row(A* to, row const& from, index count, index padded_count) noexcept {
    index c = 0;
    if (is_plain<A>(from)) {
        auto const* values = reinterpret_cast<A const*>(from.data);
        for (; c + L::width <= count; c += L::width) L::store(to + c, L::load(values + c));
        if (L::masks && c < count && c + L::width <= padded_count) {  // the rest and zeros at once
            L::store(to + c, L::load(values + c, count - c));
            c += L::width;
        }
        for (; c < count; ++c) to[c] = values[c];
    }
    if constexpr (std::is_same_v<A, float>) {
        if (is_plain_half(from)) {
            c = from.kind == element::bfloat16
                    ? widen_packs<L, bfloat16_format>(to, from.data, count)
                    : widen_packs<L, half_format>(to, from.data, count);
        }
    }
    for (; c < count; ++c) to[c] = load_element<A>(from.data + c * from.step, from.kind);
    for (; c < padded_count; ++c) to[c] = A(0);
}

/// Rows of equal strides and kinds, row_at(0) ... row_at(rows - 1), each as load_row.
template <class L, class A, class RowAt>
inline void load_rows(A* to, RowAt const& row_at, index rows, index count,
                      index padded_count) noexcept {
    if (rows == 0) return;
    if (!is_plain<A>(row_at(0)) || count != padded_count) {
        for (index r = 0; r < rows; ++r) {
            load_row<L>(to + r * padded_count, row_at(r), count, padded_count);
        }
        return;
    }
    for (index r = 0; r < rows; ++r, to += padded_count) {
        auto const* const values = reinterpret_cast<A const*>(row_at(r).data);
        for (index c = 0; c < count; c += L::width) L::store(to + c, L::load(values + c));
    }
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
        if (L::masks && c < count) {
            L::store(values + c, factors * L::load(from + c, count - c), count - c);
            c = count;
        }
        for (; c < count; ++c) values[c] = factor * from[c];
    }
    if constexpr (std::is_same_v<A, float>) {
        if (is_plain_half(to)) {
            c = to.kind == element::bfloat16
                    ? round_packs<L, bfloat16_format>(to.data, from, count, factor)
                    : round_packs<L, half_format>(to.data, from, count, factor);
        }
    }
    for (; c < count; ++c) store_element(to.data + c * to.step, to.kind, factor * from[c]);
}

template <class L, class A>
inline void fill(A* to, A value, index count) noexcept {
    index c = 0;
    for (; c + L::width <= count; c += L::width) L::store(to + c, L::broadcast(value));
    for (; c < count; ++c) to[c] = value;
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
