/// @file
/// The turn of a place, as the rows of a chunk are turned by it.
#pragma once

#include <rondo/kernel/angles.hpp>
#include <rondo/simd/tile.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// Pairs of a cosine and a sine, in turn (`interleaved`) or all cosines and then all sines. As in
/// angle_tables a place is fine u + j: places that share u take its turn from registers, and add
/// those of j from a table.
template <class L>
class place_turns {
public:
    using A = typename L::value;

    place_turns() = default;
    /// 2^fine_bits places share a computed turn.
    place_turns(arena& memory, angle_layout const& layout, bool interleaved, int fine_bits) noexcept
        : layout_(layout),
          interleaved_(interleaved),
          bits_(fine_bits),
          half_(padded<L>(layout.block)),
          exact_(memory, layout.block, 1) {
        fine_ = memory.take<A>((2 * half_) << bits_);
        coarse_ = memory.take<A>(layout.axes * 2 * half_);
        places_ = memory.take<index>(layout.axes);
    }

    /// Takes the angles theta(i).
    template <class Theta>
    void begin(Theta const& theta) noexcept {
        exact_.begin(0, theta, false);
        std::fill_n(coarse_, layout_.axes * 2 * half_, A(0));
        std::fill_n(places_, layout_.axes, index(-1));
        for (index j = 0; j < index(1) << bits_; ++j) turn(j, fine_row(j));
    }

    /// How many places from s on share its computed turn.
    index shared(index s) const noexcept { return (index(1) << bits_) - fine_place(s); }

    /// Rows of `to` = the turns of the angles of an axis by the places s, s + 1, ..., of which
    /// there are `count`, at most shared(s).
    void leave(int axis, index s, index count, matrix<A> to) noexcept {
        A* const coarse = coarse_ + axis * 2 * half_;
        if (index const u = s >> bits_; places_[axis] != u) {
            places_[axis] = u;
            turn(u << bits_, coarse);
        }
        A const* const fine = fine_row(fine_place(s));
        index const first = layout_.begin(axis), width = layout_.width(axis);
        interleaved_ ? add_in_turn(coarse, fine, 2 * width, count, to.from(0, 2 * first))
                     : add_apart(coarse, fine, width, count, to.from(0, first));
    }

private:
    index fine_place(index s) const noexcept { return s & ((index(1) << bits_) - 1); }
    A* fine_row(index j) const noexcept { return fine_ + j * 2 * half_; }

    void turn(index s, A* to) const noexcept {
        index const step = interleaved_ ? 2 : 1, sine = interleaved_ ? 1 : half_;
        exact_.turn(0, s, [=](index i, double c, double s_i) {
            to[step * i] = A(c);
            to[step * i + sine] = A(s_i);
        });
    }

    void add_in_turn(A const* coarse, A const* fine, index channels, index count,
                     matrix<A> to) const noexcept {
        if constexpr (L::width == 1) {
            for (index r = 0; r < count; ++r, fine += 2 * half_) {
                for (index c = 0; c < channels; c += 2) {
                    *to.at(r, c) = coarse[c] * fine[c] - coarse[c + 1] * fine[c + 1];
                    *to.at(r, c + 1) = coarse[c] * fine[c + 1] + coarse[c + 1] * fine[c];
                }
            }
        } else {
            for_packs<L>(channels, [&](index c, auto n) {
                neighbour_turn<L, false> const by(coarse + c, another(coarse) + c);
                for (index r = 0; r < count; ++r) {
                    L::store(to.at(r, c), by(L::load(fine + r * 2 * half_ + c, n)), n);
                }
            });
        }
    }

    void add_apart(A const* coarse, A const* fine, index width, index count,
                   matrix<A> to) const noexcept {
        index const sines = layout_.count;
        for_packs<L>(width, [&](index c, auto n) {
            auto const along = L::load(coarse + c, n), across = L::load(coarse + half_ + c, n);
            for (index r = 0; r < count; ++r) {
                A const* const pairs = fine + r * 2 * half_ + c;
                auto const a = L::load(pairs, n), b = L::load(pairs + half_, n);
                L::store(to.at(r, c), a * along - b * across, n);
                L::store(to.at(r, sines + c), L::fma(a, across, b * along), n);
            }
        });
    }

    angle_layout layout_;
    bool interleaved_ = true;
    int bits_ = 0;
    index half_ = 0;
    exact_angles<L> exact_;
    A *fine_ = nullptr, *coarse_ = nullptr;
    index* places_ = nullptr;  // u of each axis
};

}  // namespace rondo::inline RONDO_ISA::detail
