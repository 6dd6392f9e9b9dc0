// The 16-bit types: conversions beside Eigen's, and operators beside the definition.

#include "oracle/attention.hpp"
#include "support/catch.hpp"
#include "support/problems.hpp"
#include "support/words.hpp"

#include <Eigen/Core>

#include <rondo/rondo.hpp>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace rd = rondo;

namespace {

using lanes = rd::detail::simd_lanes<float>;
using rd::element;

// Eigen's own conversions of one value.
template <class T>
std::uint16_t bits_of(T x) {
    return Eigen::numext::bit_cast<std::uint16_t>(x);
}
template <class T>
T from_bits(std::uint16_t bits) {
    return Eigen::numext::bit_cast<T>(bits);
}

bool same(float a, float b) {
    return std::isnan(a) ? std::isnan(b) : std::bit_cast<int>(a) == std::bit_cast<int>(b);
}

template <class T>
bool same_half(std::uint16_t got, float value) {
    T const want(value);
    if (std::isnan(value)) return std::isnan(static_cast<float>(from_bits<T>(got)));
    return got == bits_of(want);
}

/// Floats of every size, many of them at and beside the middle between two 16-bit values.
std::vector<float> awkward_floats() {
    support::random r("awkward floats");
    std::vector<float> x;
    for (std::uint32_t top = 0; top < 0x10000; ++top) {
        for (std::uint32_t low : {0x0000U, 0x0001U, 0x0FFFU, 0x1000U, 0x1001U, 0x2FFFU, 0x3000U,
                                  0x3001U, 0x7FFFU, 0x8000U, 0x8001U, 0xFFFFU}) {
            x.push_back(std::bit_cast<float>(top << 16 | low));
        }
    }
    for (int n = 0; n < 300'000; ++n) {
        x.push_back(std::bit_cast<float>(std::uint32_t(r.integer(0, 0xFFFFFFFF))));
        x.push_back(static_cast<float>(r.uniform(-1e-4, 1e-4)));
        x.push_back(static_cast<float>(r.uniform(-70000, 70000)));
    }
    return x;
}

template <class T>
constexpr element kind_of = rd::detail::element_traits<T>::kind;

/// How many of the 65536 patterns, read as a row of `count`, differ from Eigen's.
template <class T>
int wrong_loads(rd::index count) {
    std::vector<T> from;
    for (int bits = 0; bits < 0x10000; ++bits) from.push_back(from_bits<T>(std::uint16_t(bits)));
    int wrong = 0;
    std::vector<float> to(static_cast<std::size_t>(count));
    for (rd::index at = 0; at + count <= 0x10000; at += count) {
        rd::detail::row const row{reinterpret_cast<std::byte*>(from.data() + at), 2, kind_of<T>};
        rd::detail::load_row<lanes>(to.data(), row, count, count);
        for (rd::index i = 0; i < count; ++i) {
            if (!same(to[std::size_t(i)], static_cast<float>(from[std::size_t(at + i)]))) ++wrong;
        }
    }
    return wrong;
}

template <class T>
int wrong_stores(rd::index count) {
    auto const from = awkward_floats();
    std::vector<std::uint16_t> to(from.size());
    for (rd::index at = 0; at < rd::index(from.size()); at += count) {
        rd::index const n = std::min(count, rd::index(from.size()) - at);
        rd::detail::row const row{reinterpret_cast<std::byte*>(to.data() + at), 2, kind_of<T>};
        rd::detail::store_row<lanes>(row, from.data() + at, n);
    }
    int wrong = 0;
    for (std::size_t i = 0; i < from.size(); ++i) {
        if (!same_half<T>(to[i], from[i])) ++wrong;
    }
    return wrong;
}

}  // namespace

TEST_CASE("every 16-bit pattern widens as Eigen widens it") {
    for (rd::index count : {1, 5, 64, 67}) {
        CHECK(wrong_loads<Eigen::half>(count) == 0);
        CHECK(wrong_loads<Eigen::bfloat16>(count) == 0);
    }
}

