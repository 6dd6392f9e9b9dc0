/// @file
/// The turns of a chunk's tokens, where positions are fused into the operator.
#pragma once

#include <rondo/detail/problem.hpp>
#include <rondo/kernel/place_turns.hpp>

#include <numeric>
#include <type_traits>

namespace rondo::inline RONDO_ISA::detail {

/// Lanes for operators with fused positions: what turns rows is compiled for no others.
template <class L>
struct turning : L {};
template <class L>
inline constexpr bool turns_rows = false;
template <class L>
inline constexpr bool turns_rows<turning<L>> = true;
template <class L, bool Turned>
using lanes_that_turn = std::conditional_t<Turned, turning<L>, L>;

/// y = x turned, or `Back`, one row of channels; they may be the same. With n pairs of a cosine and
/// a sine `turns` holds for `interleaved` c_0, s_0, c_1, s_1, ..., else the cosines and then the
/// sines; 1, 0 where nothing is turned. `count` channels, their padding included.
template <class L, turn_kind Kind, bool Back>
[[gnu::always_inline]] inline void turn_row(typename L::value const* turns, index pairs,
                                            typename L::value const* x, typename L::value* y,
                                            index count) noexcept {
    using A = typename L::value;
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
        for (index c = 0; c < count; c += L::width) {
            L::store(y + c, turn_neighbours<L, Back>(L::load(x + c), turns + c, again + c));
        }
    } else if constexpr (Kind == turn_kind::half_split) {
        for_packs<L>(pairs, [&](index c, auto n) {
            auto const a = L::load(x + c, n), b = L::load(x + pairs + c, n);
            auto const along = L::load(turns + c, n), sine = L::load(turns + pairs + c, n);
            auto const across = Back ? L::broadcast(A(0)) - sine : sine;
            L::store(y + c, a * along - b * across, n);
            L::store(y + pairs + c, L::fma(a, across, b * along), n);
        });
    } else {  // the real and the imaginary part, or back their sum
        for_packs<L>(pairs, [&](index c, auto n) {
            auto const real = L::load(x + c, n);
            auto const cosine = L::load(turns + c, n), sine = L::load(turns + pairs + c, n);
            if constexpr (Back) {
                L::store(y + c, L::fma(real, cosine, L::load(x + pairs + c, n) * sine), n);
            } else {
                L::store(y + c, real * cosine, n);
                L::store(y + pairs + c, real * sine, n);
            }
        });
    }
}

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

/// The turn of one row.
template <class L>
struct row_turn {
    using A = typename L::value;
    A const* turns = nullptr;
    turn_kind kind = turn_kind::interleaved;
    index pairs = 0;

    void turn(A* x, index count) const noexcept { apply<false>(x, count); }
    void turn_back(A* x, index count) const noexcept { apply<true>(x, count); }

private:
    template <bool Back>
    void apply(A* x, index count) const noexcept {
        with_turn_kind(kind, [&](auto known) {
            turn_row<L, decltype(known)::value, Back>(turns, pairs, x, x, count);
        });
    }
};

/// The turns that a chunk's rows need. They are the same for queries and keys and for all heads,
/// so that a row is computed again only when another token comes to stand in it.
///
/// Floor: from the second cache, a cache line for 8 pairs in float: cosines and sines stand once,
/// what spreads them costs less than the lines it saves.
template <class L>
class row_turns {
public:
    using A = typename L::value;

    row_turns() = default;
    row_turns(arena& memory, problem<A> const& call, index rows) noexcept
        : call_(&call),
          rows_(rows),
          depth_(padded<L>(call.depth)),
          pairs_(call.depth / 2),
          places_(memory, layout(call), call.what.turned_as == turn_kind::interleaved,
                  fine_bits(call.length)) {
        tokens_ = memory.take<index>(rows);
        turns_ = memory.take<A>(rows * depth_);
        gates_ = memory.take<A>(widens_gates() ? rows * call.depth : 0);
        numbers_ = memory.take<index>(rows);
        if (tokens_ != nullptr) begin();  // not while scratch is being measured
    }

    /// Row r holds the turn of tokens[r] from now on, r < count.
    void hold(index const* tokens, index count) noexcept {
        if (std::equal(tokens, tokens + count, tokens_)) return;  // most often: another head's
        std::copy_n(tokens, count, tokens_);
        for (index r = 0; r < count;) r = compute(r, count);
    }

    row_turn<L> operator[](index r) const noexcept {
        return {turns_ + r * depth_, call_->what.turned_as, pairs_};
    }

