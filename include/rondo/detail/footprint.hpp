/// @file
/// Which bytes a strided tensor may touch, and whether two tensors may share one.
#pragma once

#include <rondo/element.hpp>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <numeric>

namespace rondo::inline RONDO_ISA::detail {

/// The span of bytes that a tensor may touch, and the lattice on which its rows lie.
struct footprint {
    std::byte const* low;
    std::byte const* high;  // one past the end
    index lattice;          // every row starts a multiple of this from `low`
    index run;              // bytes of a row

    index bytes() const noexcept { return high - low; }
};

/// `strides` count elements of `size` bytes.
template <std::size_t Rank>
inline footprint footprint_of(std::byte const* data, std::array<index, Rank> const& extents,
                              std::array<index, Rank> const& strides, index size) noexcept {
    footprint result{data, data, 0, size};
    if (data == nullptr) return result;
    std::array<std::size_t, Rank> axes{};
    for (std::size_t axis = 1; axis < Rank; ++axis) {  // sorted by insertion: they are a few
        std::size_t at = axis;
        for (; at > 0 && std::abs(strides[axis]) < std::abs(strides[axes[at - 1]]); --at) {
            axes[at] = axes[at - 1];
        }
        axes[at] = axis;
    }
    for (std::size_t axis : axes) {  // from the innermost: neighbours without a gap are one row
        if (extents[axis] == 0) return {data, data, 0, 0};
        if (extents[axis] == 1) continue;
        index const step = strides[axis] * size, reach = (extents[axis] - 1) * step;
        (reach < 0 ? result.low : result.high) += reach;
        if (result.lattice == 0 && std::abs(step) == result.run) {
            result.run += std::abs(reach);
        } else {
            result.lattice = std::gcd(result.lattice, step);
        }
    }
    result.high += size;
    return result;
}

/// Whether two tensors may share an element. Interleaved ones (q, k and v in one buffer) do not:
/// their rows lie on one lattice at different places of it.
inline bool may_overlap(footprint const& a, footprint const& b) noexcept {
    auto const at = [](std::byte const* p) { return reinterpret_cast<std::uintptr_t>(p); };
    if (a.low == a.high || b.low == b.high) return false;
    if (at(a.low) >= at(b.high) || at(b.low) >= at(a.high)) return false;
    index const lattice = std::gcd(a.lattice, b.lattice);
    if (lattice == 0) return true;
    index const between = ((b.low - a.low) % lattice + lattice) % lattice;
    return between < a.run || between + b.run > lattice;
}

}  // namespace rondo::inline RONDO_ISA::detail
