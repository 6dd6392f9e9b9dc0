/// @file
/// Views: a pointer, extents and strides. Logical axes are [batch, head, time, channel] whatever
/// the order in memory; nothing here copies or allocates.
#pragma once

#include <rondo/element.hpp>
#include <rondo/grid.hpp>

#include <array>
#include <cstddef>
#include <span>

namespace rondo::inline RONDO_ISA {

/// A non-owning view of `Rank` axes over elements T (float, double, Eigen::bfloat16, Eigen::half).
///
/// Strides count elements; inputs may have any stride, negative and zero too. A default-made view
/// is empty: as a gradient it means "not wanted".
template <class T, int Rank>
class view {
    static_assert(Rank >= 0, "rondo::view takes a rank of at least 0");

public:
    using element_type = T;
    using extents_type = std::array<index, std::size_t(Rank)>;
    static constexpr int rank = Rank;

    constexpr view() noexcept = default;

    /// Rows after rows without gaps, the last axis fastest.
    constexpr view(T* data, extents_type const& extents) noexcept : data_(data), extents_(extents) {
        index step = 1;
        for (int axis = Rank - 1; axis >= 0; --axis) {
            strides_[std::size_t(axis)] = step;
            step *= extents_[std::size_t(axis)];
        }
    }

    constexpr view(T* data, extents_type const& extents, extents_type const& strides) noexcept
        : data_(data), extents_(extents), strides_(strides) {}

    /// A view of elements that may be written is also one of elements that may be read.
    template <class U>
        requires(!std::is_same_v<U, T> && std::is_same_v<U const, T>)
    constexpr view(view<U, Rank> const& other) noexcept
        : data_(other.data()),
          extents_(other.extents()),
          strides_(other.strides()),
          offsets_(other.offsets()) {}

    constexpr T* data() const noexcept { return data_; }
    constexpr bool empty() const noexcept { return data_ == nullptr; }
    constexpr index extent(int axis) const noexcept { return extents_[std::size_t(axis)]; }
    constexpr index stride(int axis) const noexcept { return strides_[std::size_t(axis)]; }
    constexpr extents_type const& extents() const noexcept { return extents_; }
    constexpr extents_type const& strides() const noexcept { return strides_; }

    constexpr index size() const noexcept {
        index product = 1;
        for (index extent : extents_) product *= extent;
        return product;
    }

    /// The element at one position of each axis; positions are not checked.
    template <std::integral... Positions>
        requires(sizeof...(Positions) == std::size_t(Rank))
    constexpr T& operator()(Positions... positions) const noexcept {
        index offset = 0;
        int axis = 0;
        ((offset += static_cast<index>(positions) * stride(axis++)), ...);
        return data_[offset];
    }

    /// Positions [begin, end) of one axis. Errors: shape_error when they are out of range.
    constexpr view slice(int axis, index begin, index end) const {
        expect_axis(axis);
        if (begin < 0 || end < begin || end > extent(axis)) {
            detail::refuse("view", {"slice [", begin, ", ", end, ") leaves axis ", axis,
                                    " of extent ", extent(axis)});
        }
        view result = *this;
        if (data_ != nullptr) result.data_ += begin * stride(axis);
        result.extents_[std::size_t(axis)] = end - begin;
        return result;
    }

    /// The same elements, the last of `axis` first. Errors: shape_error when there is no such axis.
    constexpr view reversed(int axis) const {
        expect_axis(axis);
        view result = *this;
        if (data_ != nullptr && extent(axis) > 0) {
            result.data_ += (extent(axis) - 1) * stride(axis);
        }
        result.strides_[std::size_t(axis)] = -stride(axis);
        return result;
    }

    /// The axis before the last (time) split into the axes of a grid, in raster order.
    /// Errors: shape_error when the grid does not hold as many tokens.
    template <int GridRank>
        requires(Rank >= 2)
    constexpr view<T, Rank - 1 + GridRank> over(grid<GridRank> const& tokens) const {
        constexpr int time = Rank - 2;
        detail::expect_extent("view", "over(grid)", "time", tokens.size(), extent(time),
                              "the view's time axis");
        std::array<index, std::size_t(Rank - 1 + GridRank)> extents{}, strides{};
        for (int axis = 0; axis < Rank - 1 + GridRank; ++axis) {
            auto const to = std::size_t(axis);
            bool const inside = axis >= time && axis < time + GridRank;
            int const from = axis < time ? axis : axis - GridRank + 1;
            extents[to] = inside ? tokens.extent(axis - time) : extent(from);
            strides[to] = inside ? tokens.stride(axis - time) * stride(time) : stride(from);
        }
        return {data_, extents, strides};
    }

    /// Sequences of different lengths laid end to end along time in one row (batch extent 1):
    /// sequence s holds the tokens [offsets[s], offsets[s + 1]). The offsets are not copied.
    constexpr view packed(std::span<index const> offsets) const noexcept {
        view result = *this;
        result.offsets_ = offsets;
        return result;
    }

    /// The offsets given to `packed`, or nothing.
    constexpr std::span<index const> offsets() const noexcept { return offsets_; }

private:
    constexpr void expect_axis(int axis) const {
        if (axis < 0 || axis >= Rank) {
            detail::refuse("view", {"there is no axis ", axis, " in a view of rank ", Rank});
        }
    }

    T* data_ = nullptr;
    extents_type extents_{};
    extents_type strides_{};
    std::span<index const> offsets_{};
};

/// The type of `ones`.
struct ones_t {};

/// A key of ones in every channel, which costs no memory: LightNet is the additive operator with
/// it.
inline constexpr ones_t ones{};

}  // namespace rondo::inline RONDO_ISA
