/// @file
/// Reads ahead: the rows of the next chunk are asked for while this one computes.
#pragma once

#include <rondo/detail/arena.hpp>
#include <rondo/detail/problem.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// Cache lines to ask for, four between any four steps of a product. The processor's own prefetcher
/// runs a few rows ahead only, and asking for all lines at once fills the buffers that the
/// product's own loads need: spread out, long sequences gain a fifth.
class lines_ahead {
public:
    lines_ahead() noexcept = default;

    /// Room for `rows` rows of at most `bytes` each.
    lines_ahead(arena& memory, index rows, index bytes)
        : groups_(memory.take<std::byte const*>(rows * ((bytes + group - 1) / group))) {}

    void clear() noexcept { next_ = end_ = groups_; }

    /// Adds rows of `channels` elements, one for each token.
    void add(rows_by_token const& rows, index channels, index const* tokens, index count) noexcept {
        if (rows.first.step != element_size(rows.first.kind)) return;
        index const bytes = rows.first.step * channels;
        for (index r = 0; r < count; ++r) {
            std::byte const* const row = rows.first.data + tokens[r] * rows.time;
            for (index at = 0; at < bytes; at += group) *end_++ = row + at;
        }
    }

    /// Asks for four lines, to arrive in the second cache.
    [[gnu::always_inline]] void ask() noexcept {
        if (next_ == end_) return;
        std::byte const* const at = *next_++;
        RONDO_UNROLL
        for (index l = 0; l < group; l += line) __builtin_prefetch(at + l, 0, 2);
    }

private:
    static constexpr index line = 64, group = 4 * line;
    std::byte const **groups_ = nullptr, **next_ = nullptr, **end_ = nullptr;
};

}  // namespace rondo::inline RONDO_ISA::detail
