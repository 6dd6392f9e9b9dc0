#include "cuda/gradient.hpp"
#include "oracle/gradient_paths.hpp"
#include "support/gradient_law.hpp"

#include <cstdio>

// Every composition's `backward` on the device against the definition in double precision, for
// every element type.

namespace device {
namespace {

using support::gates;
using support::memory;
using support::random;

double tolerance(element type) {
    return type == element::float64 ? 1e-9 : type == element::float32 ? 1e-4 : 5e-3;
}

/// Of the norm; what is small beside the other side of its sums is measured by those.
double norm_error(oracle::values const& got, oracle::values const& want) {
    double squares = 0, size = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
        if (!std::isfinite(got[i])) return oracle::infinity;
        squares += (got[i] - want[i]) * (got[i] - want[i]);
        size += want[i] * want[i];
    }
    double const least = 1e-2 * static_cast<double>(want.size());
    return std::sqrt(squares / std::max(size, std::max(least, 1e-30)));
}

double error(element type, oracle::values const& got, oracle::values const& want) {
    bool const wide = type == element::float64 || type == element::float32;
    if (wide || got.size() != want.size()) return support::error(got, want);
    // A single wrong element must show, too.
    return std::max(norm_error(got, want), support::error(got, want) / 3);
}

/// The gradient of a gate that all tokens share is a sum whose terms may cancel: it is measured by
/// what they are together, taken from the operator with a gate for each token. 0 for other gates.
double size_of_terms(gradient_row const& s, problem p, gradient_call const& call) {
    if (s.op.decay != oracle::decay::constant) return 0;
    p.op.decay = oracle::decay::scalar;
    auto const shared = p.gate;
    p.gate.clear();
    for (index i = 0; i < p.n.B * p.n.Hkv * p.n.T; ++i) {
        p.gate.push_back(shared[i / p.n.T % p.n.Hkv]);
    }
    for (gradient_row const& twin : gradient_rows()) {
        if (!(twin.op == p.op)) continue;
        double size = 0;
        for (double x : twin.backward(p, call, {element::float64}).to.gate) size += std::abs(x);
        return size;
    }
    return 0;
}

double error_of_sum(oracle::values const& got, oracle::values const& want, double terms) {
    double squares = 0, size = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
        if (!std::isfinite(got[i])) return oracle::infinity;
        squares += (got[i] - want[i]) * (got[i] - want[i]);
        size += want[i] * want[i];
    }
    return std::sqrt(squares) / std::max({std::sqrt(size), terms, 1.0});
}

/// What a half cannot hold is infinite: where both are, they agree.
void leave_overflow_out(oracle::values& got, oracle::values& want) {
    constexpr double largest = 65504;
    for (std::size_t i = 0; i < want.size() && i < got.size(); ++i) {
        bool const beyond = std::abs(want[i]) > (1 - tolerance(element::float16)) * largest;
        if (beyond && got[i] == std::copysign(oracle::infinity, want[i])) got[i] = want[i] = 0;
    }
}

std::string describe(gradient_row const& s, problem const& p, arrangement const& a) {
    static constexpr char const* names[] = {"float", "double", "bfloat16", "half"};
    static constexpr char const* memories[] = {"bthd", "bhtd", "scattered"};
    return s.name + "\n  " + support::describe(p) + "\n  " + names[int(a.element)] + " " +
           memories[int(a.memory)] + (a.ones ? " ones" : "") +
           "\n  RONDO_SEED=" + std::to_string(support::base_seed());
}

void check(std::string const& what, oracle::composition const& op, element type,
           gradient_call const& call, gradient_outcome got, oracle::gradients want, bool key,
           double terms = 0) {
    double const bound = tolerance(type);
    if (type == element::float16) leave_overflow_out(got.to.gate, want.gate);
    auto const close = [&](char const* name, oracle::values const& x, oracle::values const& y) {
        INFO(what << "\n  the gradient by " << name);
        CHECK(error(type, x, y) <= bound);
    };
    if (call.q) close("q", got.to.q, want.q);
    if (call.k && key) close("k", got.to.k, want.k);
    if (call.v) close("v", got.to.v, want.v);
    if (call.gate && terms > 0) {
        INFO(what << "\n  the gradient by the gate, of terms that are " << terms);
        CHECK(error_of_sum(got.to.gate, want.gate, terms) <= bound);
    } else if (call.gate) {
        close("gate", got.to.gate, want.gate);
    }
    if (call.beta) close("beta", got.to.beta, want.beta);
    if (call.d_in && oracle::has_state(op)) {
        close("in.s", got.to.in.s, want.in.s);
        if (op.normalized) close("in.normalizer", got.to.in.normalizer, want.in.normalizer);
        if (oracle::is_additive(op)) close("in.sum", got.to.in.sum, want.in.sum);
    }
    INFO(what);
    CHECK(got.gaps_intact);
}

