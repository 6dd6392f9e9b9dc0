/// @file
/// How a call is cut: time into pieces for a chunk, parts for threads and stretches for sums.
#pragma once

#include <rondo/detail/composition.hpp>

#include <algorithm>

namespace rondo::inline RONDO_ISA::detail {

/// How a call is cut: `piece` tokens at a time, `heads` heads side by side.
struct cut {
    form_kind form;
    index piece;
    index heads;
    // Sequences with fewer tokens are walked one by one, each as it would be in a call of its own.
    index recurrent_below = 0;
    index ask_heads = 1;  // whose rows are asked for together along a path
};

/// What moving a state past a token costs of moving and reading it, as measured.
constexpr double moving_cost(composition const& what) noexcept {
    switch (what.decay) {
        case decay_kind::none:
        case decay_kind::constant: return 0.4;
        case decay_kind::vector: return 0.55;
        default: return 0.45;
    }
}

/// One of `count` parts of every sequence's readers.
struct time_part {
    index number = 0, count = 1;

    /// Where the part begins among `length` places, on whole pieces, that parts end together: each
    /// moves the state to its first reader, at a `cost` of what it takes to move and read, so that
    /// it reads that much less than the one before.
    index begin(index length, index piece, double cost) const noexcept {
        if (number == count) return length;
        auto const sum = [&](index parts) {
            double places = 0, share = 1;
            for (index i = 0; i < parts; ++i, share *= 1 - cost) places += share;
            return places;
        };
        return index(double(length / piece) * sum(number) / sum(count)) * piece;
    }
};

/// The heads [first, last) of one sequence.
struct head_span {
    index sequence, first, last;
};

/// A whole window is summed in stretches, whoever sums them, and these are added in order: the same
/// bits however many work at it.
inline constexpr index most_stretches = 16;

constexpr index stretch_of(index length, index piece) noexcept {
    index const pieces = (length + piece - 1) / piece;
    return std::max<index>((pieces + most_stretches - 1) / most_stretches, 16) * piece;
}

}  // namespace rondo::inline RONDO_ISA::detail
