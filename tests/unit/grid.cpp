#include "support/catch.hpp"

#include <rondo/grid.hpp>

namespace rd = rondo;
using support::contains;

TEST_CASE("a grid is in raster order, the first axis slowest") {
    constexpr rd::grid clip{2, 3, 4};
    STATIC_REQUIRE(decltype(clip)::rank() == 3);
    CHECK(clip.size() == 24);
    CHECK(clip.extent(0) == 2);
    CHECK(clip.stride(0) == 12);
    CHECK(clip.stride(1) == 4);
    CHECK(clip.stride(2) == 1);
    CHECK(clip == rd::grid{2, 3, 4});
    CHECK(clip != rd::grid{3, 2, 4});
}

TEST_CASE("a grid may be a line, and may be empty") {
    CHECK(rd::grid{7}.size() == 7);
    CHECK(rd::grid{7, 0, 3}.size() == 0);
    CHECK_THROWS_WITH((rd::grid{3, -1}), contains("-1"));
}
