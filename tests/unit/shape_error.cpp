#include "support/catch.hpp"

#include <rondo/rondo.hpp>

#include <functional>
#include <string>
#include <vector>

// Bad data is a sentence that names the operator, the argument and both numbers, and nothing is
// written.

namespace rd = rondo;

namespace {

constexpr rd::index B = 2, H = 4, T = 7, D = 5, E = 3;

constexpr auto linear = rd::attention();
constexpr auto retention = rd::attention(rd::decay::constant);
constexpr auto mamba = rd::attention(rd::decay::scalar);
constexpr auto gla = rd::attention(rd::decay::vector);
constexpr auto lightnet = rd::attention(rd::decay::additive, rd::bidirectional);
constexpr auto delta = rd::attention(rd::decay::scalar, rd::update::delta);

using view4 = rd::view<float const, 4>;
using view3 = rd::view<float const, 3>;

/// Good data for every operator above; each test spoils one argument.
struct data {
    std::vector<float> memory = std::vector<float>(100000, 0.5F);
    std::vector<float> o_memory = std::vector<float>(2 * B * H * T * E, 42.F);
    view4 q = rd::bthd(memory.data(), B, T, H, D), k = q, g = q;
    view4 v = rd::bthd(memory.data(), B, T, H, E);
    view3 a = rd::bth(memory.data(), B, T, H), beta = a;
    rd::view<float const, 1> c{memory.data(), {H}};
    rd::view<float, 4> o = rd::bthd(o_memory.data(), B, T, H, E);

    bool untouched() const {
        for (float x : o_memory) {
            if (x != 42.F) return false;
        }
        return true;
    }
};

/// The call must throw, say every part, and leave the output alone.
void check_refused(std::function<void(data&)> const& call, std::vector<std::string> const& parts) {
    data x;
    std::string sentence;
    try {
        call(x);
    } catch (rd::shape_error const& error) {
        sentence = error.what();
    }
    INFO("the sentence: " << (sentence.empty() ? "(nothing was thrown)" : sentence));
    CHECK_FALSE(sentence.empty());
    for (std::string const& part : parts) {
        INFO("must say: " << part);
        CHECK(sentence.find(part) != std::string::npos);
    }
    CHECK(x.untouched());
}

}  // namespace

TEST_CASE("the good data is good") {
    data x;
    linear.forward(rd::exec::simd, {x.q, x.k, x.v}, x.o);
    retention.forward(rd::exec::simd, {x.q, x.k, x.v, x.c}, x.o);
    mamba.forward(rd::exec::simd, {x.q, x.k, x.v, x.a}, x.o);
    gla.forward(rd::exec::simd, {x.q, x.k, x.v, x.g}, x.o);
    lightnet.forward(rd::exec::simd, {x.q, rd::ones, x.v, x.g}, x.o);
    delta.forward(rd::exec::simd, {x.q, x.k, x.v, x.a, x.beta}, x.o);
    CHECK_FALSE(x.untouched());
}

TEST_CASE("tokens that do not match are refused") {
    check_refused(
        [](data& x) {
            linear.forward(rd::exec::simd, {x.q, x.k.slice(2, 0, 3), x.v}, x.o);
        },
        {"attention", "k", "3", "7"});
    check_refused(
        [](data& x) {
            linear.forward(rd::exec::serial, {x.q, x.k, x.v.slice(2, 0, 6)}, x.o);
        },
        {"attention", "v", "6", "7"});
    check_refused(
        [](data& x) {
            linear.forward(rd::exec::openmp, {x.q, x.k, x.v}, x.o.slice(2, 0, 6));
        },
        {"attention", "o", "6", "7"});
    check_refused(
        [](data& x) {
            mamba.forward(rd::exec::simd, {x.q, x.k, x.v, x.a.slice(2, 1, 7)}, x.o);
        },
        {"attention", "gate", "6", "7"});
    check_refused(
        [](data& x) {
            gla.forward(rd::exec::simd, {x.q, x.k, x.v, x.g.slice(2, 1, 6)}, x.o);
        },
        {"attention", "gate", "5", "7"});
    check_refused(
        [](data& x) {
            delta.forward(rd::exec::simd, {x.q, x.k, x.v, x.a, x.beta.slice(2, 0, 1)}, x.o);
        },
        {"attention", "beta", "1", "7"});
}

