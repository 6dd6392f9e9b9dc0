/// @file
/// The turns of a chunk's tokens, where positions are fused into the operator.
#pragma once

#include <rondo/detail/problem.hpp>
#include <rondo/kernel/angles.hpp>
#include <rondo/simd/tile.hpp>

#include <numeric>
#include <type_traits>

namespace rondo::inline RONDO_ISA::detail {

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
          tables_(memory, layout(call), 1, fine_bits(call.length)) {
        tokens_ = memory.take<index>(rows);
        turns_ = memory.take<A>(rows * depth_);
        gates_ = memory.take<A>(widens_gates() ? rows * call.depth : 0);
        numbers_ = memory.take<index>(rows);
        if (tokens_ != nullptr) begin();  // not while scratch is being measured
    }

    /// Row r holds the turn of tokens[r] from now on, r < count.
    void hold(index const* tokens, index count) noexcept {
        if (std::equal(tokens, tokens + count, tokens_)) return;  // most often: another head's
        for (index r = 0; r < count; ++r) {
            if (tokens_[r] == tokens[r]) continue;
            tokens_[r] = tokens[r];
            compute(tokens[r], turns_ + r * depth_);
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

    bool interleaved() const noexcept { return call_->what.turned_as == turn_kind::interleaved; }

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
        tables_.begin(
            0, [&](index i) { return std::pow(base, -double(i) / double(block)); }, false);
        std::fill_n(tokens_, rows_, index(-1));
        std::iota(numbers_, numbers_ + rows_, index(0));
        for (index r = 0; r < rows_; ++r) stand_still(turns_ + r * depth_);
    }

    void stand_still(A* to) const noexcept {
        for (index c = 0; c < depth_; ++c) {
            to[c] = A((interleaved() ? c % 2 == 0 : c < pairs_) ? 1 : 0);
        }
    }

    void compute(index token, A* to) noexcept {
        token_places const& places = call_->places;
        if (places.alone(token)) return stand_still(to);
        auto const at = places.at(token);
        for (int k = 0; k < places.shape.axes(); ++k) {
            angle_sum<L> const angles = tables_.at(0, k, at[std::size_t(k)]);
            for_packs<L>(angles.count, [&](index c, auto n) {
                auto const by = angles.at(c);
                index const pair = angles.first + c;
                if (interleaved()) {
                    leave_pairs(to + 2 * pair, by.cosine, by.sine, n);
                } else {
                    L::store(to + pair, by.cosine, n);
                    L::store(to + pairs_ + pair, by.sine, n);
                }
            });
        }
    }

    /// Leaves `count` cosines and sines in turn.
    static void leave_pairs(A* to, typename L::pack cosine, typename L::pack sine,
                            index count) noexcept {
        if constexpr (L::width == 1) {
            to[0] = cosine;
            to[1] = sine;
        } else {
            index const first = std::min<index>(2 * count, L::width), rest = 2 * count - first;
            L::store(to, zip_neighbours<L, false>(cosine, sine), first);
            if (rest > 0) L::store(to + first, zip_neighbours<L, true>(cosine, sine), rest);
        }
    }

    problem<A> const* call_ = nullptr;
    index rows_ = 0, depth_ = 0, pairs_ = 0;
    angle_tables<L> tables_;
    index* tokens_ = nullptr;
    A* turns_ = nullptr;
    A* gates_ = nullptr;  // [rows, depth], where they are widened
    index* numbers_ = nullptr;
};

}  // namespace rondo::inline RONDO_ISA::detail