TEST_CASE("floats round to 16 bits as Eigen rounds them: to nearest, ties to even") {
    for (rd::index count : {1, 64, 67}) {
        CHECK(wrong_stores<Eigen::half>(count) == 0);
        CHECK(wrong_stores<Eigen::bfloat16>(count) == 0);
    }
}

TEST_CASE("rows of 16 bits may lie apart, run backwards and have a factor") {
    std::vector<float> from{1.0F, -2.5F, 65504.0F, 1e-7F, 3.0F};
    std::vector<Eigen::half> memory(15, Eigen::half(9.0F));
    rd::detail::row const apart{reinterpret_cast<std::byte*>(&memory[14]), -6, element::float16};
    rd::detail::store_row<lanes>(apart, from.data(), rd::index(5), 0.5F);
    std::vector<float> back(8, -1.0F);
    rd::detail::load_row<lanes>(back.data(), apart, 5, 8);
    for (std::size_t i = 0; i < 5; ++i) {
        CHECK(back[i] == static_cast<float>(Eigen::half(0.5F * from[i])));
        CHECK(memory[14 - 3 * i] == Eigen::half(0.5F * from[i]));
    }
    for (std::size_t i = 5; i < 8; ++i) CHECK(back[i] == 0);
    CHECK(memory[13] == Eigen::half(9.0F));
}

namespace {

/// Values of a tensor in type T.
template <class T>
std::vector<T> as(oracle::values const& x) {
    std::vector<T> y;
    for (double value : x) y.push_back(static_cast<T>(static_cast<float>(value)));
    return y;
}

/// Rounds what T rounds, so that the reference reads what the operator reads.
template <class T>
void round_to(oracle::values& x) {
    for (double& value : x) {
        value = static_cast<double>(static_cast<float>(static_cast<T>(static_cast<float>(value))));
    }
}

/// The largest error of an operator on inputs of type In, gates of type Gate, an output of type
/// Out; relative to the largest entry of the definition's output.
template <class In, class Gate, class Out, class... Policies>
double error_of(rd::index T, Policies... policies) {
    constexpr auto op = rd::attention(Policies{}...);
    constexpr auto what = decltype(op)::composition;
    oracle::composition meaning;
    (support::say(policies, meaning), ...);
    support::random r("half");
    auto p = support::random_problem(r, meaning, {1, 4, 2, T, 24, 33});
    for (oracle::values* x : {&p.q, &p.k, &p.v}) round_to<In>(*x);
    for (oracle::values* x : {&p.gate, &p.beta}) round_to<Gate>(*x);

    auto const q = as<In>(p.q), k = as<In>(p.k), v = as<In>(p.v);
    auto const gate = as<Gate>(p.gate), beta = as<Gate>(p.beta);
    auto const want = oracle::forward(p).o;
    std::vector<Out> o(want.size());
    auto const run = [&](auto const&... rest) {
        op.forward(
            rd::exec::openmp.threads(2),
            {rd::bhtd(q, 1, 4, T, 24), rd::bhtd(k, 1, 2, T, 24), rd::bhtd(v, 1, 2, T, 33), rest...},
            rd::bhtd(o, 1, 4, T, 33), {.eps = 1e-6});
    };
    auto const gate_view = [&] {
        if constexpr (what.per_channel()) {
            return rd::bhtd(gate, 1, 2, T, 24);
        } else if constexpr (what.gate_rank() == 1) {
            return rd::view<Gate const, 1>(gate.data(), {2});
        } else {
            return rd::bht(gate, 1, 2, T);
        }
    };
    if constexpr (what.gated() && what.delta) {
        run(gate_view(), rd::bht(beta, 1, 2, T));
    } else if constexpr (what.gated()) {
        run(gate_view());
    } else if constexpr (what.delta) {
        run(rd::bht(beta, 1, 2, T));
    } else {
        run();
    }
    double largest = 0, difference = 0;
    for (std::size_t i = 0; i < o.size(); ++i) {
        largest = std::max(largest, std::abs(want[i]));
        difference = std::max(difference, std::abs(static_cast<float>(o[i]) - want[i]));
    }
    return difference / largest;
}

template <class T, class Gate, class Out>
void check_operators(double bound) {
    namespace decay = rd::decay;
    for (rd::index tokens : {3, 75}) {
        INFO(tokens << " tokens");
        CHECK(error_of<T, Gate, Out>(tokens, rd::feature::elu_plus_one, rd::normalize::sum) <
              bound);
        CHECK(error_of<T, Gate, Out>(tokens, decay::constant, rd::bidirectional) < bound);
        CHECK(error_of<T, Gate, Out>(tokens, decay::scalar, decay::on_write, rd::bidirectional,
                                     rd::normalize::sum, rd::feature::silu_half_unit) < bound);
        CHECK(error_of<T, Gate, Out>(tokens, decay::vector) < bound);
        CHECK(error_of<T, Gate, Out>(tokens, decay::additive, rd::bidirectional) < bound);
        CHECK(error_of<T, Gate, Out>(tokens, decay::vector, rd::update::delta) < bound);
    }
}

constexpr double bfloat16_bound = 4e-3, half_bound = 5e-4, float_bound = 2e-5;

}  // namespace

