// How much memory a call takes for itself.

#include "support/allocations.hpp"
#include "support/catch.hpp"

#include <rondo/rondo.hpp>

#include <cstdlib>
#include <new>
#include <vector>

namespace support {

allocations allocated;

}  // namespace support

namespace {

void* count(std::size_t bytes, std::size_t alignment) noexcept {
    ++support::allocated.calls;
    support::allocated.bytes += static_cast<long>(bytes);
    return std::aligned_alloc(alignment, (bytes / alignment + 1) * alignment);
}

void* allocate(std::size_t bytes, std::size_t alignment) {
    if (void* const memory = count(bytes, alignment)) return memory;
    throw std::bad_alloc{};
}

}  // namespace

// Counts what the whole program allocates.
void* operator new(std::size_t bytes) { return allocate(bytes, alignof(std::max_align_t)); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
    return allocate(bytes, std::size_t(alignment));
}
void* operator new(std::size_t bytes, std::nothrow_t const&) noexcept {
    return count(bytes, alignof(std::max_align_t));
}
void* operator new(std::size_t bytes, std::align_val_t alignment, std::nothrow_t const&) noexcept {
    return count(bytes, std::size_t(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace {

namespace rd = rondo;

constexpr rd::index H = 2, D = 4;

/// The bytes that LION's recurrence in both directions takes for itself.
template <class... Policies>
long scratch_of(rd::index T, Policies...) {
    static constexpr auto op = rd::attention(Policies{}..., rd::bidirectional, rd::normalize::sum,
                                             rd::feature::elu_plus_one, rd::recurrent);
    constexpr int gate_rank = op.composition.gate_rank();
    std::vector<double> const x(std::size_t(T * H * D), 0.5), g(std::size_t(T * H), -0.1);
    std::vector<double> o(x.size());
    auto const rows = rd::bthd(x, 1, T, H, D);
    auto const to = rd::bthd(o, 1, T, H, D);
    long const before = support::allocated.bytes;
    if constexpr (!op.composition.gated()) {
        op.forward(rd::exec::simd, {rows, rows, rows}, to);
    } else if constexpr (gate_rank == 1) {
        op.forward(rd::exec::simd, {rows, rows, rows, rd::view<double const, 1>(g.data(), {H})},
                   to);
    } else {
        op.forward(rd::exec::simd, {rows, rows, rows, rd::bth(g, 1, T, H)}, to);
    }
    return support::allocated.bytes - before;
}

template <class... Policies>
void expect_one_sum_a_token(Policies... policies) {
    long const cache_line = 64;
    for (rd::index T : {256, 1024, 4096}) {
        long const some = scratch_of(T, policies...), more = scratch_of(2 * T, policies...);
        CAPTURE(T, some, more);
        REQUIRE(some > 0);
        CHECK(more - some <= long(T * H) * long(sizeof(double)) + cache_line);
    }
}

}  // namespace

TEST_CASE("lion: the recurrence keeps one sum a token and head, and nothing for pairs of tokens") {
    expect_one_sum_a_token(rd::decay::none);
    expect_one_sum_a_token(rd::decay::constant, rd::decay::on_write);
    expect_one_sum_a_token(rd::decay::scalar, rd::decay::on_write);
}
