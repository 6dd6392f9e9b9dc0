/// @file
/// The turns of a chunk's tokens, where positions are fused into the operator.
#pragma once

#include <rondo/detail/problem.hpp>
#include <rondo/kernel/angles.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// The turn of a row of channels, pairs being neighbours: cos, sin of every pair; 1, 0 where
/// nothing is turned.
template <class L>
struct row_turn {
    using A = typename L::value;
    A* turns;

    /// y = x turned; they may be the same.
    void turn(A const* x, A* y, index count) const noexcept { apply<false>(x, y, count); }
    void turn_back(A* x, index count) const noexcept { apply<true>(x, x, count); }

private:
    template <bool Back>
    void apply(A const* x, A* y, index count) const noexcept {
        if constexpr (L::width == 1) {
            if (count % 2 == 1) y[count - 1] = x[count - 1];
            for (index c = 0; c + 1 < count; c += 2) {
                A const a = x[c], b = x[c + 1];
                A const along = turns[c], across = Back ? -turns[c + 1] : turns[c + 1];
                y[c] = a * along - b * across;
                y[c + 1] = b * along + a * across;
            }
        } else {
            auto const one = L::broadcast(A(1)), minus = L::broadcast(A(-1));
            auto const signs = Back ? mix_neighbours<L>(one, minus) : mix_neighbours<L>(minus, one);
            for (index c = 0; c < count; c += L::width) {
                auto const values = L::load(x + c), by = L::load(turns + c);
                auto const across = swap_neighbours<L>(values) * (odd_neighbours<L>(by) * signs);
                L::store(y + c, L::fma(values, even_neighbours<L>(by), across));
            }
        }
    }
};

/// The turns that a chunk's rows need. They are the same for queries and keys and for all heads,
/// so that a row is computed again only when another token comes to stand in it.
///
/// Floor: from the second cache, a cache line for 8 pairs in float: cosines and sines stand once,
/// the two shuffles that spread them cost less than the lines they save.
template <class L>
class row_turns {
public:
    using A = typename L::value;

    row_turns() = default;
    row_turns(arena& memory, problem<A> const& call, index rows) noexcept
        : call_(&call),
          rows_(rows),
          depth_(padded<L>(call.depth)),
          tables_(memory, layout(call), 1, fine_bits(call.length)) {
        tokens_ = memory.take<index>(rows);
        turns_ = memory.take<A>(rows * depth_);
        if (tokens_ != nullptr) begin();  // not while scratch is being measured
    }

    /// Row r holds the turn of tokens[r] from now on, r < count.
    void hold(index const* tokens, index count) noexcept {
        for (index r = 0; r < count; ++r) {
            if (tokens_[r] == tokens[r]) continue;
            tokens_[r] = tokens[r];
            compute(tokens[r], turns_ + r * depth_);
        }
    }

    row_turn<L> operator[](index r) const noexcept { return {turns_ + r * depth_}; }

private:
    static angle_layout layout(problem<A> const& call) noexcept {
        return {call.depth / 2, call.places.shape.axes(), 2};
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
        tables_.begin(
            0, [&](index i) { return std::pow(base, -double(i) / double(block)); }, false);
        std::fill_n(tokens_, rows_, index(-1));
        for (index r = 0; r < rows_; ++r) stand_still(turns_ + r * depth_);
    }

    void stand_still(A* to) const noexcept {
        for (index c = 0; c < depth_; ++c) to[c] = A(1 - c % 2);
    }

    void compute(index token, A* to) noexcept {
        token_places const& places = call_->places;
        if (places.alone(token)) return stand_still(to);
        auto const at = places.at(token);
        for (int k = 0; k < places.shape.axes(); ++k) {
            angle_sum<L> const angles = tables_.at(0, k, at[std::size_t(k)]);
            if constexpr (L::width == 1) {
                for (index c = 0; c < angles.count; ++c) {
                    auto const by = angles.at(c);
                    to[angles.first + c] = c % 2 == 0 ? by.cosine : by.sine;
                }
            } else {
                for_packs<L>(angles.count, [&](index c, auto n) {
                    auto const by = angles.at(c);
                    L::store(to + angles.first + c, mix_neighbours<L>(by.cosine, by.sine), n);
                });
            }
        }
    }

    problem<A> const* call_ = nullptr;
    index rows_ = 0, depth_ = 0;
    angle_tables<L> tables_;
    index* tokens_ = nullptr;
    A* turns_ = nullptr;
};

}  // namespace rondo::inline RONDO_ISA::detail
