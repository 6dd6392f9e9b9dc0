#include "cuda/subject.hpp"
#include "support/law.hpp"

#include <iostream>

// Every composition on the device against the definition in double precision, for every element
// type.

namespace device {
namespace {

using support::gates;
using support::memory;
using support::random;

/// Largest error for the wide types; for 16 bits, whose outputs are rounded to 3.9e-3 of
/// themselves, the root of the mean square.
double tolerance(element type, oracle::composition const& op) {
    if (type == element::float64) return 1e-10;
    if (type == element::float32) return 1e-5;
    // Before the products a feature map is rounded to 16 bits, and so are keys and queries that
    // have a weight for each channel.
    bool const channels = op.decay == oracle::decay::vector || op.decay == oracle::decay::additive;
    // A feature map may turn all keys one way, which a delta rule then has to tell apart.
    bool const delta = op.update == oracle::update::delta;
    if (op.feature != oracle::feature::identity) return delta ? 7e-3 : 5e-3;
    return channels ? 4e-3 : 3e-3;
}

double mean_error(oracle::values const& got, oracle::values const& want) {
    double squares = 0, size = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
        if (got[i] == want[i]) continue;
        if (!std::isfinite(got[i])) return oracle::infinity;
        squares += (got[i] - want[i]) * (got[i] - want[i]);
        size += want[i] * want[i];
    }
    // What is equal counts too, but for infinities.
    for (std::size_t i = 0; i < want.size(); ++i) {
        if (got[i] == want[i] && std::isfinite(want[i])) size += want[i] * want[i];
    }
    return squares == 0 ? 0 : std::sqrt(squares / size);
}

double error(element type, oracle::values const& got, oracle::values const& want) {
    bool const wide = type == element::float64 || type == element::float32;
    if (wide) return support::error(got, want);
    // A single wrong element must show, too.
    return std::max(mean_error(got, want), support::error(got, want) / 3);
}

char const* name_of(element type) {
    static constexpr char const* names[] = {"float", "double", "bfloat16", "half"};
    return names[int(type)];
}

std::string describe(subject const& s, problem const& p, arrangement const& a) {
    static constexpr char const* memories[] = {"bthd", "bhtd", "scattered"};
    return s.name + "\n  " + support::describe(p) + "\n  " + name_of(a.element) + " " +
           memories[int(a.memory)] + (a.ones ? " ones" : "") + (a.in_place ? " in place" : "") +
           "\n  RONDO_SEED=" + std::to_string(support::base_seed());
}

void check(std::string const& what, oracle::composition const& op, element type, outcome const& got,
           oracle::result const& want) {
    INFO(what);
    CHECK(error(type, got.o, want.o) <= tolerance(type, op));
    CHECK(support::error(got.out, want.out, op) <= tolerance(type, op));
    CHECK(got.gaps_intact);
}

void check(subject const& s, problem p, arrangement const& a) {
    round_to(a.element, p);
    check(describe(s, p, a), s.op, a.element, s.forward(p, a), oracle::forward(p));
}

void with_ones(problem& p, arrangement& a) {
    a.ones = true;
    std::fill(p.k.begin(), p.k.end(), 1.0);
}

}  // namespace

TEST_CASE("every operator agrees with its definition, for every element type") {
    if (!present()) return;
    for (subject const& s : subjects()) {
        random r("cuda " + s.name);
        for (element type : elements) {
            for (int repeat = 0; repeat < 2; ++repeat) {
                auto p = support::random_problem(r, s.op, 4e5);
                arrangement a{type, r.one_of({memory::bthd, memory::bhtd, memory::scattered})};
                a.in_place = oracle::has_state(s.op) && r.chance(0.5);
                bool const free = s.op.update == oracle::update::outer;  // else beta fits the key
                if (free && r.chance(0.2)) with_ones(p, a);
                check(s, p, a);
            }
        }
    }
}

TEST_CASE("extents where kernels change: whole and ragged chunks, tiles of channels") {
    if (!present()) return;
    for (subject const& s : subjects()) {
        random r("cuda extents " + s.name);
        for (auto [T, D, E] : {std::array<index, 3>{1, 64, 64},
                               {63, 64, 64},
                               {64, 128, 128},
                               {65, 64, 128},
                               {200, 64, 64},
                               {130, 128, 64},
                               {97, 128, 128},
                               {70, 192, 40},
                               {130, 256, 136}}) {
            index const group = r.integer(1, 2);
            auto p = support::random_problem(r, s.op, {1, 2 * group, 2, T, D, E},
                                             r.one_of({gates::mild, gates::hard}));
            if (r.chance(0.5)) p.in = support::random_state(r, s.op, p.n);
            arrangement a{r.one_of({element::bfloat16, element::bfloat16, element::float16,
                                    element::float32}),
                          r.one_of({memory::bthd, memory::bhtd})};
            if (oracle::is_additive(s.op) && r.chance(0.5)) with_ones(p, a);
            check(s, p, a);
        }
    }
}

