/// @file
/// Reads ahead: the rows of the next chunk are asked for while this one computes.
#pragma once

#include <rondo/detail/arena.hpp>
#include <rondo/detail/problem.hpp>

#include <algorithm>

namespace rondo::inline RONDO_ISA::detail {

/// Cache lines to ask for, a pair before every few steps of a chunk's products. The processor's own
/// prefetcher runs a few rows ahead only; and lines asked for in bursts wait in the buffers that
/// the products' own loads need, so that their time is not hidden but added.
class lines_ahead {
public:
    lines_ahead() noexcept = default;

    /// Room for `rows` rows of at most `bytes` each, and for `asks` calls of ask().
    lines_ahead(arena& memory, index rows, index bytes, index asks)
        : pairs_(memory.take<std::byte const*>(std::max(asks, rows * ((bytes + pair - 1) / pair)) +
                                               1)) {}

    void clear() noexcept { next_ = end_ = pairs_; }

    /// Adds rows of `channels` elements, one for each token.
    void add(rows_by_token const& rows, index channels, index const* tokens, index count) noexcept {
        if (rows.first.step != element_size(rows.first.kind) || count < 0) return;
        index const bytes = rows.first.step * channels;
        for (index at = 0; at < bytes; at += pair, end_ += count) {
            for (index r = 0; r < count; ++r) {
                end_[r] = rows.first.data + tokens[r] * rows.time + at;
            }
        }
    }

    /// Adds `bytes` in a row.
    void add(std::byte const* first, index bytes) noexcept {
        for (index at = 0; at < bytes; at += pair) *end_++ = first + at;
    }

    /// Makes ready for `asks` calls of ask(), at least as many as any tile makes.
    void pace(index asks) noexcept {
        if (end_ == pairs_) *end_++ = reinterpret_cast<std::byte const*>(pairs_);
        while (end_ < pairs_ + asks) *end_++ = pairs_[0];
    }

    /// The pairs of a tile's `asks` calls, which it keeps in a register.
    std::byte const* const* take(index asks) noexcept {
        std::byte const** const first = std::min(next_, end_ - asks);
        next_ = first + asks;
        return first;
    }

    /// Asks for a pair of lines, to arrive in the second cache.
    [[gnu::always_inline]] static void ask(std::byte const* const*& next) noexcept {
        std::byte const* const at = *next++;
        __builtin_prefetch(at, 0, 2);
        __builtin_prefetch(at + pair / 2, 0, 2);
    }

private:
    static constexpr index pair = 128;
    std::byte const **pairs_ = nullptr, **next_ = nullptr, **end_ = nullptr;
};

}  // namespace rondo::inline RONDO_ISA::detail
