#include "support/law.hpp"

// The oracle is written twice, as weights and as a recurrence: here the two meet. And a few numbers
// that can be checked by hand.

namespace support {

namespace {

using oracle::decay;
using oracle::direction;
using oracle::placement;

oracle::composition compose(decay d, placement p = placement::on_read,
                            direction way = direction::causal) {
    oracle::composition op;
    op.decay = d;
    op.placement = p;
    op.direction = way;
    return op;
}

/// One head, one channel, q = k = 1.
problem by_hand(oracle::composition const& op, values v, values gate) {
    problem p;
    p.op = op;
    p.n.T = static_cast<index>(v.size());
    p.q = p.k = values(v.size(), 1);
    p.v = std::move(v);
    p.gate = std::move(gate);
    p.in = oracle::empty_state(p.op, p.n);
    return p;
}

values outputs(oracle::composition const& op, values v, values gate) {
    return oracle::forward(by_hand(op, std::move(v), std::move(gate))).o;
}

double const half = std::log(0.5);

}  // namespace

TEST_CASE("oracle: numbers checked by hand") {
    CHECK(error(outputs(compose(decay::none), {1, 10, 100}, {}), {1, 11, 111}) < 1e-15);
    CHECK(error(outputs(compose(decay::constant), {1, 10, 100}, {half}), {1, 10.5, 105.25}) <
          1e-15);
    // on_read token 1 is halved when token 2 reads; on_write when it was written
    values const gate{0, 0, half};
    CHECK(error(outputs(compose(decay::scalar), {1, 10, 100}, gate), {1, 11, 105.5}) < 1e-15);
    CHECK(error(outputs(compose(decay::scalar, placement::on_write), {1, 10, 100}, gate),
                {1, 11, 111}) < 1e-15);
    CHECK(error(outputs(compose(decay::scalar, placement::on_write, direction::anticausal),
                        {1, 10, 100}, gate),
                {61, 60, 100}) < 1e-15);
    CHECK(error(outputs(compose(decay::scalar, placement::on_read, direction::bidirectional),
                        {1, 10, 100}, {half, half, half}),
                {31, 60.5, 105.25}) < 1e-15);
    // weights 1, 3 and 0
    CHECK(error(outputs(compose(decay::additive), {4, 8, 9}, {0, std::log(3.0), -oracle::infinity}),
                {4, 7, 7}) < 1e-15);
    CHECK(error(outputs(compose(decay::additive, placement::on_read, direction::bidirectional),
                        {4, 8, 9}, {0, std::log(3.0), -oracle::infinity}),
                {7, 7, 7}) < 1e-15);
    CHECK(outputs(compose(decay::additive), {4, 8}, values(2, -oracle::infinity)) == values{0, 0});
}

TEST_CASE("oracle: the delta update replaces what its key knew") {
    auto op = compose(decay::none);
    op.update = oracle::update::delta;
    auto p = by_hand(op, {5, 7, 9}, {});
    p.beta = {1, 1, 0.5};
    CHECK(oracle::forward(p).o == values{5, 7, 8});
    CHECK(oracle::forward(p).out.s == values{8});
}

TEST_CASE("oracle: weights and recurrence agree") {
    for (decay d : {decay::none, decay::constant, decay::scalar, decay::vector}) {
        for (placement where : {placement::on_read, placement::on_write}) {
            for (direction way : {direction::causal, direction::anticausal}) {
                auto op = compose(d, where, way);
                random r("oracle");
                auto p = random_problem(r, op, {2, 4, 2, 30, 3, 4}, gates::hard);
                p.in = random_state(r, op, p.n);
                auto const h = oracle::head_of(p, 1, 2);
                CHECK(error(oracle::read_outer(op, h).numerator,
                            oracle::read_delta(op, h).numerator) < 1e-13);
            }
        }
    }
}

TEST_CASE("oracle: handing the state over is the whole") {
    for (decay d : {decay::scalar, decay::vector, decay::additive, decay::additive_scalar}) {
        for (placement where : {placement::on_read, placement::on_write}) {
            for (gates kind : {gates::mild, gates::hard}) {
                auto const op = compose(d, where);
                random r("oracle split");
                auto const p = random_problem(r, op, {1, 2, 2, 20, 3, 2}, kind);
                auto const whole = oracle::forward(p);
                for (index at = 0; at <= p.n.T; ++at) {
                    auto const left = oracle::forward(slice(p, 0, at));
                    auto right = slice(p, at, p.n.T);
                    right.in = left.out;
                    auto const rest = oracle::forward(right);
                    CHECK(error(joined(left.o, rest.o, p.n, at), whole.o) < 1e-13);
                    CHECK(error(rest.out, whole.out, op) < 1e-13);
                }
            }
        }
    }
}

}  // namespace support
