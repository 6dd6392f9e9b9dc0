// States as bytes: what comes back, what is refused, and that nothing else can happen.

#include "support/catch.hpp"
#include "support/random.hpp"

#include <rondo/rondo.hpp>

#include <cstring>
#include <limits>
#include <memory>
#include <vector>

namespace rd = rondo;

namespace {

constexpr rd::index B = 2, H = 3, D = 4, E = 5;
constexpr auto gla = rd::attention(rd::decay::vector, rd::chunkwise<64>);
constexpr auto lightnet_sum = rd::attention(rd::decay::additive, rd::normalize::sum);

using bytes = std::vector<std::byte>;

template <class View>
auto elements(View const& x) {
    using value = std::remove_const_t<typename View::element_type>;
    return std::vector<value>(x.data(), x.data() + x.size());
}

/// All that a state holds, in one row.
template <class State>
auto numbers(State const& state) {
    auto all = elements(state.s());
    for (auto const& part :
         {elements(state.normalizer()), elements(state.max()), elements(state.sum())}) {
        all.insert(all.end(), part.begin(), part.end());
    }
    return all;
}

template <class A>
void fill(rd::state<A>& state, support::random& r) {
    auto const draw = [&r](auto view) {
        for (rd::index i = 0; i < view.size(); ++i) {
            view.data()[i] = static_cast<A>(r.uniform(-1, 1));
        }
    };
    draw(state.s());
    draw(state.normalizer());
    draw(state.max());
    draw(state.sum());
}

template <class Operator>
std::string refusal(Operator const& op, bytes const& blob) {
    try {
        op.template state<float>(std::span<std::byte const>(blob));
    } catch (rd::shape_error const& error) {
        return error.what();
    }
    return "";
}

/// The field of a header at an offset, changed, and the checksum made right again: what remains is
/// for the other checks to find.
template <class Field>
bytes forged(bytes blob, std::size_t offset, Field value) {
    std::memcpy(blob.data() + offset, &value, sizeof value);
    rd::detail::blob_header header;
    std::memcpy(&header, blob.data(), sizeof header);
    header.payload = blob.size() - sizeof header;
    header.checksum = rd::detail::checksum(header, blob.data() + sizeof header);
    std::memcpy(blob.data(), &header, sizeof header);
    return blob;
}

// Where the fields of a header lie.
constexpr std::size_t version_at = 8, order_at = 12, extents_at = 24;

}  // namespace

TEST_CASE("a state comes back from its bytes, whatever the form of the operator") {
    support::random r("blob");
    auto small = gla.state<float>(B, H, D, E);
    fill(small, r);
    auto const copy = rd::attention(rd::decay::vector, rd::recurrent)
                          .state<float>(std::span<std::byte const>(small.bytes()));
    CHECK(copy.s().extents() == small.s().extents());
    CHECK(numbers(copy) == numbers(small));
    CHECK((copy.bytes() == small.bytes()));

    auto wide = lightnet_sum.state<double>(B, H, 700, 700);  // brings rows for step
    fill(wide, r);
    CHECK(numbers(lightnet_sum.state<double>(std::span<std::byte const>(wide.bytes()))) ==
          numbers(wide));

    auto const none = gla.state<float>(0, H, D, E);
    CHECK(gla.state<float>(std::span<std::byte const>(none.bytes())).heads() == H);
}

TEST_CASE("a state that came back goes on where the other would have") {
    support::random r("blob goes on");
    auto const draw = [&r](rd::index n, double low, double high) {
        std::vector<float> x(static_cast<std::size_t>(n));
        for (float& value : x) value = static_cast<float>(r.uniform(low, high));
        return x;
    };
    constexpr rd::index T = 20;
    auto const q = draw(B * T * H * D, -1, 1), g = draw(B * T * H * D, -1, 0);
    auto const v = draw(B * T * H * E, -1, 1);
    std::vector<float> once(static_cast<std::size_t>(B * T * H * E)), again = once;
    auto const run = [&](auto& state, auto& o) {
        auto const q_view = rd::bthd(q, B, T, H, D);
        gla.forward(rd::exec::simd,
                    {q_view, q_view, rd::bthd(v, B, T, H, E), rd::bthd(g, B, T, H, D)},
                    rd::bthd(o, B, T, H, E), {.in = state, .out = state});
    };
    auto state = gla.state<float>(B, H, D, E);
    run(state, once);
    auto copy = gla.state<float>(std::span<std::byte const>(state.bytes()));
    run(state, once);
    run(copy, again);
    CHECK((once == again));
    CHECK((state.bytes() == copy.bytes()));
}

TEST_CASE("foreign blobs are refused in a sentence") {
    using support::contains;
    auto const blob = gla.state<float>(B, H, D, E).bytes();
    CHECK(refusal(gla, blob).empty());

    CHECK_THAT(refusal(gla, {}), contains("the blob has 0 bytes, expected a header of 72"));
    CHECK_THAT(refusal(gla, bytes(100)), contains("the blob is not a state of rondo"));
    CHECK_THAT(refusal(gla, bytes(blob.begin(), blob.end() - 1)),
               contains("the blob holds 479 bytes of numbers, expected 480"));
    CHECK_THAT(refusal(gla, forged(blob, version_at, 2)),
               contains("the blob has version 2, expected 1"));
    CHECK_THAT(refusal(gla, forged(blob, order_at, 0x04030201)),
               contains("the blob was written in another byte order"));
    CHECK_THAT(refusal(gla, gla.state<double>(B, H, D, E).bytes()),
               contains("the blob has elements of 8 bytes, expected 4"));
    CHECK_THAT(refusal(rd::attention(), blob),
               contains("the blob is the state of another operator"));
    CHECK_THAT(refusal(rd::attention(rd::decay::vector, rd::anticausal), blob),
               contains("another operator"));
    auto damaged = blob;
    damaged[200] ^= std::byte(1);
    CHECK_THAT(refusal(gla, damaged), contains("the blob is damaged"));
}

