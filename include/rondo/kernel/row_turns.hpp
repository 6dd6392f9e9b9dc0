/// @file
/// The turns of a chunk's tokens, where positions are fused into the operator.
#pragma once

#include <rondo/detail/problem.hpp>
#include <rondo/kernel/place_turns.hpp>
#include <rondo/kernel/turn.hpp>

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
          places_(memory, layout(call), 1, interleaved(), fine_bits(call.length)) {
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
        for (index r = 0, run = 1; r < count; r += run, run = 1) {
            while (r + run < count && tokens[r + run] == tokens[r] + run) ++run;
            matrix<A> const to{turns_ + r * depth_, depth_};
            for (index i = 0; i < run && call_->places.alone(tokens[r + i]); ++i) {
                places_.stand_still(to.at(i), depth_);
            }
            places_.leave(0, call_->places, tokens[r], run, to);
        }
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
        return {call.depth / 2, call.places.shape.axes()};
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
        auto const theta = [&](index i) { return std::pow(base, -double(i) / double(block)); };
        places_.begin(0, theta);
        std::fill_n(tokens_, rows_, index(-1));
        std::iota(numbers_, numbers_ + rows_, index(0));
        for (index r = 0; r < rows_; ++r) places_.stand_still(turns_ + r * depth_, depth_);
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
    requires(turns_rows<L> && (L::width > 1))
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
