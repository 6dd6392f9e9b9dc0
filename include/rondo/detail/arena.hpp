/// @file
/// Scratch memory: one aligned block a thread, carved into arrays before a call starts to compute.
#pragma once

#include <rondo/error.hpp>

#include <cstddef>
#include <new>

namespace rondo::inline RONDO_ISA::detail {

inline constexpr std::size_t cache_line = 64;

/// Hands out consecutive arrays of a block; with no block it only counts, so that one function both
/// sizes and carves a scratch layout.
class arena {
public:
    arena() noexcept = default;
    explicit arena(std::byte* block) noexcept : block_(block) {}

    template <class T>
    T* take(index count) noexcept {
        std::byte* const at = block_ == nullptr ? nullptr : block_ + used_;
        auto const bytes = static_cast<std::size_t>(count) * sizeof(T);
        used_ += (bytes + cache_line - 1) / cache_line * cache_line;
        return reinterpret_cast<T*>(at);
    }

    std::size_t used() const noexcept { return used_; }

private:
    std::byte* block_ = nullptr;
    std::size_t used_ = 0;
};

/// Aligned memory for as long as it lives.
class scratch_block {
public:
    explicit scratch_block(std::size_t bytes)
        : data_(static_cast<std::byte*>(::operator new(bytes + 1, alignment))) {}
    ~scratch_block() { ::operator delete(data_, alignment); }
    scratch_block(scratch_block const&) = delete;
    scratch_block& operator=(scratch_block const&) = delete;

    std::byte* get() const noexcept { return data_; }

private:
    static constexpr std::align_val_t alignment{cache_line};
    std::byte* data_;
};

}  // namespace rondo::inline RONDO_ISA::detail