void check(gradient_row const& s, problem p, gradient_call call, arrangement a) {
    if (a.ones) std::fill(p.k.begin(), p.k.end(), 1.0), call.k = false;
    round_to(a.element, p);
    round_to(a.element, call);
    auto without = call.d_out;
    for (oracle::values* x : {&without.s, &without.normalizer, &without.sum}) {
        std::fill(x->begin(), x->end(), 0.0);
    }
    auto const want = oracle::gradient(p, call.d_o, call.hands_d_out ? call.d_out : without);
    check(describe(s, p, a), s.op, a.element, call, s.backward(p, call, a), want, !a.ones,
          size_of_terms(s, p, call));
}

bool same(oracle::values const& a, oracle::values const& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

}  // namespace

TEST_CASE("gradients on the device are those of the definition, for every element type") {
    if (!present()) return;
    for (gradient_row const& s : gradient_rows()) {
        random r("cuda gradients " + s.name);
        for (element type : elements) {
            for (int repeat = 0; repeat < 2; ++repeat) {
                auto p = support::random_problem(r, s.op, 1e5);
                bool const additive = oracle::is_additive(s.op);
                if (additive && p.n.T == 0) p.in = support::random_state(r, s.op, p.n);
                if (type != element::float64) p.eps = std::max(p.eps, 1e-3);
                auto const call = support::random_gradient_call(r, p);
                arrangement a{type, r.one_of({memory::bthd, memory::bhtd, memory::scattered})};
                a.ones = s.op.update == oracle::update::outer && r.chance(0.2);
                check(s, p, call, a);
            }
        }
    }
}

TEST_CASE("gradients where kernels change: whole and ragged chunks, tiles of channels") {
    if (!present()) return;
    for (gradient_row const& s : gradient_rows()) {
        random r("cuda gradient extents " + s.name);
        for (auto [T, D, E] : {std::array<index, 3>{1, 64, 64},
                               {63, 64, 64},
                               {64, 128, 128},
                               {130, 64, 128},
                               {97, 128, 72},
                               {70, 192, 40},
                               {4, 150, 40}}) {
            index const group = r.integer(1, 2);
            auto p = support::random_problem(r, s.op, {1, group, 1, T, D, E},
                                             r.one_of({gates::mild, gates::hard}));
            if (r.chance(0.5)) p.in = support::random_state(r, s.op, p.n);
            p.eps = 1e-3;
            auto call = support::random_gradient_call(r, p);
            if (r.chance(0.5)) call.leave_states_out();
            arrangement a{r.one_of({element::bfloat16, element::bfloat16, element::float16,
                                    element::float32}),
                          r.one_of({memory::bthd, memory::bhtd})};
            check(s, p, call, a);
        }
    }
}

TEST_CASE("gradients as training asks for them: 16 bits, no states") {
    if (!present()) return;
    for (gradient_row const& s : gradient_rows()) {
        random r("cuda training " + s.name);
        for (auto [T, D, E] :
             {std::array<index, 3>{64, 64, 64}, {101, 64, 64}, {40, 128, 128}, {128, 72, 40}}) {
            for (gates kind : {gates::mild, gates::hard}) {
                auto p = support::random_problem(r, s.op, {1, 1, 1, T, D, E}, kind);
                p.eps = 1e-3;
                auto call = support::random_gradient_call(r, p);
                call.leave_states_out();
                arrangement a{element::bfloat16, memory::bthd};
                a.ones = oracle::is_additive(s.op) && r.chance(0.5);
                check(s, p, call, a);
            }
        }
    }
}

