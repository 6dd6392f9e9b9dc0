/// @file
/// The passes over time that a direction takes, and how several sets of them become one output.
#pragma once

#include <rondo/detail/problem.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// The passes of one scan; at most two.
struct pass_list {
    std::array<pass, 2> items{};
    std::size_t count = 1;
};

/// Causal: one pass. Bidirectional: from the right without the reader itself, then from the left;
/// where no order is seen the whole window first, then its readers.
constexpr pass_list passes_of(composition const& what) noexcept {
    pass_list list;
    if (!what.bidirectional()) {
        list.items[0].reversed = what.direction == direction_kind::anticausal;
        return list;
    }
    list.count = 2;
    if (what.one_window()) {
        list.items[0].read = false;
        list.items[1].write = false;
        list.items[1].keep = true;
    } else {
        list.items[0].reversed = true;
        list.items[0].strict = true;
    }
    return list;
}

/// Lets readers add up over all passes: the first stores, the last divides and scales.
constexpr void merge(std::span<pass> passes) noexcept {
    bool begun = false;
    pass* last = nullptr;
    for (pass& p : passes) {
        if (!p.read) continue;
        p.accumulate = begun;
        p.finish = false;
        begun = true;
        last = &p;
    }
    if (last != nullptr) last->finish = true;
}

}  // namespace rondo::inline RONDO_ISA::detail
