#pragma once

// Every operator's `backward` on the device, as plain functions on the oracle's structs.

#include "cuda/subject.hpp"
#include "support/gradient_subject.hpp"

namespace device {

using support::gradient_call;
using support::gradient_outcome;

struct gradient_row {
    std::string name;
    oracle::composition op;
    gradient_outcome (*backward)(problem const&, gradient_call const&, arrangement const&);
};

struct gradient_grid_row {
    std::string name;
    oracle::composition op;
    std::vector<oracle::path> paths;
    gradient_outcome (*backward)(problem const&, gradient_call const&, arrangement const&,
                                 index rows, index columns);
};

/// The compositions of `subjects`, and some without feature maps.
std::vector<gradient_row> const& gradient_rows();
std::vector<gradient_grid_row> const& gradient_grid_rows();

/// Bytes that cuda::scratch_bytes says a call of backward takes, and those that it took.
struct memory_use {
    std::string name;
    std::size_t promised, used;
};
std::vector<memory_use> memory_of_backward();

/// Rounds to the element type, states to the accumulator's.
void round_to(element type, gradient_call& call);

}  // namespace device
