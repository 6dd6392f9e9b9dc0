/// @file
/// Cosines and sines of the angles of tokens.
#pragma once

#include <rondo/detail/arena.hpp>
#include <rondo/kernel/turn.hpp>
#include <rondo/simd/sincos.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// Which angles a token has: axis k of its coordinates turns the angles [k block, (k + 1) block),
/// the last axis what is left of `count`.
struct angle_layout {
    index count = 0, block = 0;
    int axes = 1;
    int stretch = 1;  // 2: every angle stands twice in a row, first negated

    angle_layout() = default;
    angle_layout(index angles, int rank, int times) noexcept
        : count(angles), block((angles + rank - 1) / rank), axes(rank), stretch(times) {}

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

    /// Takes the angles theta(i) of a head, in double; `inverse` negates them.
    template <class Theta>
    void begin(index head, Theta const& theta, bool inverse) noexcept {
        for (index i = 0; i < stride_; ++i) {
            split_double const parts(i < count_ ? theta(i) : 0.0);
            high_[head * stride_ + i] = inverse ? -parts.high : parts.high;
            low_[head * stride_ + i] = inverse ? -parts.low : parts.low;
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

/// Cosines and sines of several heads. s theta = (fine u + j) theta: the turn by fine u theta is
/// computed in double when u changes, those by j theta once, and a kernel adds the two angles.
///
/// Accuracy: that of a product of two rounded complex numbers, 2 roundings, at any place below
/// 2^26.
template <class L>
class angle_tables {
public:
    using A = typename L::value;

    angle_tables() = default;
    /// 2^fine_bits places share a computed turn; 0 for a single token. A pack may be read at any
    /// angle, the last included.
    angle_tables(arena& memory, angle_layout const& layout, index heads, int fine_bits) noexcept
        : layout_(layout),
          bits_(fine_bits),
          stride_(padded<L>(layout.block * layout.stretch)),
          exact_(memory, layout.block, heads) {
        for (A** part : {&fine_cosine_, &fine_sine_}) {
            *part = memory.take<A>(heads * (stride_ << bits_) + L::width);
        }
        for (A** part : {&cosine_, &sine_}) {
            *part = memory.take<A>(heads * layout.axes * stride_ + L::width);
        }
        turned_ = memory.take<index>(heads * layout.axes);
    }

    /// Takes the angles theta(i) of a head, in double; `inverse` negates them.
    template <class Theta>
    void begin(index head, Theta const& theta, bool inverse) noexcept {
        exact_.begin(head, theta, inverse);
        index const fine = head << bits_;
        for (index j = 0; j < index(1) << bits_; ++j) {
            turn(head, j, fine_cosine_ + (fine + j) * stride_, fine_sine_ + (fine + j) * stride_);
        }
        std::fill_n(turned_ + head * layout_.axes, layout_.axes, index(-1));
    }

    /// The angles that axis k of a token at `s` turns.
    angle_sum<L> at(index head, int k, index s) noexcept {
        index const u = s >> bits_, at = head * layout_.axes + k;
        A *const cosine = cosine_ + at * stride_, *const sine = sine_ + at * stride_;
        if (turned_[at] != u) {
            turned_[at] = u;
            turn(head, u << bits_, cosine, sine);
        }
        index const fine = ((head << bits_) + (s & ((index(1) << bits_) - 1))) * stride_;
        return {cosine,
                sine,
                fine_cosine_ + fine,
                fine_sine_ + fine,
                layout_.begin(k) * layout_.stretch,
                layout_.width(k) * layout_.stretch};
    }

private:
    /// The turn by place s.
    void turn(index head, index s, A* cosine, A* sine) const noexcept {
        if (layout_.stretch == 1) {
            return exact_.turn(head, s, [=](index i, double c, double s_i) {
                cosine[i] = A(c);
                sine[i] = A(s_i);
            });
        }
        exact_.turn(head, s, [=](index i, double c, double s_i) {
            cosine[2 * i] = cosine[2 * i + 1] = A(c);
            sine[2 * i] = -A(s_i);
            sine[2 * i + 1] = A(s_i);
        });
    }

    angle_layout layout_;
    int bits_ = 0;
    index stride_ = 0;
    exact_angles<L> exact_;
    A *fine_cosine_, *fine_sine_, *cosine_, *sine_;
    index* turned_;  // u of each head and axis
};

}  // namespace rondo::inline RONDO_ISA::detail
