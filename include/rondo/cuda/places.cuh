/// @file
/// Where tokens stand, and by how much their channels are turned.
#pragma once

#include <rondo/cuda/rows.cuh>
#include <rondo/position/turn_checks.hpp>

namespace rondo::inline RONDO_ISA::cuda {

using detail::max_axes;
using detail::turn_kind;

/// Coordinates by token; std::array has no members for device code.
struct standing {
    int axes;
    index extents[max_axes];
    index skip, first;

    explicit standing(detail::token_places const& from)
        : axes(from.shape.axes()), skip(from.skip), first(from.first) {
        std::copy(from.shape.extents.begin(), from.shape.extents.end(), extents);
    }

    __device__ bool alone(index token) const { return first + token < skip; }

    /// Coordinate `axis` of a token, the first axis slowest.
    __device__ index along(index token, int axis) const {
        index rest = first + token - skip;
        for (int a = axes - 1; a > axis; --a) rest /= extents[a];
        return axis == 0 ? rest : rest % extents[axis];
    }
};

/// The angles of a call; axis k of a token's coordinates turns [k block, (k + 1) block).
template <class A>
struct angle_source {
    index count, block;
    double const* fixed;     // [block], or null
    std::byte const* theta;  // [head, block], strides in bytes
    index head, angle;
    element kind;
    bool inverse;  // turns back

    __device__ double at(index of_head, index i) const {
        double const forth =
            fixed != nullptr ? fixed[i] : double(load<A>(theta + of_head * head + i * angle, kind));
        return inverse ? -forth : forth;
    }
};

template <class A>
struct turn {
    A cosine, sine;
};

/// The turn by s theta. The product is split in two, and so is what is left of it modulo 2 pi.
__device__ inline void turn_by(double s, double theta, turn<double>& to) {
    double const angle = s * theta, rest = fma(s, theta, -angle);
    double sine, cosine;
    sincos(angle, &sine, &cosine);
    to = {fma(-rest, sine, cosine), fma(rest, cosine, sine)};
}
__device__ inline void turn_by(double s, double theta, turn<float>& to) {
    constexpr double turns = 0.15915494309189533577, full = 6.283185307179586232,
                     full_low = 2.4492935982947064e-16;
    double const angle = s * theta, n = rint(angle * turns);
    sincosf(float(fma(-n, full_low, fma(-n, full, angle))), &to.sine, &to.cosine);
}

/// The turn of angle i of a token.
template <class A>
__device__ inline turn<A> turn_of(standing const& places, angle_source<A> const& angles, index head,
                                  index token, index i) {
    turn<A> result{A(1), A(0)};
    if (places.alone(token)) return result;
    int axis = 0;
    index within = i;
    for (; within >= angles.block; within -= angles.block) ++axis;
    turn_by(double(places.along(token, axis)), angles.at(head, within), result);
    return result;
}

/// Two numbers by a turn in the plane; standing still keeps even infinities.
template <class A>
__device__ inline void rotate(turn<A> const& by, A& a, A& b) {
    if (by.sine == A(0) && by.cosine == A(1)) return;
    A const first = a;
    a = first * by.cosine - b * by.sine;
    b = b * by.cosine + first * by.sine;
}

}  // namespace rondo::inline RONDO_ISA::cuda