TEST_CASE("sequences long enough for several blocks to share them") {
    if (!present()) return;
    for (subject const& s : subjects()) {
        random r("cuda long " + s.name);
        // Those of a delta update pay from some more segments on.
        bool const delta = s.op.update == oracle::update::delta;
        oracle::extents n{1, 2, 1, 700, 64, 64};
        if (delta) n = {1, 2, 1, 1100, 72, 136};
        auto p = support::random_problem(r, s.op, n, gates::mild);
        if (oracle::has_state(s.op)) p.in = support::random_state(r, s.op, p.n);
        check(s, p, {element::bfloat16, memory::bthd});
    }
}

TEST_CASE("channels beyond what registers and shared memory hold") {
    if (!present()) return;
    for (subject const& s : subjects()) {
        random r("cuda wide " + s.name);
        for (auto [T, D, E] : {std::array<index, 3>{5, 200, 40}, {4, 300, 3}, {2, 3000, 2}}) {
            auto p = support::random_problem(r, s.op, {1, 2, 1, T, D, E}, gates::mild);
            p.in = support::random_state(r, s.op, p.n);
            check(s, p, {r.one_of({element::float64, element::float32}), memory::bthd});
        }
    }
}

TEST_CASE("token by token is the whole") {
    if (!present()) return;
    for (subject const& s : subjects()) {
        if (s.steps == nullptr) continue;
        random r("cuda steps " + s.name);
        for (element type : {element::float64, element::float32, element::bfloat16}) {
            for (auto [D, E] : {std::pair<index, index>{64, 64}, {128, 132}, {20, 7}, {250, 8}}) {
                auto p = support::random_problem(r, s.op, {2, 4, 2, 5, D, E},
                                                 r.one_of({gates::mild, gates::hard}));
                p.in = support::random_state(r, s.op, p.n);
                round_to(type, p);
                arrangement const a{type, r.one_of({memory::bthd, memory::scattered})};
                check(describe(s, p, a), s.op, type, s.steps(p, a), oracle::forward(p));
            }
        }
    }
}

TEST_CASE("packed sequences are calls of their own") {
    if (!present()) return;
    for (subject const& s : subjects()) {
        random r("cuda packed " + s.name);
        for (element type : {element::float64, element::bfloat16}) {
            std::vector<rondo::index> offsets{0};
            for (index n : {index(0), index(5), r.integer(1, 150), index(0), r.integer(1, 70)}) {
                offsets.push_back(offsets.back() + n);
            }
            bool const sixteen = type == element::bfloat16;
            auto p = support::random_problem(
                r, s.op, {1, 4, 2, offsets.back(), sixteen ? 64 : 9, sixteen ? 64 : 35});
            round_to(type, p);
            arrangement a{type, memory::bthd, false, false, offsets};
            auto const got = s.forward(p, a);
            oracle::values want(p.n.Hq * p.n.T * p.n.E);
            for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
                auto const part = oracle::forward(support::slice(p, offsets[i], offsets[i + 1])).o;
                index const rows = (offsets[i + 1] - offsets[i]) * p.n.E;
                for (index h = 0; h < p.n.Hq; ++h) {
                    std::copy_n(part.begin() + h * rows, rows,
                                want.begin() + (h * p.n.T + offsets[i]) * p.n.E);
                }
            }
            INFO(describe(s, p, a));
            CHECK(error(type, got.o, want) <= tolerance(type, s.op));
        }
    }
}

TEST_CASE("multiscan follows its paths on the device") {
    if (!present()) return;
    index const rows = 7, columns = 11;
    for (grid_subject const& s : grid_subjects()) {
        random r("cuda " + s.name);
        auto p = support::random_problem(r, s.op, {2, 4, 2, rows * columns, 9, 6});
        p.scale = 0.5;
        support::round_to_float(p);
        auto const want = oracle::multiscan(p, s.paths, rows, columns);
        INFO(s.name);
        CHECK(support::error(s.forward(p, {element::float32}, rows, columns).o, want) <= 1e-5);
    }
}

TEST_CASE("a captured graph replays the call on what its memory then holds") {
    if (!present()) return;
    random r("cuda graph");
    oracle::composition op;
    op.decay = oracle::decay::vector;
    auto const draw = [&] { return support::random_problem(r, op, {1, 2, 2, 90, 64, 64}); };
    CHECK(replays(draw(), draw(), {}));
    CHECK(replays(draw(), draw(), {0, 30, 30, 90}));
}

TEST_CASE("scratch is known before the call") {
    if (!present()) return;
    CHECK(scratch_is_known());
}

TEST_CASE("an error of the runtime names its call") {
    if (!present()) return;
    CHECK(names_the_call());
}

}  // namespace device
