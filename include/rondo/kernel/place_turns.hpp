/// @file
/// The turns of places, a row of cosines and sines for each.
#pragma once

#include <rondo/detail/lines.hpp>
#include <rondo/kernel/angles.hpp>
#include <rondo/simd/neighbours.hpp>
#include <rondo/simd/tile.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// Pairs of a cosine and a sine, in turn (`interleaved`) or all cosines and then all sines, of
/// several heads. s theta = (fine u + j) theta: the turn by fine u theta is computed in double when
/// u changes, those by j theta once. Places that share u take its turn from registers, and add
/// those of j from a table.
///
/// Accuracy: that of a product of two rounded complex numbers, 2 roundings, at any place below
/// 2^26.
template <class L>
class place_turns {
public:
    using A = typename L::value;

    place_turns() = default;
    /// 2^fine_bits places share a computed turn; 0 for a single token.
    place_turns(arena& memory, angle_layout const& layout, index heads, bool interleaved,
                int fine_bits) noexcept
        : layout_(layout),
          interleaved_(interleaved),
          bits_(fine_bits),
          half_(padded<L>(layout.block)),
          exact_(memory, layout.block, heads) {
        fine_ = memory.take<A>(heads * (2 * half_) << bits_);
        coarse_ = memory.take<A>(heads * layout.axes * 2 * half_);
        places_ = memory.take<index>(heads * layout.axes);
    }

    /// Takes the angles theta(i) of a head, in double.
    template <class Theta>
    void begin(index head, Theta const& theta) noexcept {
        exact_.begin(head, theta);
        fill<L>(coarse(head, 0), A(0), layout_.axes * 2 * half_);
        std::fill_n(places_ + head * layout_.axes, layout_.axes, index(-1));
        for (index j = 0; j < index(1) << bits_; ++j) turn(head, j, fine(head, j));
    }

    /// A row of `width` that turns nothing.
    void stand_still(A* to, index width) const noexcept {
        for (index c = 0; c < width; ++c) {
            to[c] = A((interleaved_ ? c % 2 == 0 : c < layout_.count) ? 1 : 0);
        }
    }

    /// Rows of `to` = the turns of a head's tokens first, first + 1, ..., first + count - 1. Tokens
    /// that are left alone leave their rows as they are.
    void leave(index head, token_places const& places, index first, index count,
               matrix<A> to) noexcept {
        index r = 0;
        while (r < count && places.alone(first + r)) ++r;
        for (auto at = places.at(first + r); r < count;) {
            index const shared = (index(1) << bits_) - fine_place(at[0]);
            index const rows = layout_.axes == 1 ? std::min(count - r, shared) : 1;
            for (int k = 0; k < layout_.axes; ++k) {
                leave_axis(head, k, at[std::size_t(k)], rows, to.from(r, 0));
            }
            layout_.axes == 1 ? void(at[0] += rows) : places.advance(at);
            r += rows;
        }
    }

private:
    index fine_place(index s) const noexcept { return s & ((index(1) << bits_) - 1); }
    A* fine(index head, index j) const noexcept {
        return fine_ + ((head << bits_) + j) * 2 * half_;
    }
    A* coarse(index head, int axis) const noexcept {
        return coarse_ + (head * layout_.axes + axis) * 2 * half_;
    }

    /// The turns of the angles of an axis by the places s, s + 1, ..., which share one u.
    void leave_axis(index head, int axis, index s, index count, matrix<A> to) noexcept {
        A* const shared = coarse(head, axis);
        index& place = places_[head * layout_.axes + axis];
        if (index const u = s >> bits_; place != u) {
            place = u;
            turn(head, u << bits_, shared);
        }
        A const* const own = fine(head, fine_place(s));
        index const first = layout_.begin(axis), width = layout_.width(axis);
        interleaved_ ? add_in_turn(shared, own, 2 * width, count, to.from(0, 2 * first))
                     : add_apart(shared, own, width, count, to.from(0, first));
    }

    void turn(index head, index s, A* to) const noexcept {
        index const step = interleaved_ ? 2 : 1, sine = interleaved_ ? 1 : half_;
        exact_.turn(head, s, [=](index i, double c, double s_i) {
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
    index* places_ = nullptr;  // u of each head and axis
};

}  // namespace rondo::inline RONDO_ISA::detail
