#pragma once

#include "oracle/problem.hpp"
#include "support/random.hpp"

#include <rondo/make_view.hpp>
#include <rondo/view.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

namespace support {

/// How a tensor lies in memory.
enum class memory {
    bthd,      // time before head
    bhtd,      // the order of the axes
    scattered  // axes in any order, forwards or backwards, with gaps between the elements
};

/// Elements in front of a tensor and behind it that are gaps like others: none where a sanitizer,
/// which sees more, watches the ends.
#if defined(RONDO_TEST_MARGIN)
inline constexpr index margin = RONDO_TEST_MARGIN;
#elif defined(__SANITIZE_ADDRESS__)
inline constexpr index margin = 0;
#else
inline constexpr index margin = 64;
#endif

/// Owned memory behind a view. Gaps hold NaN: an operator that reads one shows it in its output,
/// one that writes one is found by `gaps_intact`.
template <class T, int Rank>
class tensor {
public:
    using extents_type = std::array<index, std::size_t(Rank)>;

    /// Filled with NaN.
    tensor(extents_type const& extents, memory order, random& r) : extents_(extents) {
        index span = 1;  // elements between neighbours of the axis at hand
        for (int axis : axes_fastest_first(order, r)) {
            if (order == memory::scattered) span += r.integer(0, 2);
            bool const backwards = order == memory::scattered && r.chance(0.3);
            strides_[axis] = backwards ? -span : span;
            if (backwards) origin_ += (std::max<index>(extents_[axis], 1) - 1) * span;
            span *= std::max<index>(extents_[axis], 1);
        }
        origin_ += margin;
        data_.assign(span + 2 * margin, std::numeric_limits<T>::quiet_NaN());
    }

    /// Filled with `values`, in the order of the axes.
    tensor(extents_type const& extents, memory order, random& r, oracle::values const& values)
        : tensor(extents, order, r) {
        for_each([&](index at, index n) { data_[at] = static_cast<T>(values[n]); });
    }

    rondo::view<T const, Rank> read() const { return {data_.data() + origin_, extents_, strides_}; }
    rondo::view<T, Rank> write() { return {data_.data() + origin_, extents_, strides_}; }

    /// The memory behind the view, gaps included.
    std::vector<T>& storage() { return data_; }

    oracle::values values() const {
        oracle::values result;
        for_each([&](index at, index) { result.push_back(static_cast<double>(data_[at])); });
        return result;
    }

    bool gaps_intact() const {
        std::vector<bool> used(data_.size());
        for_each([&](index at, index) { used[at] = true; });
        for (std::size_t i = 0; i < data_.size(); ++i) {
            if (!used[i] && data_[i] == data_[i]) return false;  // NaN alone differs from itself
        }
        return true;
    }

private:
    static std::array<int, std::size_t(Rank)> axes_fastest_first(memory order, random& r) {
        std::array<int, std::size_t(Rank)> axes{};
        for (int i = 0; i < Rank; ++i) axes[i] = Rank - 1 - i;
        if constexpr (Rank >= 3) {
            if (order == memory::bthd) std::swap(axes[Rank - 2], axes[Rank - 3]);
        }
        if (order == memory::scattered) {
            auto const shuffled = r.permutation(Rank);
            for (int i = 0; i < Rank; ++i) axes[i] = static_cast<int>(shuffled[i]);
        }
        return axes;
    }

    /// visit(place in memory, number in the order of the axes)
    template <class Visit>
    void for_each(Visit visit) const {
        index count = 1;
        for (index extent : extents_) count *= extent;
        for (index n = 0; n < count; ++n) {
            index at = origin_, rest = n;
            for (int axis = Rank - 1; axis >= 0; --axis) {
                at += rest % extents_[axis] * strides_[axis];
                rest /= extents_[axis];
            }
            visit(at, n);
        }
    }

    extents_type extents_;
    extents_type strides_{};
    index origin_ = 0;
    std::vector<T> data_;
};

}  // namespace support