TEST_CASE("forged extents are refused before anything is allocated for them") {
    using support::contains;
    auto const blob = gla.state<float>(B, H, D, E).bytes();
    auto const extent = [&](int axis, rd::index value) {
        return refusal(gla, forged(blob, extents_at + 8 * std::size_t(axis), value));
    };
    CHECK_THAT(extent(0, 3), contains("the blob holds 480 bytes of numbers, its extents need 720"));
    CHECK_THAT(extent(1, 0), contains("its extents need 0"));
    for (rd::index huge : {rd::index(1) << 40, std::numeric_limits<rd::index>::max(), rd::index(-1),
                           std::numeric_limits<rd::index>::min()}) {
        for (int axis = 0; axis < 4; ++axis) {
            CHECK_THAT(extent(axis, huge), contains("more than its numbers"));
        }
    }
}

TEST_CASE("a million mutations: a refusal, or a state that is whole") {
    support::random r("blob fuzz");
    auto state = lightnet_sum.state<float>(1, 2, 3, 2);
    fill(state, r);
    auto const whole = state.bytes();
    auto const expected = numbers(state);
    bytes blob;
    int accepted = 0, wrong = 0;
    for (int round = 0; round < 1'000'000; ++round) {
        blob = whole;
        for (rd::index n = r.integer(1, 3); n > 0; --n) {
            auto const at = static_cast<std::size_t>(r.integer(0, rd::index(blob.size()) - 1));
            switch (r.integer(0, 4)) {
                case 0: blob[at] ^= std::byte(1 << r.integer(0, 7)); break;
                case 1: blob[at] = std::byte(r.integer(0, 255)); break;
                case 2: blob.resize(at + 1); break;
                case 3: blob.insert(blob.end(), at + 1, std::byte(r.integer(0, 255))); break;
                case 4: {
                    auto const other = static_cast<std::size_t>(r.integer(0, 15)) % blob.size();
                    std::swap(blob[at], blob[other]);
                    break;
                }
            }
        }
        // Memory of exactly this size: a read behind it is the address sanitizer's to find.
        auto const memory = std::make_unique<std::byte[]>(blob.size());
        std::copy(blob.begin(), blob.end(), memory.get());
        try {
            auto const back =
                lightnet_sum.state<float>(std::span<std::byte const>(memory.get(), blob.size()));
            ++accepted;
            if (numbers(back) != expected) ++wrong;
        } catch (rd::shape_error const&) {
        }
    }
    CHECK(wrong == 0);
    CHECK(accepted < 100'000);  // those whose mutations changed nothing
}

TEST_CASE("mutations with a right checksum: a refusal, or a state of the size of its numbers") {
    support::random r("blob forged");
    auto const whole = lightnet_sum.state<float>(1, 2, 3, 2).bytes();
    int wrong = 0;
    for (int round = 0; round < 300'000; ++round) {
        auto blob = whole;
        if (r.chance(0.3))
            blob.resize(sizeof(rd::detail::blob_header) + std::size_t(r.integer(0, 200)));
        for (rd::index n = r.integer(1, 4); n > 0; --n) {
            auto const at = extents_at - 8 + std::size_t(r.integer(0, 39));
            blob[at] = std::byte(r.chance(0.5) ? r.integer(0, 4) : r.integer(0, 255));
        }
        blob = forged(blob, order_at, 0x01020304);
        try {
            auto const back = lightnet_sum.state<float>(std::span<std::byte const>(blob));
            if (numbers(back).size() * 4 + sizeof(rd::detail::blob_header) != blob.size()) ++wrong;
        } catch (rd::shape_error const&) {
        }
    }
    CHECK(wrong == 0);
}

TEST_CASE("one sequence is reset, the others stay") {
    support::random r("reset one");
    auto state = lightnet_sum.state<float>(B, H, D, E);
    fill(state, r);
    auto const before = state;
    state.reset(1);
    auto const fresh = lightnet_sum.state<float>(B, H, D, E);
    CHECK(state.s()(0, 2, 3, 4) == before.s()(0, 2, 3, 4));
    CHECK(numbers(state.fork({0})) == numbers(before.fork({0})));
    CHECK(numbers(state.fork({1})) == numbers(fresh.fork({1})));
    CHECK_THROWS_WITH(state.reset(2), support::contains("there is no sequence 2 among 2"));
    CHECK_THROWS_WITH(state.fork({0, -1}), support::contains("there is no sequence -1 among 2"));
}

TEST_CASE("a fork goes on from the sequences that it names") {
    support::random r("fork");
    auto state = lightnet_sum.state<float>(B, H, D, E);
    fill(state, r);
    auto const beams = state.fork({1, 0, 1});
    REQUIRE(beams.batch() == 3);
    for (rd::index h = 0; h < H; ++h) {
        for (rd::index d = 0; d < D; ++d) {
            CHECK(beams.s()(2, h, d, 1) == state.s()(1, h, d, 1));
            CHECK(beams.s()(1, h, d, 4) == state.s()(0, h, d, 4));
            CHECK(beams.normalizer()(0, h, d) == state.normalizer()(1, h, d));
            CHECK(beams.max()(1, h, d) == state.max()(0, h, d));
            CHECK(beams.sum()(2, h, d) == state.sum()(1, h, d));
        }
    }
    CHECK(numbers(beams.fork({1, 0})) == numbers(state));
    CHECK(state.fork({}).batch() == 0);
}