TEST_CASE("16 bits in and out: nothing but the output's rounding is lost") {
    check_operators<Eigen::bfloat16, Eigen::bfloat16, Eigen::bfloat16>(bfloat16_bound);
    check_operators<Eigen::half, Eigen::half, Eigen::half>(half_bound);
}

TEST_CASE("16-bit inputs with float gates, and an output of float on request") {
    check_operators<Eigen::bfloat16, float, Eigen::bfloat16>(bfloat16_bound);
    check_operators<Eigen::half, float, float>(float_bound);
    check_operators<float, Eigen::half, Eigen::bfloat16>(bfloat16_bound);
}

TEST_CASE("step reads and writes 16 bits; the state is float") {
    constexpr auto op = rd::attention(rd::decay::vector);
    constexpr rd::index H = 2, T = 20, D = 8, E = 6;
    support::random r("half step");
    auto const q = as<Eigen::half>(support::uniform(r, H * T * D, -1, 1));
    auto const v = as<Eigen::half>(support::uniform(r, H * T * E, -1, 1));
    auto const g = as<float>(support::uniform(r, H * T * D, -1, 0));
    std::vector<Eigen::half> whole(v.size()), steps(v.size());
    auto const q_view = rd::bthd(q, 1, T, H, D);
    op.forward(rd::exec::simd, {q_view, q_view, rd::bthd(v, 1, T, H, E), rd::bthd(g, 1, T, H, D)},
               rd::bthd(whole, 1, T, H, E));
    auto state = op.state<Eigen::half>(1, H, D, E);
    STATIC_REQUIRE(std::is_same_v<decltype(state), rd::state<float>>);
    for (std::size_t t = 0; t < std::size_t(T); ++t) {
        auto const q_t = rd::bhd(q.data() + t * H * D, 1, H, D);
        op.step(rd::exec::simd,
                {q_t, q_t, rd::bhd(v.data() + t * H * E, 1, H, E),
                 rd::bhd(g.data() + t * H * D, 1, H, D)},
                state, rd::bhd(steps.data() + t * H * E, 1, H, E));
    }
    for (std::size_t i = 0; i < whole.size(); ++i) {
        float const a = static_cast<float>(whole[i]), b = static_cast<float>(steps[i]);
        CHECK(std::abs(a - b) <= 1e-3F * std::max(1.0F, std::abs(a)));
    }
}

TEST_CASE("infinities and NaN of 16 bits reach the output") {
    constexpr auto op = rd::attention(rd::recurrent);
    for (float odd :
         {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
          std::numeric_limits<float>::quiet_NaN()}) {
        std::vector<Eigen::half> const q(20, Eigen::half(1.0F));
        std::vector<Eigen::half> v(20, Eigen::half(0.5F)), o(20);
        v[10] = Eigen::half(odd);
        op.forward(rd::exec::simd,
                   {rd::bthd(q, 1, 20, 1, 1), rd::bthd(q, 1, 20, 1, 1), rd::bthd(v, 1, 20, 1, 1)},
                   rd::bthd(o, 1, 20, 1, 1));
        CHECK(static_cast<float>(o[9]) == 5.0F);
        CHECK(same(static_cast<float>(o[10]), odd));
    }
}