TEST_CASE("channels that do not match are refused") {
    check_refused(
        [](data& x) {
            linear.forward(rd::exec::simd, {x.q, x.k.slice(3, 0, 4), x.v}, x.o);
        },
        {"attention", "k", "4", "5"});
    check_refused(
        [](data& x) {
            linear.forward(rd::exec::simd, {x.q, x.k, x.v}, x.o.slice(3, 0, 2));
        },
        {"attention", "o", "2", "3"});
    check_refused(
        [](data& x) {
            gla.forward(rd::exec::simd, {x.q, x.k, x.v, x.g.slice(3, 0, 1)}, x.o);
        },
        {"attention", "gate", "1", "5"});
    check_refused(
        [](data& x) {
            lightnet.forward(rd::exec::simd, {x.q, rd::ones, x.v, x.g.slice(3, 0, 2)}, x.o);
        },
        {"attention", "gate", "2", "5"});
}

TEST_CASE("batches that do not match are refused") {
    check_refused(
        [](data& x) {
            linear.forward(rd::exec::simd, {x.q, x.k.slice(0, 0, 1), x.v}, x.o);
        },
        {"attention", "k", "1", "2"});
    check_refused(
        [](data& x) {
            linear.forward(rd::exec::simd, {x.q, x.k, x.v.slice(0, 0, 1)}, x.o);
        },
        {"attention", "v", "1", "2"});
    check_refused(
        [](data& x) {
            linear.forward(rd::exec::simd, {x.q, x.k, x.v}, x.o.slice(0, 0, 1));
        },
        {"attention", "o", "1", "2"});
    check_refused(
        [](data& x) {
            mamba.forward(rd::exec::simd, {x.q, x.k, x.v, x.a.slice(0, 0, 1)}, x.o);
        },
        {"attention", "gate", "1", "2"});
}

TEST_CASE("heads that cannot be shared are refused") {
    check_refused(
        [](data& x) {
            linear.forward(rd::exec::simd, {x.q, x.k.slice(1, 0, 3), x.v.slice(1, 0, 3)}, x.o);
        },
        {"attention", "multiple", "4", "3"});
    check_refused(
        [](data& x) {
            linear.forward(rd::exec::simd, {x.q, x.k.slice(1, 0, 2), x.v}, x.o);
        },
        {"attention", "2", "4"});
    check_refused(
        [](data& x) {
            linear.forward(rd::exec::simd, {x.q, x.k, x.v}, x.o.slice(1, 0, 2));
        },
        {"attention", "o", "2", "4"});
    check_refused(
        [](data& x) {
            linear.forward(rd::exec::simd, {x.q.slice(1, 0, 2), x.k, x.v}, x.o.slice(1, 0, 2));
        },
        {"attention", "multiple", "2", "4"});
    check_refused(
        [](data& x) {
            retention.forward(rd::exec::simd, {x.q, x.k, x.v, x.c.slice(0, 0, 3)}, x.o);
        },
        {"attention", "gate", "3", "4"});
    check_refused(
        [](data& x) {
            gla.forward(rd::exec::simd, {x.q, x.k, x.v, x.g.slice(1, 0, 1)}, x.o);
        },
        {"attention", "gate", "1", "4"});
}

TEST_CASE("null views are refused by name") {
    view4 const null(nullptr, {B, H, T, D});
    view4 const null_v(nullptr, {B, H, T, E});
    view3 const null3(nullptr, {B, H, T});
    check_refused(
        [&](data& x) {
            linear.forward(rd::exec::simd, {null, x.k, x.v}, x.o);
        },
        {"attention", "q", "null"});
    check_refused(
        [&](data& x) {
            linear.forward(rd::exec::simd, {x.q, null, x.v}, x.o);
        },
        {"attention", "k", "null"});
    check_refused(
        [&](data& x) {
            linear.forward(rd::exec::simd, {x.q, x.k, null_v}, x.o);
        },
        {"attention", "v", "null"});
    check_refused(
        [&](data& x) {
            gla.forward(rd::exec::simd, {x.q, x.k, x.v, null}, x.o);
        },
        {"attention", "gate", "null"});
    check_refused(
        [&](data& x) {
            mamba.forward(rd::exec::simd, {x.q, x.k, x.v, null3}, x.o);
        },
        {"attention", "gate", "null"});
    check_refused(
        [&](data& x) {
            delta.forward(rd::exec::simd, {x.q, x.k, x.v, x.a, null3}, x.o);
        },
        {"attention", "beta", "null"});
    check_refused(
        [&](data& x) {
            linear.forward(rd::exec::simd, {x.q, x.k, x.v},
                           rd::view<float, 4>(nullptr, {B, H, T, E}));
        },
        {"attention", "o", "null"});
    check_refused(
        [&](data& x) {
            linear.forward(rd::exec::simd, {view4{}, x.k, x.v}, x.o);
        },
        {"attention", "q"});
}

