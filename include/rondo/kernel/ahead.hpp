/// @file
/// Reads ahead: the rows of the next chunk are asked for while this one computes.
#pragma once

#include <rondo/detail/arena.hpp>
#include <rondo/detail/problem.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// Cache lines to ask for, one between any two steps of a product. The processor's own prefetcher
/// runs a few rows ahead only, and asking for all lines at once fills the buffers that the
/// product's own loads need: spread out, long sequences gain a fifth.
class lines_ahead {
public:
    static constexpr index line = 64;

    lines_ahead() noexcept = default;

    /// Room for `rows` rows.
    lines_ahead(arena& memory, index rows) : rows_(memory.take<span_of_bytes>(rows)) {}

    void clear() noexcept { next_ = count_ = 0; }

    void add(row const& r, index channels) noexcept {
        if (r.step > 0) rows_[count_++] = {r.data, r.data + r.step * channels};
    }

    /// Asks for one line, to arrive in the second cache.
    void ask() noexcept {
        if (next_ == count_) return;
        span_of_bytes& now = rows_[next_];
        __builtin_prefetch(now.at, 0, 2);
        now.at += line;
        if (now.at >= now.end) ++next_;
    }

private:
    struct span_of_bytes {
        std::byte const *at, *end;
    };

    span_of_bytes* rows_ = nullptr;
    index count_ = 0, next_ = 0;
};

}  // namespace rondo::inline RONDO_ISA::detail
