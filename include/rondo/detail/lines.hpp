/// @file
/// A tensor of any rank as lines: one axis is walked in order, one lies in lanes, the others count
/// the lines.
#pragma once

#include <rondo/detail/arena.hpp>
#include <rondo/detail/operands.hpp>
#include <rondo/detail/places.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// The extents of a walk.
struct line_space {
    index length = 0;  // along the axis that is walked
    index width = 1;   // neighbours, which share a pack
    int axes = 0;
    std::array<index, max_axes> extents{};  // of the other axes

    index count() const noexcept {
        index product = 1;
        for (int a = 0; a < axes; ++a) product *= extents[std::size_t(a)];
        return product;
    }
};

/// One operand of a walk; strides in bytes.
struct lines {
    std::byte* data = nullptr;
    element kind = element::float32;
    index along = 0, across = 0;
    std::array<index, max_axes> outer{};

    bool empty() const noexcept { return data == nullptr; }

    /// The same operand, its data where line `number` begins.
    lines line(line_space const& space, index number) const noexcept {
        lines result = *this;
        if (data == nullptr) return result;
        for (int a = space.axes - 1; a >= 0; --a) {
            auto const axis = std::size_t(a);
            result.data += number % space.extents[axis] * outer[axis];
            number /= space.extents[axis];
        }
        return result;
    }

    /// The neighbours from `first` on, at one place of a line.
    row at(index place, index first) const noexcept {
        return {data + place * along + first * across, across, kind};
    }
};

/// Which axis lies in lanes: the one whose neighbours are neighbours in memory, else the longest;
/// -1 when the walked axis is the only one.
template <class A, int Rank>
inline int lane_axis(operand<A, Rank> const& x, int along) noexcept {
    int best = -1;
    auto const better = [&](std::size_t axis, std::size_t than) {
        bool const dense = x.strides[axis] == 1 && x.extents[axis] > 1;
        bool const other = x.strides[than] == 1 && x.extents[than] > 1;
        return dense != other ? dense : x.extents[axis] > x.extents[than];
    };
    for (int axis = 0; axis < Rank; ++axis) {
        if (axis != along && (best < 0 || better(std::size_t(axis), std::size_t(best))))
            best = axis;
    }
    return best;
}

template <class A, int Rank>
inline line_space space_of(operand<A, Rank> const& x, int along, int across) noexcept {
    static_assert(Rank <= max_axes, "rondo: a walk along an axis takes views of at most 8 axes");
    line_space result;
    result.length = x.extents[std::size_t(along)];
    for (int axis = 0; axis < Rank; ++axis) {
        index const extent = x.extents[std::size_t(axis)];
        if (axis == across) result.width = extent;
        if (axis != along && axis != across) result.extents[std::size_t(result.axes++)] = extent;
    }
    return result;
}

template <class A, int Rank>
inline lines lines_of(operand<A, Rank> const& x, int along, int across) noexcept {
    index const size = element_size(x.kind);
    lines result{const_cast<std::byte*>(x.data), x.kind, 0, size, {}};
    std::size_t outer = 0;
    for (int axis = 0; axis < Rank; ++axis) {
        index const stride = x.strides[std::size_t(axis)] * size;
        if (axis == along) {
            result.along = stride;
        } else if (axis == across) {
            result.across = stride;
        } else {
            result.outer[outer++] = stride;
        }
    }
    return result;
}

/// Where a row's values are: in place when memory is just an array of A, else copied to `buffer`.
template <class L, class A>
inline A const* read_row(row const& from, A* buffer, index count) noexcept {
    if (is_plain<A>(from)) return reinterpret_cast<A const*>(from.data);
    load_row<L>(buffer, from, count, count);
    return buffer;
}

/// Where to leave a row's values: in place, or in `buffer` until `close_row`.
template <class A>
inline A* open_row(row const& to, A* buffer) noexcept {
    return is_plain<A>(to) ? reinterpret_cast<A*>(to.data) : buffer;
}
template <class L, class A>
inline void close_row(row const& to, A const* buffer, index count) noexcept {
    if (!is_plain<A>(to)) store_row<L>(to, buffer, count);
}

/// Asks for the cache lines of a row, to arrive in the second cache. The processor's own prefetcher
/// runs too few rows ahead, and none ahead of a stride beyond its page.
template <bool Written = false>
inline void ask_for(row const& r, index ahead, index count) noexcept {
    std::byte const* const first = r.data + ahead;
    for (index at = 0; at < r.step * count; at += index(cache_line)) {
        __builtin_prefetch(first + at, Written ? 1 : 0, 2);
    }
}

/// body(first, how many) for the packs that hold `count` values. Only the last may be short; how
/// many the others hold is known to the compiler.
template <class L, class Body>
inline void for_packs(index count, Body const& body) noexcept {
    constexpr std::integral_constant<index, L::width> whole{};
    index c = 0;
    for (; c + L::width <= count; c += L::width) body(c, whole);
    if (c < count) body(c, count - c);
}

}  // namespace rondo::inline RONDO_ISA::detail