    /// Row t of `to` = source(t) turned by row first + t, t < count; they may be the same.
    template <class Source>
    void turn(index first, index count, Source const& source, matrix<A> to) const noexcept {
        with_turn_kind(call_->what.turned_as, [&](auto kind) {
            for (index t = 0; t < count; ++t) {
                turn_row<L, decltype(kind)::value, false>(turns_ + (first + t) * depth_, pairs_,
                                                          source(t), to.at(t), depth_);
            }
        });
    }

    /// Whether every pack of a row is turned by itself,
    bool interleaved() const noexcept { return call_->what.turned_as == turn_kind::interleaved; }
    /// by the pack of row r that stands there.
    A const* at(index r) const noexcept { return turns_ + r * depth_; }
    index row_step() const noexcept { return depth_; }

    /// Whether memory holds one gate for the real and the imaginary part of a channel.
    bool widens_gates() const noexcept {
        return call_ != nullptr && call_->channels() < call_->depth && call_->what.per_channel();
    }

    /// Takes rows of gates of these tokens twice side by side; returns the numbers of their rows.
    index const* widen(rows_by_token& gates, index const* tokens, index count) const noexcept {
        index const channels = call_->channels(), step = call_->depth * index(sizeof(A));
        for (index r = 0; r < count; ++r) {
            A* const to = gates_ + r * call_->depth;
            load_row<L>(to, gates[tokens[r]], channels, channels);
            std::copy_n(to, channels, to + channels);
        }
        auto* const data = reinterpret_cast<std::byte*>(gates_);
        gates = {{data, index(sizeof(A)), element_traits<A>::kind}, step};
        return numbers_;
    }

private:
    static angle_layout layout(problem<A> const& call) noexcept {
        return {call.depth / 2, call.places.shape.axes(), 1};
    }

    /// Places that share a computed turn, as a power of two: F of them cost F turns at first and
    /// T / F later.
    static int fine_bits(index length) noexcept {
        int bits = 0;
        while (bits < 6 && index(1) << 2 * bits < length) ++bits;
        return bits;
    }

    void begin() noexcept {
        index const block = std::max<index>(layout(*call_).block, 1);
        double const base = call_->base;
        places_.begin([&](index i) { return std::pow(base, -double(i) / double(block)); });
        std::fill_n(tokens_, rows_, index(-1));
        std::iota(numbers_, numbers_ + rows_, index(0));
        for (index r = 0; r < rows_; ++r) stand_still(turns_ + r * depth_);
    }

    void stand_still(A* to) const noexcept {
        for (index c = 0; c < depth_; ++c) {
            to[c] = A((interleaved() ? c % 2 == 0 : c < pairs_) ? 1 : 0);
        }
    }

    /// Computes row r, and with it those behind it, before `end`, that go on along a line; returns
    /// the first row left.
    index compute(index r, index end) noexcept {
        token_places const& places = call_->places;
        matrix<A> const to{turns_ + r * depth_, depth_};
        if (places.alone(tokens_[r])) {
            stand_still(to.data);
            return r + 1;
        }
        auto const at = places.at(tokens_[r]);
        int const axes = places.shape.axes();
        index const most = axes == 1 ? std::min(end - r, places_.shared(at[0])) : 1;
        index count = 1;
        while (count < most && tokens_[r + count] == tokens_[r] + count) ++count;
        for (int k = 0; k < axes; ++k) places_.leave(k, at[std::size_t(k)], count, to);
        return r + count;
    }

    problem<A> const* call_ = nullptr;
    index rows_ = 0, depth_ = 0, pairs_ = 0;
    place_turns<L> places_;
    index* tokens_ = nullptr;
    A* turns_ = nullptr;
    A* gates_ = nullptr;  // [rows, depth], where they are widened
    index* numbers_ = nullptr;
};

/// How the packs at one channel of a chunk's rows are turned, where each is by itself: not at all
/// without positions.
template <class L>
class pack_turns {
public:
    using pack = typename L::pack;

    pack_turns(row_turns<L> const&, index) noexcept {}

    auto operator[](index) const noexcept {
        return [](pack const& x) -> pack const& { return x; };
    }
};
template <class L>
    requires(turns_rows<L> && L::width > 1)
class pack_turns<L> {
public:
    pack_turns(row_turns<L> const& rows, index d) noexcept
        : at_(rows.at(0) + d), row_step_(rows.row_step()) {}

    neighbour_turn<L, false> operator[](index r) const noexcept {
        typename L::value const* const by = at_ + r * row_step_;
        return {by, another(by)};
    }

private:
    typename L::value const* at_;
    index row_step_;
};

}  // namespace rondo::inline RONDO_ISA::detail
