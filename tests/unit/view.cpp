#include "support/catch.hpp"

#include <rondo/make_view.hpp>
#include <rondo/view.hpp>

#include <Eigen/Core>

#include <numeric>
#include <span>
#include <vector>

namespace rd = rondo;
using support::contains;

namespace {

/// 0, 1, 2, ...: an element is its own address.
std::vector<float> counted(std::size_t n) {
    std::vector<float> values(n);
    std::iota(values.begin(), values.end(), 0.F);
    return values;
}

constexpr rd::index B = 2, H = 3, T = 4, D = 5;

}  // namespace

TEST_CASE("makers name the order in memory; the axes are batch, head, time, channel") {
    auto const data = counted(B * H * T * D);
    auto const bthd = rd::bthd(data.data(), B, T, H, D);
    auto const bhtd = rd::bhtd(data.data(), B, H, T, D);
    CHECK(bthd.extents() == std::array<rd::index, 4>{B, H, T, D});
    CHECK(bhtd.extents() == std::array<rd::index, 4>{B, H, T, D});
    CHECK(bthd.strides() == std::array<rd::index, 4>{T * H * D, D, H * D, 1});
    CHECK(bhtd.strides() == std::array<rd::index, 4>{H * T * D, T * D, D, 1});
    CHECK(bthd(1, 2, 3, 4) == ((1 * T + 3) * H + 2) * D + 4);
    CHECK(bhtd(1, 2, 3, 4) == ((1 * H + 2) * T + 3) * D + 4);

    CHECK(rd::bth(data.data(), B, T, H)(1, 2, 3) == (1 * T + 3) * H + 2);
    CHECK(rd::bht(data.data(), B, H, T)(1, 2, 3) == (1 * H + 2) * T + 3);
    CHECK(rd::bhd(data.data(), B, H, D)(1, 2, 3) == (1 * H + 2) * D + 3);
    CHECK(rd::bh(data.data(), B, H)(1, 2) == 1 * H + 2);
}

TEST_CASE("a view from extents alone is packed rows") {
    auto const data = counted(B * H * T);
    rd::view<float const, 3> const v(data.data(), {B, H, T});
    CHECK(v.strides() == std::array<rd::index, 3>{H * T, T, 1});
    CHECK(v.size() == B * H * T);
    CHECK_FALSE(v.empty());
    CHECK(rd::view<float, 2>().empty());
}

TEST_CASE("vectors, spans and pointers make the same view") {
    auto data = counted(B * H * T * D);
    auto const& read_only = data;
    auto const from_pointer = rd::bthd(data.data(), B, T, H, D);
    auto const from_vector = rd::bthd(data, B, T, H, D);
    auto const from_const = rd::bthd(read_only, B, T, H, D);
    auto const from_span = rd::bthd(std::span<float>(data), B, T, H, D);
    auto const from_const_span = rd::bthd(std::span<float const>(data), B, T, H, D);
    CHECK(from_vector.data() == from_pointer.data());
    CHECK(from_const.data() == from_pointer.data());
    CHECK(from_span.data() == from_pointer.data());
    CHECK(from_const_span.strides() == from_pointer.strides());
}

TEST_CASE("storage that is too small is refused with both numbers") {
    auto const data = counted(B * H * T * D - 1);
    CHECK_THROWS_WITH(rd::bthd(data, B, T, H, D),
                      contains("bthd") && contains("119") && contains("120"));
}

TEST_CASE("a row-major matrix [batch * time, head * channel] is bthd") {
    using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    matrix m(B * T, H * D);
    std::iota(m.data(), m.data() + m.size(), 0.F);
    auto const v = rd::bthd(m, B, T, H, D);
    CHECK(v.data() == m.data());
    for (rd::index t = 0; t < T; ++t) CHECK(v(1, 2, t, 3) == m(1 * T + t, 2 * D + 3));
}

