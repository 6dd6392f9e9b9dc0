/// @file
/// One token's channels turned by the angles of its place.
///
/// Floor: a row is read and written once, 8 bytes an element in float; the turn itself is 2
/// multiplications and a shuffle, its cosine and sine 4 more from tables in the first or second
/// cache.
#pragma once

#include <rondo/detail/composition.hpp>
#include <rondo/detail/lines.hpp>
#include <rondo/simd/neighbours.hpp>
#include <rondo/simd/stream.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// The angles of a token, a + b: cosines and sines of both, and which of the token's angles they
/// are (for `interleaved` every angle stands twice, its sine first with -1).
template <class L>
struct angle_sum {
    using A = typename L::value;
    A const *a_cosine, *a_sine, *b_cosine, *b_sine;
    index first, count;

    struct turn {
        typename L::pack cosine, sine;
    };
    turn at(index c) const noexcept {
        auto const ac = L::load(a_cosine + c), as = L::load(a_sine + c);
        auto const bc = L::load(b_cosine + c), bs = L::load(b_sine + c);
        return {ac * bc - as * bs, L::fma(as, bc, ac * bs)};
    }
};

/// `Streamed` stores go past the caches: rows of y are then whole packs, and begin at multiples of
/// 16 bytes.
template <class L, bool Streamed>
struct turn_kernel {
    using A = typename L::value;
    using P = typename L::pack;

    /// y = x turned by some of a token's angles; `channels` is the whole row.
    static void turn(turn_kind kind, A const* x, angle_sum<L> const& angles, A* y,
                     index channels) noexcept {
        switch (kind) {
            case turn_kind::interleaved: return interleaved(x, angles, y);
            case turn_kind::half_split: return half_split(x, angles, y, channels / 2);
            default: return doubled(x, angles, y, channels);
        }
    }

    /// x = y turned back: pairs by negated angles, which are then what `angles` holds.
    static void turn_back(turn_kind kind, A const* y, angle_sum<L> const& angles, A* x,
                          index channels) noexcept {
        if (kind != turn_kind::doubled) return turn(kind, y, angles, x, channels);
        A const *const real = y + angles.first, *const imaginary = real + channels;
        for_packs<L>(angles.count, [&](index c, auto n) {
            auto const by = angles.at(c);
            P const i = L::load(imaginary + c, n) * by.sine;
            L::store(x + angles.first + c, L::fma(L::load(real + c, n), by.cosine, i), n);
        });
    }

    /// The derivative of a loss by every angle, from x before its turn and the gradient: for pairs
    /// the one turned back (`back`), for `doubled` the one of y.
    static void angle_gradients(turn_kind kind, A const* x, A const* back, A const* d_y,
                                angle_sum<L> const& angles, A* d_angle, index channels) noexcept {
        if (kind == turn_kind::doubled) {
            A const *const real = d_y + angles.first, *const imaginary = real + channels;
            for_packs<L>(angles.count, [&](index c, auto n) {
                auto const by = angles.at(c);
                P const d = L::load(imaginary + c, n) * by.cosine - L::load(real + c, n) * by.sine;
                L::store(d_angle + angles.first + c, L::load(x + angles.first + c, n) * d, n);
            });
            return;
        }
        bool const split = kind == turn_kind::half_split;
        index const pair = split ? channels / 2 : 1, step = split ? 1 : 2;
        for (index c = angles.first; c < angles.first + angles.count; c += step) {
            d_angle[c / step] = x[c] * back[c + pair] - x[c + pair] * back[c];
        }
    }

private:
    template <class Count>
    static void put(A* to, P const& x, Count n) noexcept {
        if constexpr (!Streamed) {
            L::store(to, x, n);
        } else if constexpr (std::is_same_v<Count, index>) {
            stream<L>(to, x, n);
        } else {
            stream<L>(to, x);
        }
    }

    /// body(first, how many) for the packs that `count` values of y are put in.
    template <class Body>
    static void for_packs_of(A const* y, index count, Body const& body) noexcept {
        index const head = Streamed ? std::min(before_line<L>(y), count) : 0;
        if (head > 0) body(index(0), head);
        for_packs<L>(count - head, [&](index c, auto n) { body(head + c, n); });
    }

    /// y = x cos + swap(x) sin.
    static void interleaved(A const* x, angle_sum<L> const& angles, A* y) noexcept {
        x += angles.first;
        y += angles.first;
        if constexpr (L::width == 1) {
            for (index c = 0; c < angles.count; c += 2) {
                auto const by = angles.at(c + 1);
                A const a = x[c], b = x[c + 1];
                y[c] = a * by.cosine - b * by.sine;
                y[c + 1] = b * by.cosine + a * by.sine;
            }
        } else {
            for_packs_of(y, angles.count, [&](index c, auto n) {
                auto const by = angles.at(c);
                P const values = L::load(x + c, n);
                put(y + c, L::fma(values, by.cosine, swap_neighbours<L>(values) * by.sine), n);
            });
        }
    }

    static void half_split(A const* x, angle_sum<L> const& angles, A* y, index half) noexcept {
        x += angles.first;
        y += angles.first;
        for_packs_of(y, angles.count, [&](index c, auto n) {
            auto const by = angles.at(c);
            P const a = L::load(x + c, n), b = L::load(x + half + c, n);
            put(y + c, a * by.cosine - b * by.sine, n);
            put(y + half + c, L::fma(a, by.sine, b * by.cosine), n);
        });
    }

    static void doubled(A const* x, angle_sum<L> const& angles, A* y, index channels) noexcept {
        x += angles.first;
        y += angles.first;
        for_packs_of(y, angles.count, [&](index c, auto n) {
            auto const by = angles.at(c);
            P const values = L::load(x + c, n);
            put(y + c, values * by.cosine, n);
            put(y + channels + c, values * by.sine, n);
        });
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
