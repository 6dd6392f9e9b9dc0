/// @file
/// Channels of one token turned by the angles of its place.
///
/// Floor: a row is read and written once, 8 bytes an element in float; the turn itself is 2
/// multiplications and a shuffle, by a row of cosines and sines in the first or second cache.
#pragma once

#include <rondo/detail/composition.hpp>
#include <rondo/detail/lines.hpp>
#include <rondo/simd/neighbours.hpp>
#include <rondo/simd/stream.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// body(constant of the kind), so that rows are turned without asking for it at each.
template <class Body>
inline void with_turn_kind(turn_kind kind, Body const& body) noexcept {
    switch (kind) {
        case turn_kind::interleaved:
            return body(std::integral_constant<turn_kind, turn_kind::interleaved>{});
        case turn_kind::half_split:
            return body(std::integral_constant<turn_kind, turn_kind::half_split>{});
        default: return body(std::integral_constant<turn_kind, turn_kind::doubled>{});
    }
}

/// Where packs of a turned row are put. `Streamed` stores go past the caches: rows are then whole
/// packs, and begin at multiples of 16 bytes.
template <class L, bool Streamed>
struct turned_packs {
    using A = typename L::value;

    template <class Count>
    static void put(A* to, typename L::pack const& x, Count n) noexcept {
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
    static void each(A const* y, index count, Body const& body) noexcept {
        index const head = Streamed ? std::min(before_line<L>(y), count) : 0;
        if (head > 0) body(index(0), head);
        for_packs<L>(count - head, [&](index c, auto n) { body(head + c, n); });
    }
};

/// y = x turned, or `Back`, one row of channels; they may be the same. With n pairs of a cosine and
/// a sine `turns` holds for `interleaved` c_0, s_0, c_1, s_1, ..., else the cosines and then the
/// sines; 1, 0 where nothing is turned. `count` channels, of which a pack may be read past the end
/// of `turns`.
template <class L, turn_kind Kind, bool Back, bool Streamed = false>
[[gnu::always_inline]] inline void turn_row(typename L::value const* turns, index pairs,
                                            typename L::value const* x, typename L::value* y,
                                            index count) noexcept {
    using A = typename L::value;
    using to = turned_packs<L, Streamed>;
    if constexpr (Kind == turn_kind::interleaved && L::width == 1) {
        if (count % 2 == 1) y[count - 1] = x[count - 1];
        for (index c = 0; c + 1 < count; c += 2) {
            A const a = x[c], b = x[c + 1];
            A const along = turns[c], across = Back ? -turns[c + 1] : turns[c + 1];
            y[c] = a * along - b * across;
            y[c + 1] = b * along + a * across;
        }
    } else if constexpr (Kind == turn_kind::interleaved) {
        A const* const again = another(turns);
        to::each(y, count, [&](index c, auto n) {
            to::put(y + c, turn_neighbours<L, Back>(L::load(x + c, n), turns + c, again + c), n);
        });
    } else if constexpr (Kind == turn_kind::half_split) {
        to::each(y, pairs, [&](index c, auto n) {
            auto const a = L::load(x + c, n), b = L::load(x + pairs + c, n);
            auto const along = L::load(turns + c, n), sine = L::load(turns + pairs + c, n);
            auto const across = Back ? L::broadcast(A(0)) - sine : sine;
            to::put(y + c, a * along - b * across, n);
            to::put(y + pairs + c, L::fma(a, across, b * along), n);
        });
    } else {  // the real and the imaginary part, or back their sum
        to::each(y, pairs, [&](index c, auto n) {
            auto const real = L::load(x + c, n);
            auto const cosine = L::load(turns + c, n), sine = L::load(turns + pairs + c, n);
            if constexpr (Back) {
                to::put(y + c, L::fma(real, cosine, L::load(x + pairs + c, n) * sine), n);
            } else {
                to::put(y + c, real * cosine, n);
                to::put(y + pairs + c, real * sine, n);
            }
        });
    }
}

/// d_angle = the derivative of a loss by every angle, from x before its turn and the gradient: for
/// pairs the one turned back (`back`), for `doubled` the one of y.
template <class L>
inline void angle_gradients(turn_kind kind, typename L::value const* turns, index pairs,
                            typename L::value const* x, typename L::value const* back,
                            typename L::value const* d_y, typename L::value* d_angle) noexcept {
    if (kind == turn_kind::doubled) {
        for_packs<L>(pairs, [&](index c, auto n) {
            auto const cosine = L::load(turns + c, n), sine = L::load(turns + pairs + c, n);
            auto const d = L::load(d_y + pairs + c, n) * cosine - L::load(d_y + c, n) * sine;
            L::store(d_angle + c, L::load(x + c, n) * d, n);
        });
        return;
    }
    bool const split = kind == turn_kind::half_split;
    index const partner = split ? pairs : 1, step = split ? 1 : 2;
    for (index i = 0; i < pairs; ++i) {
        index const c = i * step;
        d_angle[i] = x[c] * back[c + partner] - x[c + partner] * back[c];
    }
}

}  // namespace rondo::inline RONDO_ISA::detail