TEST_CASE("column-major matrices and blocks of matrices are viewed in place") {
    Eigen::MatrixXf m(B * T + 2, H * D + 3);
    std::iota(m.data(), m.data() + m.size(), 0.F);
    auto block = m.block(1, 2, B * T, H * D);
    auto const v = rd::bthd(block, B, T, H, D);
    for (rd::index t = 0; t < T; ++t) CHECK(v(1, 2, t, 3) == block(1 * T + t, 2 * D + 3));

    Eigen::MatrixXf heads(B * H * T, D);
    std::iota(heads.data(), heads.data() + heads.size(), 0.F);
    CHECK(rd::bhtd(heads, B, H, T, D)(1, 2, 3, 4) == heads((1 * H + 2) * T + 3, 4));
}

TEST_CASE("Eigen maps are viewed in place") {
    auto data = counted(B * T * H * D);
    using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    Eigen::Map<matrix> map(data.data(), B * T, H * D);
    auto const v = rd::bthd(map, B, T, H, D);
    CHECK(v.data() == data.data());
    CHECK(v.strides() == rd::bthd(data, B, T, H, D).strides());
}

TEST_CASE("a matrix of the wrong shape is refused with both shapes") {
    Eigen::MatrixXf const m(B * T, H * D + 1);
    CHECK_THROWS_WITH(rd::bthd(m, B, T, H, D), contains("8 x 16") && contains("8 x 15"));
}

TEST_CASE("slice and reversed move the origin and keep the memory") {
    auto const data = counted(B * H * T * D);
    auto const v = rd::bthd(data, B, T, H, D);
    auto const middle = v.slice(2, 1, 3);
    CHECK(middle.extent(2) == 2);
    CHECK(middle(1, 2, 0, 4) == v(1, 2, 1, 4));
    auto const back = v.reversed(2);
    CHECK(back.stride(2) == -v.stride(2));
    for (rd::index t = 0; t < T; ++t) CHECK(back(1, 2, t, 4) == v(1, 2, T - 1 - t, 4));
    CHECK(v.reversed(2).reversed(2).data() == v.data());
    CHECK(v.reversed(2).slice(2, 0, 1)(0, 0, 0, 0) == v(0, 0, T - 1, 0));
    CHECK(v.slice(2, 4, 4).extent(2) == 0);
    CHECK(v.slice(2, 2, 2).reversed(2).extent(2) == 0);
}

TEST_CASE("a slice outside the axis is refused with both numbers") {
    auto const data = counted(B * H * T * D);
    auto const v = rd::bthd(data, B, T, H, D);
    CHECK_THROWS_AS(v.slice(2, 0, 5), rd::shape_error);
    CHECK_THROWS_WITH(v.slice(2, 0, 5), contains("[0, 5)") && contains("extent 4"));
    CHECK_THROWS_AS(v.slice(2, -1, 2), rd::shape_error);
    CHECK_THROWS_AS(v.slice(2, 3, 2), rd::shape_error);
    CHECK_THROWS_WITH(v.slice(4, 0, 0), contains("axis 4") && contains("rank 4"));
    CHECK_THROWS_AS(v.reversed(-1), rd::shape_error);
}

TEST_CASE("a stride of zero repeats, a negative one goes backwards") {
    auto const data = counted(6);
    rd::view<float const, 2> const same_rows(data.data(), {4, 6}, {0, 1});
    CHECK(same_rows(3, 5) == 5);
    rd::view<float const, 1> const backwards(data.data() + 5, {6}, {-1});
    CHECK(backwards(0) == 5);
    CHECK(backwards(5) == 0);
}

TEST_CASE("over(grid) splits the time axis in raster order") {
    auto const data = counted(B * H * 12 * D);
    auto const v = rd::bthd(data, B, 12, H, D);
    auto const image = v.over(rd::grid{3, 4});
    CHECK(image.extents() == std::array<rd::index, 5>{B, H, 3, 4, D});
    CHECK(image(1, 2, 2, 1, 3) == v(1, 2, 2 * 4 + 1, 3));
    auto const clip = v.over(rd::grid{2, 3, 2});
    CHECK(clip(1, 0, 1, 2, 1, 4) == v(1, 0, 1 * 6 + 2 * 2 + 1, 4));
    CHECK_THROWS_WITH(v.over(rd::grid{3, 5}), contains("15") && contains("12"));
}
