/// @file
/// Reads ahead: the rows of the next chunk are asked for while this one computes.
#pragma once

#include <rondo/detail/arena.hpp>
#include <rondo/detail/problem.hpp>

#include <algorithm>

namespace rondo::inline RONDO_ISA::detail {

/// Heads whose rows are asked for together, and the share of their tokens that falls to one of the
/// heads at work meanwhile. Rows of several heads are neighbours in memory, so that the processor's
/// own prefetcher joins in. Head by head it would meet a page for every token of a column, more
/// than it follows: with 8 heads of 64 channels the column path of 128 x 128 tokens then takes 1.3
/// to 1.6 times the raster path and not 1.1. A raster path gains nothing.
struct heads_ahead {
    index first = 0, count = 1;
    index part = 0, parts = 1;

    /// What head h asks for, where the heads [begin, end) are walked `together` at a time.
    static heads_ahead of(index h, index begin, index end, index together) noexcept {
        if (together == 1) return {h + 1 < end ? h + 1 : begin};  // most often: no division
        index const mine = begin + (h - begin) / together * together, behind = mine + together;
        index const next = behind < end ? behind : begin;
        return {next, std::min(together, end - next), h - mine, std::min(together, end - mine)};
    }

    /// The token that this share begins with; the next one's is where it ends.
    index share(index tokens, index after = 0) const noexcept {
        return parts == 1 ? tokens * after : tokens * (part + after) / parts;
    }
};

/// Cache lines to ask for, a pair before every few steps of a chunk's products. The processor's own
/// prefetcher runs a few rows ahead only; and lines asked for in bursts wait in the buffers that
/// the products' own loads need, so that their time is not hidden but added.
class lines_ahead {
public:
    lines_ahead() noexcept = default;

    /// Room for `rows` rows of at most `bytes` each; rows beyond it are not asked for. A tile calls
    /// ask() at most `asks` times.
    lines_ahead(arena& memory, index rows, index bytes, index asks)
        : room_(rows * ((bytes + pair - 1) / pair)),
          asks_(asks),
          pairs_(memory.take<std::byte const*>(room_ + asks)) {}

    void clear() noexcept { next_ = end_ = pairs_; }

    /// Adds rows of `channels` elements, one for each token and head; heads lie `step` bytes apart.
    /// Not inlined: every tensor of a call comes here, and a chunk only once.
    [[gnu::noinline]] void add(rows_by_token const& rows, index channels, index const* tokens,
                               index count, index step = 0, index heads = 1) noexcept {
        if (rows.first.step != element_size(rows.first.kind) || count < 0) return;
        index const row = rows.first.step * channels;
        bool const neighbours = step == row;
        index const bytes = neighbours ? row * heads : row, parts = neighbours ? 1 : heads;
        if (end_ - pairs_ + parts * count * ((bytes + pair - 1) / pair) > room_) return;
        for (index part = 0; part < parts; ++part) {
            for (index at = 0; at < bytes; at += pair, end_ += count) {
                for (index r = 0; r < count; ++r) {
                    end_[r] = rows.first.data + tokens[r] * rows.time + part * step + at;
                }
            }
        }
    }

    /// Adds `bytes` in a row.
    void add(std::byte const* first, index bytes) noexcept {
        for (index at = 0; at < bytes; at += pair) *end_++ = first + at;
    }

    /// Ends the list: what tiles ask for when there is nothing left.
    void close() noexcept {
        auto const any = end_ == pairs_ ? reinterpret_cast<std::byte const*>(pairs_) : pairs_[0];
        end_ = std::fill_n(end_, asks_, any);
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
    index room_ = 0, asks_ = 0;
    std::byte const **pairs_ = nullptr, **next_ = nullptr, **end_ = nullptr;
};

}  // namespace rondo::inline RONDO_ISA::detail
