// How much memory a call takes for itself.

#include "support/allocations.hpp"
#include "support/catch.hpp"

#include <rondo/rondo.hpp>

#include <cstdlib>
#include <new>
#include <type_traits>
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

/// What the two verbs take for themselves, in chunks of `chunk` tokens.
struct bytes_taken {
    long forward, backward;
};

constexpr rd::index chunk = 64;

template <rd::detail::composition What>
bytes_taken bytes_of(rd::attention_t<What> const& op, rd::index T, rd::index channels,
                     rd::index every) {
    using rd::detail::decay_kind;
    constexpr bool single = What.gate_rank() == 1;
    auto const rows = std::size_t(T * H * channels), tokens = std::size_t(T * H);
    std::vector<float> const x(rows, 0.1f), gates(rows, -0.1f), beta(tokens, 0.5f);
    std::vector<float> o(rows), d_q(rows), d_k(rows), d_v(rows), d_gates(rows), d_beta(tokens);
    auto const all = [&](auto& from) { return rd::bhtd(from, 1, H, T, channels); };
    auto const each = [&](auto& from) { return rd::bth(from.data(), 1, T, H); };
    auto const gate = [&](auto& from) {
        if constexpr (What.per_channel()) {
            return all(from);
        } else if constexpr (single) {
            using value = std::remove_pointer_t<decltype(from.data())>;
            return rd::view<value, 1>(from.data(), {H});
        } else {
            return each(from);
        }
    };
    auto const in = [&] {
        using inputs = rd::inputs<What, float>;
        if constexpr (What.delta) return inputs{all(x), all(x), all(x), gate(gates), each(beta)};
        if constexpr (!What.gated()) return inputs{all(x), all(x), all(x)};
        if constexpr (What.gated() && !What.delta) {
            return inputs{all(x), all(x), all(x), gate(gates)};
        }
    }();
    rd::gradients<What, float> to;
    to.q = all(d_q), to.k = all(d_k), to.v = all(d_v);
    if constexpr (What.gated()) to.gate = gate(d_gates);
    if constexpr (What.delta) to.beta = each(d_beta);
    long const start = support::allocated.bytes;
    op.forward(rd::exec::simd, in, all(o));
    long const middle = support::allocated.bytes;
    op.backward(rd::exec::simd, in, all(o), to, {.every = every});
    return {middle - start, support::allocated.bytes - middle};
}

/// S, and of an additive decay its maximum and sum, for every `every` chunks and, where that is
/// not each, for the chunks between two of them.
template <class Operator>
long bytes_of_states(rd::index T, rd::index channels, rd::index every) {
    constexpr auto what = Operator::composition;
    if (what.one_window()) return 0;
    rd::index const chunks = (T + chunk - 1) / chunk, stored = (chunks + every - 1) / every;
    rd::index const of_gates = what.additive() ? 2 * channels : 0;
    rd::index const state = (channels * channels + of_gates) * rd::index(sizeof(float));
    return long((stored + (every > 1 ? every : 0)) * state);
}

template <class... Policies>
void expect_a_state_a_chunk(Policies...) {
    static constexpr auto op = rd::attention(Policies{}..., rd::chunkwise<chunk>);
    using operator_type = std::remove_const_t<decltype(op)>;
    double const beside_states = 1.2;  // times what forward takes
    for (rd::index channels : {64, 128}) {
        for (rd::index every : {1, 4}) {
            long beside = 0;
            for (rd::index T : {512, 4096}) {
                auto const taken = bytes_of(op, T, channels, every);
                long const states = bytes_of_states<operator_type>(T, channels, every);
                CAPTURE(channels, every, T, taken.forward, taken.backward, states);
                REQUIRE(taken.forward > 0);
                CHECK(double(taken.backward - states) <= beside_states * double(taken.forward));
                // Nothing but states grows with the sequence.
                if (beside != 0) CHECK(taken.backward - states == beside);
                beside = taken.backward - states;
            }
        }
    }
}

}  // namespace

TEST_CASE("lion: the recurrence keeps one sum a token and head, and nothing for pairs of tokens") {
    expect_one_sum_a_token(rd::decay::none);
    expect_one_sum_a_token(rd::decay::constant, rd::decay::on_write);
    expect_one_sum_a_token(rd::decay::scalar, rd::decay::on_write);
}

TEST_CASE("backward keeps a state a chunk, and little beside what forward takes") {
    expect_a_state_a_chunk(rd::decay::none);
    expect_a_state_a_chunk(rd::decay::constant);
    expect_a_state_a_chunk(rd::decay::scalar);
    expect_a_state_a_chunk(rd::decay::vector);
    expect_a_state_a_chunk(rd::decay::additive);
    expect_a_state_a_chunk(rd::decay::additive, rd::bidirectional);
    expect_a_state_a_chunk(rd::decay::scalar, rd::update::delta);
}
