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
    /// 2^fine_bits places share a computed turn; 0 for a single token.
    angle_tables(arena& memory, angle_layout const& layout, index heads, int fine_bits) noexcept
        : layout_(layout), bits_(fine_bits), stride_(padded<L>(layout.block * layout.stretch)) {
        doubles_ = padded<double_lanes<L>>(layout.block);
        high_ = memory.take<double>(heads * doubles_);
        low_ = memory.take<double>(heads * doubles_);
        for (double** part : {&cosines_, &sines_}) *part = memory.take<double>(doubles_);
        for (A** part : {&fine_cosine_, &fine_sine_}) {
            *part = memory.take<A>(heads * (stride_ << bits_));
        }
        for (A** part : {&cosine_, &sine_}) *part = memory.take<A>(heads * layout.axes * stride_);
        turned_ = memory.take<index>(heads * layout.axes);
    }

    /// Takes the angles theta(i) of a head, in double; `inverse` negates them.
    template <class Theta>
    void begin(index head, Theta const& theta, bool inverse) noexcept {
        for (index i = 0; i < doubles_; ++i) {
            split_double const parts(i < layout_.block ? theta(i) : 0.0);
            high_[head * doubles_ + i] = inverse ? -parts.high : parts.high;
            low_[head * doubles_ + i] = inverse ? -parts.low : parts.low;
        }
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
        using D = double_lanes<L>;
        typename D::pack const place = D::broadcast(double(s));
        double const *const high = high_ + head * doubles_, *const low = low_ + head * doubles_;
        for (index i = 0; i < layout_.block; i += D::width) {
            typename D::pack sines, cosines;
            sincos_pack<D>(place * D::load(high + i), place * D::load(low + i), sines, cosines);
            D::store(cosines_ + i, cosines);
            D::store(sines_ + i, sines);
        }
        if (layout_.stretch == 1) {
            for (index i = 0; i < layout_.block; ++i) cosine[i] = A(cosines_[i]);
            for (index i = 0; i < layout_.block; ++i) sine[i] = A(sines_[i]);
            return;
        }
        for (index i = 0; i < layout_.block; ++i) {
            A const c = A(cosines_[i]), s_i = A(sines_[i]);
            cosine[2 * i] = c;
            cosine[2 * i + 1] = c;
            sine[2 * i] = -s_i;
            sine[2 * i + 1] = s_i;
        }
    }

    angle_layout layout_;
    int bits_ = 0;
    index stride_ = 0, doubles_ = 0;
    double *high_, *low_, *cosines_, *sines_;
    A *fine_cosine_, *fine_sine_, *cosine_, *sine_;
    index* turned_;  // u of each head and axis
};

}  // namespace rondo::inline RONDO_ISA::detail
