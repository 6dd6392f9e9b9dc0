#include "support/catch.hpp"

#include <rondo/rondo.hpp>

#include <concepts>
#include <span>
#include <type_traits>
#include <vector>

// What a compiler can say about the interface. There is nothing to run but a sign that it compiled.

namespace rd = rondo;

namespace {

// A policy is a type x_t and a constant x.
static_assert(std::is_same_v<decltype(rd::decay::none), rd::decay::none_t const>);
static_assert(std::is_same_v<decltype(rd::decay::constant), rd::decay::constant_t const>);
static_assert(std::is_same_v<decltype(rd::decay::scalar), rd::decay::scalar_t const>);
static_assert(std::is_same_v<decltype(rd::decay::vector), rd::decay::vector_t const>);
static_assert(std::is_same_v<decltype(rd::decay::additive), rd::decay::additive_t const>);
static_assert(
    std::is_same_v<decltype(rd::decay::additive_scalar), rd::decay::additive_scalar_t const>);
static_assert(std::is_same_v<decltype(rd::decay::on_read), rd::decay::on_read_t const>);
static_assert(std::is_same_v<decltype(rd::decay::on_write), rd::decay::on_write_t const>);
static_assert(std::is_same_v<decltype(rd::causal), rd::causal_t const>);
static_assert(std::is_same_v<decltype(rd::anticausal), rd::anticausal_t const>);
static_assert(std::is_same_v<decltype(rd::bidirectional), rd::bidirectional_t const>);
static_assert(std::is_same_v<decltype(rd::recurrent), rd::recurrent_t const>);
static_assert(std::is_same_v<decltype(rd::quadratic), rd::quadratic_t const>);
static_assert(std::is_same_v<decltype(rd::chunkwise<64>), rd::chunkwise_t<64> const>);
static_assert(std::is_same_v<decltype(rd::update::outer), rd::update::outer_t const>);
static_assert(std::is_same_v<decltype(rd::update::delta), rd::update::delta_t const>);
static_assert(std::is_same_v<decltype(rd::normalize::none), rd::normalize::none_t const>);
static_assert(std::is_same_v<decltype(rd::normalize::sum), rd::normalize::sum_t const>);
static_assert(std::is_same_v<decltype(rd::feature::exp), rd::feature::exp_t const>);
static_assert(std::is_same_v<decltype(rd::exec::serial), rd::exec::serial_t const>);
static_assert(std::is_same_v<decltype(rd::exec::simd), rd::exec::simd_t const>);
static_assert(std::is_same_v<decltype(rd::exec::openmp), rd::exec::openmp_t const>);

// The order of policies does not matter, nor does saying a default aloud: it is the same operator.
template <class One, class Other>
constexpr bool same(One, Other) {
    return std::is_same_v<One, Other>;
}
static_assert(same(rd::attention(rd::decay::vector, rd::anticausal, rd::chunkwise<64>),
                   rd::attention(rd::chunkwise<64>, rd::decay::vector, rd::anticausal)));
static_assert(same(rd::attention(), rd::attention(rd::decay::none, rd::causal)));
static_assert(same(rd::attention(rd::decay::scalar),
                   rd::attention(rd::normalize::none, rd::update::outer, rd::feature::identity,
                                 rd::decay::on_read, rd::decay::scalar)));
static_assert(!same(rd::attention(rd::chunkwise<64>), rd::attention(rd::chunkwise<16>)));
static_assert(!same(rd::attention(rd::decay::scalar), rd::attention(rd::decay::vector)));

// An operator is an empty constant.
constexpr auto gla = rd::attention(rd::decay::vector, rd::causal);
static_assert(std::is_empty_v<decltype(gla)>);
static_assert(std::is_trivially_copyable_v<decltype(gla)>);

// Views are plain values that say whether they may be written.
static_assert(std::is_trivially_copyable_v<rd::view<float, 4>>);
static_assert(std::convertible_to<rd::view<float, 4>, rd::view<float const, 4>>);
static_assert(!std::convertible_to<rd::view<float const, 4>, rd::view<float, 4>>);
static_assert(!std::convertible_to<rd::view<float, 4>, rd::view<float, 3>>);
static_assert(!std::convertible_to<rd::view<float, 4>, rd::view<double const, 4>>);

template <class Source>
using made = decltype(rd::bthd(std::declval<Source>(), 1, 1, 1, 1));
static_assert(std::is_same_v<made<float*>, rd::view<float, 4>>);
static_assert(std::is_same_v<made<float const*>, rd::view<float const, 4>>);
static_assert(std::is_same_v<made<std::vector<double>&>, rd::view<double, 4>>);
static_assert(std::is_same_v<made<std::vector<double> const&>, rd::view<double const, 4>>);
static_assert(std::is_same_v<made<std::span<float>>, rd::view<float, 4>>);
static_assert(std::is_same_v<made<std::span<float const>>, rd::view<float const, 4>>);
static_assert(
    std::is_same_v<decltype(rd::bhtd(std::declval<float*>(), 1, 1, 1, 1)), rd::view<float, 4>>);
static_assert(
    std::is_same_v<decltype(rd::bth(std::declval<float*>(), 1, 1, 1)), rd::view<float, 3>>);
static_assert(
    std::is_same_v<decltype(rd::bht(std::declval<float*>(), 1, 1, 1)), rd::view<float, 3>>);
static_assert(
    std::is_same_v<decltype(rd::bhd(std::declval<float*>(), 1, 1, 1)), rd::view<float, 3>>);

// Sums are kept in double for double and in float for all else.
static_assert(std::is_same_v<rd::accumulator_t<float>, float>);
static_assert(std::is_same_v<rd::accumulator_t<double const>, double>);
static_assert(std::is_same_v<rd::accumulator_t<Eigen::bfloat16>, float>);
static_assert(std::is_same_v<rd::accumulator_t<Eigen::half>, float>);

// 64 bits everywhere; a grid knows its rank.
static_assert(sizeof(rd::index) == 8 && std::signed_integral<rd::index>);
static_assert(rd::grid{3, 4, 5}.size() == 60 && rd::grid{3, 4, 5}.rank() == 3);

// Views can be made and cut at compile time.
constexpr float numbers[] = {0, 1, 2, 3, 4, 5};
constexpr rd::view<float const, 2> table(numbers, {2, 3});
static_assert(table(1, 2) == 5);
static_assert(table.reversed(0)(0, 0) == 3);
static_assert(table.slice(1, 1, 3)(1, 0) == 4);

// Errors are exceptions that a caller may know only as std::invalid_argument.
static_assert(std::derived_from<rd::shape_error, std::invalid_argument>);

}  // namespace

TEST_CASE("the interface is what its static assertions say") { SUCCEED(); }
