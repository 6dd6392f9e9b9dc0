#pragma once

// What the unit tests' program has allocated so far; tests/unit/scratch.cpp counts.

#include <atomic>

namespace support {

struct allocations {
    std::atomic<long> calls = 0, bytes = 0;
};
extern allocations allocated;

}  // namespace support
