// What is asked for ahead: every row once, and nothing beyond its room.
#include "support/catch.hpp"

#include <rondo/kernel/ahead.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

namespace {

using rondo::index;
using rondo::detail::heads_ahead;

TEST_CASE("heads that walk side by side ask for each token of each head once") {
    for (index together : {1, 2, 3, 5, 8}) {
        index const begin = 4, end = 4 + 8, tokens = 16;
        std::vector<index> asked(static_cast<std::size_t>((end - begin) * tokens));
        for (index h = begin; h < end; ++h) {
            auto const ask = heads_ahead::of(h, begin, end, together);
            for (index other = ask.first; other < ask.first + ask.count; ++other) {
                for (index t = ask.share(tokens); t < ask.share(tokens, 1); ++t) {
                    ++asked[static_cast<std::size_t>((other - begin) * tokens + t)];
                }
            }
        }
        CHECK(asked == std::vector<index>(asked.size(), 1));
    }
}

TEST_CASE("rows that there is no room for are not asked for") {
    std::vector<std::byte> block(4096 + 64, std::byte{7});
    auto* const aligned = block.data() + (64 - reinterpret_cast<std::uintptr_t>(block.data()) % 64);
    rondo::detail::arena memory(aligned);
    rondo::detail::lines_ahead ahead(memory, 4, 256, 1);  // 4 rows of 2 pairs of lines, and one
    std::vector<float> const rows(64 * 20);
    auto* const data = const_cast<std::byte*>(reinterpret_cast<std::byte const*>(rows.data()));
    rondo::detail::rows_by_token const from{{data, sizeof(float), rondo::element::float32},
                                            64 * sizeof(float)};
    std::vector<index> tokens(20);
    std::iota(tokens.begin(), tokens.end(), 0);
    ahead.clear();
    ahead.add(from, 64, tokens.data(), 20);
    ahead.add(from, 32, tokens.data(), 1, 32 * sizeof(float), 10);
    ahead.add(from, 64, tokens.data(), 4);
    ahead.add(from, 64, tokens.data(), 1);
    ahead.close();
    auto const* const pairs = ahead.take(8);
    CHECK(pairs[0] == data);
    CHECK(pairs[7] == data + 3 * 256 + 128);
    CHECK(ahead.take(1)[0] == data);  // when there is nothing left
    CHECK(ahead.take(1)[0] == data);
    ahead.clear();
    ahead.close();
    CHECK(ahead.take(1)[0] != nullptr);
    auto const used = static_cast<std::ptrdiff_t>(memory.used());
    CHECK(
        std::all_of(aligned + used, aligned + 4096, [](std::byte b) { return b == std::byte{7}; }));
}

}  // namespace
