// Decoding: what step promises beyond its values, which the laws check.

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"

#include <rondo/rondo.hpp>

#include <atomic>
#include <cmath>
#include <vector>

namespace rd = rondo;

namespace {

using doubles = std::vector<double>;

/// One token of B sequences with Hq query heads, of which H share each key.
struct token {
    static constexpr rd::index B = 2, H = 2;
    rd::index Hq, D, E;
    doubles q, k, v, gate, gates, beta;

    token(rd::index group, rd::index depth, rd::index width, support::random& r)
        : Hq(H * group), D(depth), E(width) {
        auto const draw = [&r](rd::index n, double low, double high) {
            doubles x(static_cast<std::size_t>(n));
            for (double& value : x) value = r.uniform(low, high);
            return x;
        };
        q = draw(B * Hq * D, 0.1, 1);
        k = draw(B * H * D, 0, 1 / std::sqrt(double(D)));
        v = draw(B * H * E, -1, 1);
        gate = draw(B * H, -1, 0);
        gates = draw(B * H * D, -1, 0);
        beta = draw(B * H, 0, 1);
    }

    auto queries() const { return rd::bhd(q, B, Hq, D); }
    auto keys() const { return rd::bhd(k, B, H, D); }
    auto values() const { return rd::bhd(v, B, H, E); }
    auto per_channel() const { return rd::bhd(gates, B, H, D); }
    auto per_head() const { return rd::view<double const, 2>(gate.data(), {B, H}); }
    auto strengths() const { return rd::view<double const, 2>(beta.data(), {B, H}); }

    /// visit(operator, what it takes after q)
    template <class Visit>
    void with_operators(Visit visit) const {
        visit(rd::attention(), keys(), values());
        visit(rd::attention(rd::normalize::sum), keys(), values());
        visit(rd::attention(rd::decay::scalar), keys(), values(), per_head());
        visit(rd::attention(rd::decay::vector, rd::decay::on_write), keys(), values(),
              per_channel());
        visit(rd::attention(rd::decay::additive), keys(), values(), per_channel());
        visit(rd::attention(rd::decay::additive_scalar), keys(), values(), per_head());
        visit(rd::attention(rd::update::delta), keys(), values(), strengths());
        visit(rd::attention(rd::decay::vector, rd::update::delta), keys(), values(), per_channel(),
              strengths());
    }
};

template <class Place>
void expect_no_allocation(Place place, token const& t) {
    doubles memory(static_cast<std::size_t>(token::B * t.Hq * t.E));
    t.with_operators([&](auto op, auto... rest) {
        auto state = op.template state<double>(token::B, token::H, t.D, t.E);
        auto const o = rd::bhd(memory, token::B, t.Hq, t.E);
        long const before = support::allocated.calls;
        for (int i = 0; i < 3; ++i) op.step(place, {t.queries(), rest...}, state, o);
        long const made = support::allocated.calls - before;
        CHECK(made == 0);
    });
}

/// The largest difference between the query heads of one call and each of them in a call alone.
double difference_from_alone(token const& t) {
    double largest = 0;
    t.with_operators([&](auto op, auto... rest) {
        doubles memory(static_cast<std::size_t>(token::B * t.Hq * t.E)), alone = memory;
        auto const o = rd::bhd(memory, token::B, t.Hq, t.E);
        auto state = op.template state<double>(token::B, token::H, t.D, t.E);
        for (int i = 0; i < 3; ++i) op.step(rd::exec::simd, {t.queries(), rest...}, state, o);

        rd::index const group = t.Hq / token::H;
        for (rd::index g = 0; g < group; ++g) {
            auto other = op.template state<double>(token::B, token::H, t.D, t.E);
            // query head g of each group: heads that lie `group` apart
            rd::view<double const, 3> const q(t.q.data() + g * t.D, {token::B, token::H, t.D},
                                              {t.Hq * t.D, group * t.D, 1});
            rd::view<double, 3> const to(alone.data() + g * t.E, {token::B, token::H, t.E},
                                         {t.Hq * t.E, group * t.E, 1});
            for (int i = 0; i < 3; ++i) op.step(rd::exec::simd, {q, rest...}, other, to);
            for (rd::index i = 0; i < state.s().size(); ++i) {
                largest = std::max(largest, std::abs(state.s().data()[i] - other.s().data()[i]));
            }
        }
        for (std::size_t i = 0; i < memory.size(); ++i) {
            largest = std::max(largest, std::abs(memory[i] - alone[i]));
        }
    });
    return largest;
}

}  // namespace

TEST_CASE("step allocates nothing, however wide the heads and many the threads") {
    support::random r("allocation");
    std::atomic<int> threads = 0;
#if defined(_OPENMP)
#pragma omp parallel  // at its first region the runtime takes memory of its own
#endif
    ++threads;
    REQUIRE(threads > 0);
    long const before = support::allocated.calls;
    int* volatile const seen = new int(1);  // volatile: not optimised away
    delete seen;
    REQUIRE(support::allocated.calls > before);  // the count counts
    token const narrow(1, 16, 24, r), grouped(5, 33, 20, r), wide(2, 900, 700, r);
    for (token const* t : {&narrow, &grouped, &wide}) {
        expect_no_allocation(rd::exec::serial, *t);
        expect_no_allocation(rd::exec::simd, *t);
        expect_no_allocation(rd::exec::openmp.threads(2), *t);
    }
}

TEST_CASE(
    "query heads that share a state read it as each would alone, in one sweep or in several") {
    support::random r("groups");
    for (auto [group, depth, width] :
         {std::array<rd::index, 3>{7, 19, 21}, {16, 130, 140}, {3, 1200, 1100}}) {
        INFO("group of " << group << ", " << depth << " x " << width);
        CHECK(difference_from_alone(token(group, depth, width, r)) <= 1e-13);
    }
}

TEST_CASE("a long prompt of many heads in the recurrent form is the one in chunks") {
    support::random r("recurrent groups");
    constexpr rd::index T = 20, H = 2, Hq = 14, D = 9, E = 6;
    auto const draw = [&r](rd::index n, double low, double high) {
        doubles x(static_cast<std::size_t>(n));
        for (double& value : x) value = r.uniform(low, high);
        return x;
    };
    doubles const q = draw(T * Hq * D, -1, 1), k = draw(T * H * D, -0.3, 0.3);
    doubles const v = draw(T * H * E, -1, 1), g = draw(T * H * D, -1, 0), b = draw(T * H, 0, 1);
    auto const difference = [&](auto one, auto other) {
        doubles x(static_cast<std::size_t>(T * Hq * E)), y = x;
        auto const queries = rd::bthd(q, 1, T, Hq, D), keys = rd::bthd(k, 1, T, H, D);
        auto const values = rd::bthd(v, 1, T, H, E), gates = rd::bthd(g, 1, T, H, D);
        auto const beta = rd::bth(b, 1, T, H);
        one.forward(rd::exec::simd, {queries, keys, values, gates, beta}, rd::bthd(x, 1, T, Hq, E));
        other.forward(rd::exec::serial, {queries, keys, values, gates, beta},
                      rd::bthd(y, 1, T, Hq, E));
        double largest = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
            largest = std::max(largest, std::abs(x[i] - y[i]));
        }
        return largest;
    };
    using rd::decay::vector, rd::update::delta;
    CHECK(difference(rd::attention(vector, delta, rd::recurrent),
                     rd::attention(vector, delta, rd::chunkwise<16>)) <= 1e-13);
}
