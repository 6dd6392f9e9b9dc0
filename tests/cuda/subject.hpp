#pragma once

// What the CUDA tests run, as plain functions on the oracle's structs: the tests themselves are
// ordinary C++, and only the files that fill the table need nvcc.

#include "oracle/path.hpp"
#include "support/problems.hpp"
#include "support/subject.hpp"
#include "support/tensor.hpp"

#include <string>
#include <vector>

namespace device {

using oracle::problem;
using support::index;
using support::outcome;

enum class element { float32, float64, bfloat16, float16 };
inline constexpr element elements[] = {element::float64, element::float32, element::bfloat16,
                                       element::float16};

/// How a call is made; its meaning must not depend on it.
struct arrangement {
    device::element element = element::float64;
    support::memory memory = support::memory::bthd;
    bool ones = false;                    // the key of ones; p.k holds ones all the same
    bool in_place = false;                // one state to start from and to leave
    std::vector<rondo::index> offsets{};  // of packed sequences; p.in and out have one state each
};

using runner = outcome (*)(problem const&, arrangement const&);

/// One composition: whole sequences, and token by token (null for bidirectional).
struct subject {
    std::string name;
    oracle::composition op;
    runner forward, steps;
};

struct grid_subject {
    std::string name;
    oracle::composition op;
    std::vector<oracle::path> paths;
    outcome (*forward)(problem const&, arrangement const&, index rows, index columns);
};

std::vector<subject> const& subjects();
std::vector<grid_subject> const& grid_subjects();

/// Rounds the inputs to the element type, so that the reference sees what the device sees; states
/// to the accumulator's.
void round_to(element type, problem& p);

/// Whether there is a device; says so once where there is none.
bool present();

/// Captures a causal call in a graph and replays it on other inputs of the same extents: the two
/// outputs must be those of the calls themselves, bit for bit.
bool replays(problem const& first, problem const& second, std::vector<rondo::index> const& offsets);

/// Whether a causal call needs no scratch, and one of both directions a state of 16 bits for every
/// 64 tokens.
bool scratch_is_known();

/// Whether a call that needs more memory than there is throws cuda_error with the name of a runtime
/// call.
bool names_the_call();

}  // namespace device
