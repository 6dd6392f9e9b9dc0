/// @file
/// Makers of views. The name gives the order of the axes in memory, slowest first; the axes of the
/// view are always [batch, head, time, channel] (less those that a gate or one token lacks).
#pragma once

#include <rondo/view.hpp>

namespace rondo::inline RONDO_ISA {
namespace detail {

/// A vector, a span, an Eigen vector or tensor: storage that knows its pointer and its size.
template <class C>
concept storage = requires(C& c) {
    c.data();
    c.size();
};

/// An Eigen matrix or map: rows are tokens (batch x time), columns heads x channels.
template <class C>
concept stored_matrix = storage<C> && requires(C& c) {
    c.rows();
    c.cols();
    c.rowStride();
    c.colStride();
};

/// Memory as makers read it: a pointer, how many elements are known, and the steps of a matrix.
template <class T>
struct source {
    T* data;
    index size = -1;      // -1: a bare pointer
    index row_step = -1;  // -1: no matrix
    index column_step = 1;
    index rows = 0, columns = 0;
};

template <class T>
constexpr source<T> source_of(T* data) noexcept {
    return {data};
}

template <storage C>
constexpr auto source_of(C&& container) noexcept {
    using element_type = std::remove_pointer_t<decltype(container.data())>;
    source<element_type> result{container.data(), static_cast<index>(container.size())};
    if constexpr (stored_matrix<C>) {
        result.row_step = static_cast<index>(container.rowStride());
        result.column_step = static_cast<index>(container.colStride());
        result.rows = static_cast<index>(container.rows());
        result.columns = static_cast<index>(container.cols());
    }
    return result;
}

/// A view of `from` with the given logical extents; `order` lists the axes as memory has them,
/// slowest first, and `columns` says how many of the last of them lie within a matrix row.
template <class T, std::size_t Rank>
constexpr view<T, int(Rank)> lay_out(char const* maker, source<T> const& from,
                                     std::array<index, Rank> const& extents,
                                     std::array<int, Rank> const& order, std::size_t columns) {
    std::array<index, Rank> strides{};
    bool const is_matrix = from.row_step >= 0;
    index rows = 1, row = 1;
    index step = is_matrix ? from.column_step : 1;
    for (std::size_t i = Rank; i-- > 0;) {
        if (is_matrix && i == Rank - columns - 1) step = from.row_step;
        auto const axis = std::size_t(order[i]);
        strides[axis] = step;
        step *= extents[axis];
        (i + columns < Rank ? rows : row) *= extents[axis];
    }
    if (from.size >= 0 && from.size < rows * row) {
        refuse(maker, {"the storage holds ", from.size, " elements, the view needs ", rows * row});
    }
    if (is_matrix && (from.rows != rows || from.columns != row)) {
        refuse(maker, {"the matrix is ", from.rows, " x ", from.columns, ", the view needs ", rows,
                       " x ", row});
    }
    return {from.data, extents, strides};
}

}  // namespace detail

/// Memory [batch, time, head, channel]; axes [batch, head, time, channel].
/// `from`: a pointer, a std::vector or std::span, or an Eigen matrix [batch * time, head *
/// channel]. Errors: shape_error when the storage is too small.
template <class Source>
constexpr auto bthd(Source&& from, index batch, index time, index head, index channel) {
    return detail::lay_out("bthd", detail::source_of(from),
                           std::array<index, 4>{batch, head, time, channel},
                           std::array<int, 4>{0, 2, 1, 3}, 2);
}

/// Memory [batch, head, time, channel]; a matrix is [batch * head * time, channel].
template <class Source>
constexpr auto bhtd(Source&& from, index batch, index head, index time, index channel) {
    return detail::lay_out("bhtd", detail::source_of(from),
                           std::array<index, 4>{batch, head, time, channel},
                           std::array<int, 4>{0, 1, 2, 3}, 1);
}

/// A gate with one value a token and head, memory [batch, time, head]; axes [batch, head, time].
template <class Source>
constexpr auto bth(Source&& from, index batch, index time, index head) {
    return detail::lay_out("bth", detail::source_of(from), std::array<index, 3>{batch, head, time},
                           std::array<int, 3>{0, 2, 1}, 1);
}

/// A gate with one value a token and head, memory and axes [batch, head, time].
template <class Source>
constexpr auto bht(Source&& from, index batch, index head, index time) {
    return detail::lay_out("bht", detail::source_of(from), std::array<index, 3>{batch, head, time},
                           std::array<int, 3>{0, 1, 2}, 1);
}

/// One token, memory and axes [batch, head, channel].
template <class Source>
constexpr auto bhd(Source&& from, index batch, index head, index channel) {
    return detail::lay_out("bhd", detail::source_of(from),
                           std::array<index, 3>{batch, head, channel}, std::array<int, 3>{0, 1, 2},
                           2);
}

/// One gate value a head of one token, memory and axes [batch, head].
template <class Source>
constexpr auto bh(Source&& from, index batch, index head) {
    return detail::lay_out("bh", detail::source_of(from), std::array<index, 2>{batch, head},
                           std::array<int, 2>{0, 1}, 1);
}

}  // namespace rondo::inline RONDO_ISA