TEST_CASE("the gradient of a state handed back does not count times the scale") {
    if (!present()) return;
    for (gradient_row const& s : gradient_rows()) {
        if (!oracle::has_state(s.op)) continue;
        random r("cuda scaled gradients " + s.name);
        // All calls, readers that share keys, either of both states alone.
        for (int with = 0; with < 5; ++with) {
            index const T = with % 2 == 0 ? 130 : 97, D = with % 2 == 0 ? 64 : 128;
            index const Hq = with == 2 || with == 4 ? 4 : 2;
            // The gradients of a head's gates have most of their terms in common.
            index const batch = s.op.update == oracle::update::delta ? 3 : 1;
            auto p = support::random_problem(r, s.op, {batch, Hq, 2, T, D, D - 56 * (with % 2)},
                                             gates::mild);
            p.in = support::random_state(r, s.op, p.n);
            p.scale = 0.3;
            p.eps = 1e-3;
            auto call = support::random_gradient_call(r, p);
            call.d_in = with != 2;
            call.hands_d_out = with != 3;
            for (element type : {element::bfloat16, element::float16}) {
                check(s, p, call, {type, memory::bthd});
            }
        }
    }
}

TEST_CASE("gradients of sequences long enough for several blocks to share them") {
    if (!present()) return;
    for (gradient_row const& s : gradient_rows()) {
        random r("cuda long gradients " + s.name);
        auto p = support::random_problem(r, s.op, {1, 2, 2, 700, 64, 64}, gates::mild);
        p.eps = 1e-3;
        auto call = support::random_gradient_call(r, p);
        call.leave_states_out();
        arrangement const a{element::bfloat16, memory::bthd};
        round_to(a.element, p);
        round_to(a.element, call);
        // The plain kernel in double is checked against the definition by the cases above.
        auto const want = s.backward(p, call, {element::float64});
        check(describe(s, p, a), s.op, a.element, call, s.backward(p, call, a), want.to, true,
              size_of_terms(s, p, call));
    }
}

TEST_CASE("gradients of the delta rule in chunks: states, resets, strengths of 0") {
    if (!present()) return;
    for (gradient_row const& s : gradient_rows()) {
        bool const plain = s.op.feature == oracle::feature::identity;
        if (s.op.update != oracle::update::delta || !plain) continue;
        random r("cuda delta gradients " + s.name);
        for (auto [T, D, E] : {std::array<index, 3>{128, 64, 64},
                               {130, 128, 128},
                               {191, 72, 40},
                               {100, 64, 128},
                               {70, 64, 136},
                               {2048, 64, 64}}) {
            for (bool resets : {false, true}) {
                // The gradients of a head's gates have most of their terms in common: several heads
                // make the norm of all a measure of their rounding.
                index const batch = T < 1000 ? 2 : 1;
                auto p = support::random_problem(r, s.op, {batch, 3, 3, T, D, E}, gates::mild);
                bool const shared = s.op.decay == oracle::decay::constant;
                for (double& g : p.gate) {
                    if (resets && !shared && r.chance(0.02)) g = -oracle::infinity;
                }
                for (double& x : p.beta) x = resets && r.chance(0.2) ? 0 : x;
                p.in = support::random_state(r, s.op, p.n);
                auto call = support::random_gradient_call(r, p);
                if (resets) call.leave_states_out();
                arrangement const a{element::bfloat16, r.one_of({memory::bthd, memory::bhtd})};
                if (T < 1000) {
                    check(s, p, call, a);
                    continue;
                }
                // The plain kernel in double is checked against the definition by other cases.
                round_to(a.element, p);
                round_to(a.element, call);
                auto const want = s.backward(p, call, {element::float64});
                check(describe(s, p, a), s.op, a.element, call, s.backward(p, call, a), want.to,
                      true, size_of_terms(s, p, call));
            }
        }
    }
}

