/// @file
/// Cosines and sines of the angles of tokens.
#pragma once

#include <rondo/detail/arena.hpp>
#include <rondo/simd/sincos.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// Which angles a token has: axis k of its coordinates turns the angles [k block, (k + 1) block),
/// the last axis what is left of `count`.
struct angle_layout {
    index count = 0, block = 0;
    int axes = 1;

    angle_layout() = default;
    angle_layout(index angles, int rank) noexcept
        : count(angles), block((angles + rank - 1) / rank), axes(rank) {}

    index begin(int axis) const noexcept { return std::min(axis * block, count); }
    index width(int axis) const noexcept { return begin(axis + 1) - begin(axis); }
};

/// Turns of several heads by whole places, in double.
template <class L>
class exact_angles {
public:
    exact_angles() = default;
    exact_angles(arena& memory, index count, index heads) noexcept
        : count_(count), stride_(padded<lanes>(count)) {
        high_ = memory.take<double>(heads * stride_);
        low_ = memory.take<double>(heads * stride_);
        for (double** part : {&cosines_, &sines_}) *part = memory.take<double>(stride_);
    }

    /// Takes the angles theta(i) of a head, in double.
    template <class Theta>
    void begin(index head, Theta const& theta) noexcept {
        for (index i = 0; i < stride_; ++i) {
            split_double const parts(i < count_ ? theta(i) : 0.0);
            high_[head * stride_ + i] = parts.high;
            low_[head * stride_ + i] = parts.low;
        }
    }

    /// body(i, cosine, sine) of every angle times s.
    template <class Body>
    void turn(index head, index s, Body const& body) const noexcept {
        typename lanes::pack const place = lanes::broadcast(double(s));
        double const *const high = high_ + head * stride_, *const low = low_ + head * stride_;
        for (index i = 0; i < count_; i += lanes::width) {
            typename lanes::pack sines, cosines;
            sincos_pack<lanes>(place * lanes::load(high + i), place * lanes::load(low + i), sines,
                               cosines);
            lanes::store(cosines_ + i, cosines);
            lanes::store(sines_ + i, sines);
        }
        for (index i = 0; i < count_; ++i) body(i, cosines_[i], sines_[i]);
    }

private:
    using lanes = double_lanes<L>;
    index count_ = 0, stride_ = 0;
    double *high_ = nullptr, *low_ = nullptr, *cosines_ = nullptr, *sines_ = nullptr;
};

}  // namespace rondo::inline RONDO_ISA::detail