TEST_CASE("tensors without elements need no memory") {
    view4 const q(nullptr, {B, H, 0, D}), v(nullptr, {B, H, 0, E});
    CHECK_NOTHROW(
        linear.forward(rd::exec::simd, {q, q, v}, rd::view<float, 4>(nullptr, {B, H, 0, E})));
}

TEST_CASE("an output that overlaps an input is refused") {
    // the output lies in the memory of one input; E = D so that each can take its place
    auto const overlapping = [](auto spoil) {
        check_refused(
            [&](data& x) {
                auto const place = rd::bthd(x.o_memory.data(), 1, T, H, E);
                auto const good = rd::bthd(static_cast<float const*>(x.memory.data()), 1, T, H, E);
                auto q = good, k = good, v = good, g = good;
                spoil(place, q, k, v, g);
                gla.forward(rd::exec::simd, {q, k, v, g}, place);
            },
            {"attention", "o", "overlap"});
    };
    overlapping([](auto o, auto& q, auto&, auto&, auto&) { q = o; });
    overlapping([](auto o, auto&, auto& k, auto&, auto&) { k = o; });
    overlapping([](auto o, auto&, auto&, auto& v, auto&) { v = o; });
    overlapping([](auto o, auto&, auto&, auto&, auto& g) { g = o; });
    // one token later
    overlapping([](auto o, auto&, auto&, auto& v, auto&) {
        v = view4(o.data() + H * E, o.extents(), o.strides());
    });
    overlapping([](auto o, auto& q, auto&, auto&, auto&) { q = o.reversed(2); });
}

TEST_CASE("an output whose elements share memory is refused") {
    check_refused(
        [](data& x) {
            linear.forward(rd::exec::simd, {x.q, x.k, x.v},
                           rd::view<float, 4>(x.o_memory.data(), {B, H, T, E}, {0, T * E, E, 1}));
        },
        {"attention", "o", "stride"});
}

TEST_CASE("states of the wrong shape are refused") {
    check_refused(
        [](data& x) {
            auto s = gla.state<float>(B, H, D + 1, E);
            gla.forward(rd::exec::simd, {x.q, x.k, x.v, x.g}, x.o, {.in = s});
        },
        {"attention", "in", "6", "5"});
    check_refused(
        [](data& x) {
            auto s = gla.state<float>(B, H, D, E + 1);
            gla.forward(rd::exec::simd, {x.q, x.k, x.v, x.g}, x.o, {.out = s});
        },
        {"attention", "out", "4", "3"});
    check_refused(
        [](data& x) {
            auto s = gla.state<float>(B + 1, H, D, E);
            gla.forward(rd::exec::simd, {x.q, x.k, x.v, x.g}, x.o, {.out = s});
        },
        {"attention", "out", "3", "2"});
    check_refused(
        [](data& x) {  // the state has the heads of k and v
            auto s = gla.state<float>(B, H, D, E);
            gla.forward(rd::exec::simd,
                        {x.q, x.k.slice(1, 0, 2), x.v.slice(1, 0, 2), x.g.slice(1, 0, 2)}, x.o,
                        {.out = s});
        },
        {"attention", "out", "4", "2"});
}

TEST_CASE("one token is checked like many") {
    auto const token = [](auto const& view) {
        return rd::view<float const, 3>(view.data(),
                                        {view.extent(0), view.extent(1), view.extent(3)});
    };
    auto const o_t = [](data& x) { return rd::view<float, 3>(x.o_memory.data(), {B, H, E}); };
    check_refused(
        [&](data& x) {
            auto s = gla.state<float>(B, H, D, E);
            gla.step(rd::exec::simd,
                     {token(x.q), token(x.k).slice(2, 0, 4), token(x.v), token(x.g)}, s, o_t(x));
        },
        {"attention", "k", "4", "5"});
    check_refused(
        [&](data& x) {
            auto s = gla.state<float>(B, H, D, E + 1);
            gla.step(rd::exec::simd, {token(x.q), token(x.k), token(x.v), token(x.g)}, s, o_t(x));
        },
        {"attention", "state", "4", "3"});
    check_refused(
        [&](data& x) {
            auto s = gla.state<float>(B, H, D, E);
            gla.step(
                rd::exec::simd,
                {token(x.q), token(x.k), token(x.v), rd::view<float const, 3>(nullptr, {B, H, D})},
                s, o_t(x));
        },
        {"attention", "gate", "null"});
}

TEST_CASE("a grid must hold the tokens") {
    check_refused(
        [](data& x) {
            rd::multiscan(gla, rd::path::cross)
                .forward(rd::exec::simd, rd::grid{2, 4}, {x.q, x.k, x.v, x.g}, x.o);
        },
        {"multiscan", "8", "7"});
}