TEST_CASE("a gradient on the device that is not wanted changes nothing but its own absence") {
    if (!present()) return;
    for (gradient_row const& s : gradient_rows()) {
        random r("cuda wanted " + s.name);
        auto const p = support::small_problem(r, s.op);
        auto call = support::random_gradient_call(r, p);
        auto const want = oracle::gradient(p, call.d_o, call.d_out);
        for (unsigned wanted = 0; wanted < 32; ++wanted) {
            call.q = wanted & 1, call.k = wanted & 2, call.v = wanted & 4;
            call.gate = wanted & 8, call.beta = wanted & 16;
            arrangement const a{element::float64, memory::bthd};
            check(describe(s, p, a), s.op, a.element, call, s.backward(p, call, a), want, true);
        }
    }
}

TEST_CASE("on the device, too, a masked token or a hard reset has the gradient 0, never NaN") {
    if (!present()) return;
    for (gradient_row const& s : gradient_rows()) {
        if (!oracle::has_gate(s.op)) continue;
        random r("cuda masked gradients " + s.name);
        for (double masked_share : {0.3, 1.0}) {
            for (element type : {element::float64, element::float32, element::bfloat16}) {
                auto p = support::random_problem(r, s.op, {1, 4, 2, 70, 64, 64});
                p.in = support::random_state(r, s.op, p.n);
                for (double& g : p.gate) g = r.chance(masked_share) ? -oracle::infinity : g;
                p.eps = 1e-3;
                auto call = support::random_gradient_call(r, p);
                round_to(type, p);
                round_to(type, call);
                arrangement const a{type, memory::bthd};
                auto const got = s.backward(p, call, a);
                INFO(describe(s, p, a));
                for (std::size_t i = 0; i < p.gate.size(); ++i) {
                    if (p.gate[i] == -oracle::infinity) REQUIRE(got.to.gate[i] == 0);
                }
                // A difference of large numbers, where a decay lets nearly nothing through.
                if (type == element::float32) continue;
                auto const want = oracle::gradient(p, call.d_o, call.d_out);
                check(describe(s, p, a), s.op, type, call, got, want, true);
            }
        }
    }
}

TEST_CASE("packed sequences on the device have the gradients that each has alone") {
    if (!present()) return;
    for (gradient_row const& s : gradient_rows()) {
        if (s.op.decay == oracle::decay::constant) continue;
        random r("cuda packed gradients " + s.name);
        for (element type : {element::float64, element::bfloat16}) {
            std::vector<rondo::index> offsets{0};
            for (index n : {index(0), index(5), r.integer(33, 150), index(0), r.integer(1, 70)}) {
                offsets.push_back(offsets.back() + n);
            }
            bool const sixteen = type == element::bfloat16;
            auto p = support::random_problem(
                r, s.op, {1, 4, 2, offsets.back(), sixteen ? 64 : 9, sixteen ? 64 : 35});
            p.eps = 1e-3;
            auto call = support::random_gradient_call(r, p);
            call.leave_states_out();
            round_to(type, p);
            round_to(type, call);
            arrangement a{type, memory::bthd, false, false, offsets};
            auto const got = s.backward(p, call, a);
            index const C = oracle::gate_channels(s.op, p.n);
            auto const part = [&](oracle::values const& x, index channels, std::size_t i) {
                return support::tokens(x, p.n.T, channels, offsets[i], offsets[i + 1]);
            };
            // All sequences are measured together: one of a single token has logits that do not
            // count.
            gradient_outcome mine;
            oracle::gradients want;
            auto const join = [](oracle::values& to, oracle::values const& x) {
                to.insert(to.end(), x.begin(), x.end());
            };
            auto zero = oracle::empty_state(s.op, p.n);
            for (double& x : zero.max) x = 0;
            for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
                if (offsets[i] == offsets[i + 1]) continue;
                auto const one = support::slice(p, offsets[i], offsets[i + 1]);
                auto const exact = oracle::gradient(one, part(call.d_o, p.n.E, i), zero);
                join(want.q, exact.q), join(mine.to.q, part(got.to.q, p.n.D, i));
                join(want.k, exact.k), join(mine.to.k, part(got.to.k, p.n.D, i));
                join(want.v, exact.v), join(mine.to.v, part(got.to.v, p.n.E, i));
                join(want.gate, exact.gate), join(mine.to.gate, part(got.to.gate, C, i));
                join(want.beta, exact.beta), join(mine.to.beta, part(got.to.beta, 1, i));
            }
            check(describe(s, p, a), s.op, type, call, mine, want, true);
        }
    }
}

