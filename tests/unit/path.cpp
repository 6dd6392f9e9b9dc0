#include "support/catch.hpp"

#include <rondo/rondo.hpp>

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <vector>

// Every path meets every token once, whatever the extents; snakes step to neighbours, and so does
// the Hilbert curve where the grid is a whole cube of a power of two.

namespace rd = rondo;
using rd::detail::path_kind;

namespace {

constexpr path_kind kinds[] = {path_kind::raster, path_kind::column, path_kind::snake,
                               path_kind::snake_column, path_kind::hilbert};

template <int Rank>
bool is_permutation(path_kind kind, rd::grid<Rank> const& tokens) {
    auto order = rd::detail::order_of(kind, tokens);
    if (rd::index(order.size()) != tokens.size()) return false;
    std::sort(order.begin(), order.end());
    std::vector<rd::index> all(order.size());
    std::iota(all.begin(), all.end(), rd::index(0));
    return order == all;
}

/// The longest step between two places of a path, counted along the axes.
template <int Rank>
rd::index longest_step(path_kind kind, rd::grid<Rank> const& tokens) {
    auto const order = rd::detail::order_of(kind, tokens);
    rd::index longest = 0;
    for (std::size_t i = 1; i < order.size(); ++i) {
        rd::index step = 0;
        for (int axis = 0; axis < Rank; ++axis) {
            auto const at = [&](rd::index token) {
                return token / tokens.stride(axis) % tokens.extent(axis);
            };
            step += std::abs(at(order[i]) - at(order[i - 1]));
        }
        longest = std::max(longest, step);
    }
    return longest;
}

}  // namespace

TEST_CASE("every path is a permutation of every grid") {
    for (path_kind kind : kinds) {
        for (rd::index rows = 0; rows <= 17; ++rows) {
            for (rd::index columns = 0; columns <= 23; ++columns) {
                CAPTURE(int(kind), rows, columns);
                CHECK(is_permutation(kind, rd::grid{rows, columns}));
            }
        }
        for (rd::index depth : {1, 2, 3, 5}) {
            CAPTURE(int(kind), depth);
            CHECK(is_permutation(kind, rd::grid{depth, 4, 7}));
            CHECK(is_permutation(kind, rd::grid{8, depth, 3}));
            CHECK(is_permutation(kind, rd::grid(depth)));
        }
    }
}

TEST_CASE("snakes and whole Hilbert curves step to neighbours") {
    for (rd::index side : {2, 4, 8, 16}) {
        CHECK(longest_step(path_kind::hilbert, rd::grid{side, side}) == 1);
        CHECK(longest_step(path_kind::hilbert, rd::grid{side, side, side}) == 1);
    }
    for (path_kind kind : {path_kind::snake, path_kind::snake_column}) {
        CHECK(longest_step(kind, rd::grid{5, 7}) == 1);
        CHECK(longest_step(kind, rd::grid{3, 4, 5}) == 1);
    }
    CHECK(longest_step(path_kind::raster, rd::grid{5, 7}) == 7);
}
