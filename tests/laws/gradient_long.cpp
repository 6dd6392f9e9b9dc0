#include "support/differentiated.hpp"
#include "support/gradient_law.hpp"

#include <cstdio>

namespace support {

namespace {

namespace rd = rondo;

problem long_problem(random& r, oracle::composition const& op, index T) {
    auto p = random_problem(r, op, {1, 1, 1, T, 8, 8});
    for (double& g : p.gate) g = oracle::is_additive(op) ? r.uniform(-8, 8) : r.uniform(-0.02, 0);
    round_to_float(p);
    return p;
}

arrangement in(element type) { return {type, place::simd}; }

/// float at T = 2048 against the definition.
template <class... Policies>
void check_definition() {
    using subject = differentiated<Policies...>;
    random r("long " + subject::name());
    auto const p = long_problem(r, subject::meaning(), 2048);
    auto call = random_gradient_call(r, p);
    round_to_float(call);
    auto const want = oracle::gradient(p, call.d_o, call.d_out);
    for (element type : {element::float32, element::float64}) {
        check_gradients(subject::name(), subject::backward(p, call, in(type)), want, p.op, call,
                        type == element::float32 ? 5e-5 : 1e-9);
    }
}

/// The gate's gradient in float at T = 32768 against the same in double.
template <class... Policies>
void check_gate() {
    using subject = differentiated<Policies...>;
    random r("very long " + subject::name());
    auto const p = long_problem(r, subject::meaning(), 32768);
    auto call = random_gradient_call(r, p);
    round_to_float(call);
    auto const want = subject::backward(p, call, in(element::float64));
    auto const got = subject::backward(p, call, in(element::float32));
    double const worst = error(got.to.gate, want.to.gate);
    std::printf("%s: the gate's gradient at T = 32768 in float, error %.1e\n",
                subject::name().c_str(), worst);
    CHECK(worst <= 1e-3);
}

}  // namespace

TEST_CASE("gradients of 2048 tokens in float are those of the definition") {
    check_definition<rd::decay::none_t>();
    check_definition<rd::decay::constant_t>();
    check_definition<rd::decay::scalar_t, rd::normalize::sum_t, rd::feature::elu_plus_one_t>();
    check_definition<rd::decay::vector_t>();
    check_definition<rd::decay::additive_t>();
    check_definition<rd::decay::additive_scalar_t, rd::bidirectional_t>();
    check_definition<rd::decay::scalar_t, rd::update::delta_t>();
}

TEST_CASE("the gate's gradient does not lose its digits over 32768 tokens") {
    check_gate<rd::decay::constant_t>();
    check_gate<rd::decay::scalar_t>();
    check_gate<rd::decay::vector_t>();
    check_gate<rd::decay::vector_t, rd::bidirectional_t>();
    check_gate<rd::decay::additive_t>();
    check_gate<rd::decay::additive_scalar_t, rd::bidirectional_t>();
    check_gate<rd::decay::scalar_t, rd::update::delta_t>();
}

}  // namespace support