TEST_CASE("gradients of a multiscan on the device") {
    if (!present()) return;
    index const rows = 7, columns = 11;
    for (gradient_grid_row const& s : gradient_grid_rows()) {
        random r("cuda gradients " + s.name);
        for (element type : {element::float64, element::bfloat16}) {
            bool const sixteen = type == element::bfloat16;
            index const D = sixteen ? 64 : 9, E = sixteen ? 64 : 6;
            auto p = support::random_problem(r, s.op, {2, 4, 2, rows * columns, D, E});
            p.scale = 0.5;
            if (sixteen) p.eps = 1e-3;
            auto call = support::random_gradient_call(r, p);
            call.leave_states_out();
            round_to(type, p);
            round_to(type, call);
            auto const want = oracle::gradient_along(p, call.d_o, s.paths, rows, columns);
            auto const got = s.backward(p, call, {type}, rows, columns);
            check(s.name + (sixteen ? ", bfloat16" : ", double"), s.op, type, call, got, want,
                  true);
        }
    }
}

TEST_CASE("gradients on the device are the same bits every time") {
    if (!present()) return;
    for (gradient_row const& s : gradient_rows()) {
        random r("cuda gradient bits " + s.name);
        // Heads that share keys take other kernels than those that do not.
        index const heads = r.integer(1, 2) * 2;
        auto p = support::random_problem(r, s.op, {2, heads, 2, 200, 64, 64});
        auto call = support::random_gradient_call(r, p);
        call.leave_states_out();
        for (element type : {element::float32, element::bfloat16}) {
            arrangement const a{type, memory::bthd};
            auto const want = s.backward(p, call, a);
            for (int repeat = 1; repeat < 10; ++repeat) {
                auto const got = s.backward(p, call, a);
                INFO(describe(s, p, a));
                CHECK(same(got.to.q, want.to.q));
                CHECK(same(got.to.k, want.to.k));
                CHECK(same(got.to.v, want.to.v));
                CHECK(same(got.to.gate, want.to.gate));
                CHECK(same(got.to.beta, want.to.beta));
                CHECK(same(got.to.in.s, want.to.in.s));
            }
        }
    }
}

TEST_CASE("backward takes as much memory as scratch_bytes says") {
    if (!present()) return;
    for (memory_use const& x : memory_of_backward()) {
        INFO(x.name << ": " << x.promised << " bytes said, " << x.used << " taken");
        std::size_t const rounding = 4096;  // of the pool, for all blocks of a call
        CHECK(x.used <= x.promised + rounding);
        CHECK(x.promised <= x.used + x.used / 2);
    }
}

TEST_CASE("the gate's gradient on the device does not lose its digits over 32768 tokens") {
    if (!present()) return;
    for (gradient_row const& s : gradient_rows()) {
        bool const plain = s.op.feature == oracle::feature::identity &&
                           s.op.placement == oracle::placement::on_read;
        if (!oracle::has_gate(s.op) || !plain) continue;
        random r("cuda very long " + s.name);
        auto p = support::random_problem(r, s.op, {1, 1, 1, 32768, 64, 64});
        bool const additive = oracle::is_additive(s.op);
        for (double& g : p.gate) g = additive ? r.uniform(-8, 8) : r.uniform(-0.02, 0);
        p.eps = 1e-3;
        auto call = support::random_gradient_call(r, p);
        call.leave_states_out();
        for (element type : {element::float32, element::bfloat16}) {
            round_to(type, p);
            round_to(type, call);
            auto const want = s.backward(p, call, {element::float64});
            auto const got = s.backward(p, call, {type});
            double const terms = size_of_terms(s, p, call);
            double const worst = terms > 0 ? error_of_sum(got.to.gate, want.to.gate, terms)
                                           : error(type, got.to.gate, want.to.gate);
            std::printf("%-100s T = 32768, %s: %.1e of the gate's gradient\n", s.name.c_str(),
                        type == element::float32 ? "float" : "bfloat16", worst);
            INFO(s.name);
            CHECK(worst <= tolerance(type));
        }
    }
}

}  // namespace device
