/// @file
/// Memory that begins at a cache line, as frameworks allocate tensors.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace bench {

/// std::allocator aligns to 16 bytes only: packs of 64 then straddle two lines, which costs an
/// operator at the limit of memory a tenth of its speed.
template <class T>
struct cache_lines {
    using value_type = T;
    static constexpr std::align_val_t line{64};

    cache_lines() = default;
    template <class Other>
    cache_lines(cache_lines<Other> const&) noexcept {}

    T* allocate(std::size_t count) {
        return static_cast<T*>(::operator new(count * sizeof(T), line));
    }
    void deallocate(T* memory, std::size_t) noexcept { ::operator delete(memory, line); }
    bool operator==(cache_lines const&) const = default;
};

template <class T>
using numbers = std::vector<T, cache_lines<T>>;

}  // namespace bench
