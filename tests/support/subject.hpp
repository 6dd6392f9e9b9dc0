#pragma once

// Every operator under test, as plain functions on the oracle's structs: the laws are then ordinary
// loops, and only the files that fill the table instantiate the library.

#include "oracle/path.hpp"
#include "support/tensor.hpp"

#include <string>
#include <vector>

namespace support {

enum class element { float32, float64 };
enum class place { serial, simd, openmp };

/// Where and how a call runs; its meaning must not depend on any of it.
struct arrangement {
    support::element element = element::float64;
    support::place place = place::serial;
    int threads = 2;
    support::memory memory = memory::bthd;
    bool ones = false;  // the key of ones instead of memory; p.k holds ones all the same
};

struct outcome {
    oracle::values o;
    oracle::state out;
    bool gaps_intact = true;
};

using runner = outcome (*)(oracle::problem const&, arrangement const&);

struct form {
    std::string name;  // "chunkwise<64>", or "" where the operator picks
    runner forward;
};

/// One composition in several forms: the operator's own choice, the recurrent one, and others.
struct subject {
    std::string name;
    oracle::composition op;
    std::vector<form> forms;
    runner steps = nullptr;  // token by token, from the incoming state; not for bidirectional

    /// The form that the operator picks.
    runner forward() const { return forms.front().forward; }
};

/// An operator along paths over a grid of rows x columns.
struct grid_subject {
    std::string name;
    oracle::composition op;
    std::vector<oracle::path> paths;
    outcome (*forward)(oracle::problem const&, arrangement const&, index rows, index columns);
};

/// Every composition of decay, placement, direction, normalisation and update in every form, then
/// some of them with each feature map.
std::vector<subject> const& subjects();

/// The subject with exactly this composition, or nothing.
subject const* find(oracle::composition const& op);

/// Each path alone and each decay along several.
std::vector<grid_subject> const& grid_subjects();

}  // namespace support
