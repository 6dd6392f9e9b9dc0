#pragma once

// Operators with fused positions: where their tokens stand, and what their calls read.

#include "cuda/field.cuh"

namespace device {

using findings = std::vector<finding>;
using extents4 = std::array<index, 4>;

inline rondo::position::places somewhere(random& r, extents4& n) {
    rondo::position::places at;
    at.base = r.one_of({10000.0, 500.0});
    at.skip = r.integer(0, 4);
    if (r.chance(0.5)) {
        at.offset = r.one_of<index>({0, 3, 999900});
    } else {
        index const rows = r.integer(1, 9), columns = r.integer(1, 20);
        at.grid = rondo::grid{rows, columns};
        n[2] = rows * columns + at.skip;
    }
    return at;
}

/// Half of the calls lie as the fast kernels want them.
inline support::memory fast_or_any(random& r) {
    return r.chance(0.5) ? support::memory::bthd : any_memory(r);
}

/// The operands of a call, keys so small that scores stay mild.
template <class T>
struct operands {
    field<T, 4> q, k, v;
    field<T, 4> gate;
    field<T, 3> head_gate, beta;
    field<T, 4> o;

    operands(random& r, extents4 const& n, index heads, index width)
        : q(r, n, fast_or_any(r), numbers(r, n[0] * n[1] * n[2] * n[3], 1)),
          k(r, {n[0], heads, n[2], n[3]}, fast_or_any(r),
            numbers(r, n[0] * heads * n[2] * n[3], 1 / std::sqrt(double(n[3])))),
          v(r, {n[0], heads, n[2], width}, fast_or_any(r),
            numbers(r, n[0] * heads * n[2] * width, 1)),
          gate(r, {n[0], heads, n[2], n[3]}, fast_or_any(r),
               support::uniform(r, n[0] * heads * n[2] * n[3], -1, 0)),
          head_gate(r, {n[0], heads, n[2]}, fast_or_any(r),
                    support::uniform(r, n[0] * heads * n[2], -1, 0)),
          beta(r, {n[0], heads, n[2]}, fast_or_any(r),
               support::uniform(r, n[0] * heads * n[2], 0, 1)),
          o(r, {n[0], n[1], n[2], width}, fast_or_any(r)) {}

private:
    static oracle::values numbers(random& r, index count, double size) {
        return support::uniform(r, count, -size, size);
    }
};

}  // namespace device
