/// @file
/// Powers of a permutation: where the channels of a token come from.
#pragma once

#include <rondo/detail/arena.hpp>
#include <rondo/position/basis.hpp>
#include <rondo/position/places.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// Rows of pi^s, one block of channels for each axis of the coordinates. The power s + 1 follows
/// from s by one look-up; any other is found along the cycles.
class power_rows {
public:
    power_rows(arena& memory, index block, int axes) noexcept : block_(block), axes_(axes) {
        for (std::int32_t** part : {&next_, &cycle_, &start_, &length_, &within_}) {
            *part = memory.take<std::int32_t>(block);
        }
        current_ = memory.take<std::int32_t>(block * axes);
    }

    void begin(order_view const& order, index head) noexcept {
        std::int32_t used = 0;
        for (index c = 0; c < block_; ++c) next_[c] = std::int32_t(order(head, c));
        std::fill_n(length_, block_, 0);
        for (index c = 0; c < block_; ++c) {
            if (length_[c] != 0) continue;
            std::int32_t const start = used;
            auto at = std::int32_t(c);
            do {
                within_[at] = used - start;
                start_[at] = start;
                length_[at] = 1;  // met
                cycle_[used++] = at;
                at = next_[at];
            } while (at != std::int32_t(c));
            for (std::int32_t i = start; i < used; ++i) length_[cycle_[i]] = used - start;
        }
        place_.fill(-1);
    }

    /// from[c] = the channel that channel c of a token takes its value from.
    void row(std::array<index, max_axes> const& at, std::int32_t* from) noexcept {
        for (int axis = 0; axis < axes_; ++axis) {
            index const s = at[std::size_t(axis)];
            std::int32_t* const power = current_ + axis * block_;
            index const before = std::exchange(place_[std::size_t(axis)], s);
            if (before >= 0 && s == before + 1) {
                for (index c = 0; c < block_; ++c) power[c] = next_[power[c]];
            } else if (s != before) {
                for (index c = 0; c < block_; ++c) {
                    index const step = (within_[c] + s) % length_[c];
                    power[c] = cycle_[start_[c] + step];
                }
            }
            index const first = axis * block_;
            for (index c = 0; c < block_; ++c) from[first + c] = std::int32_t(first) + power[c];
        }
    }

private:
    index block_;
    int axes_;
    // pi, its cycles one after the other, and where each channel stands in its own.
    std::int32_t *next_, *cycle_, *start_, *length_, *within_;
    std::int32_t* current_;
    std::array<index, max_axes> place_{};
};

}  // namespace rondo::inline RONDO_ISA::detail
