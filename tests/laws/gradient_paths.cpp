#include "oracle/path.hpp"
#include "support/differentiated.hpp"
#include "support/gradient_law.hpp"

namespace support {
namespace {

namespace rd = rondo;
using oracle::path;

/// The oracle's gradient: each path its own, all by the division that they share.
oracle::gradients gradient_along(problem const& p, gradient_call const& call,
                                 std::vector<path> const& paths, index rows, index columns) {
    auto const& n = p.n;
    index const C = oracle::gate_channels(p.op, n);
    std::vector<std::vector<index>> orders;
    oracle::reading all{values(n.B * n.Hq * n.T * n.E), values(n.B * n.Hq * n.T)};
    for (path way : paths) {
        auto const order = oracle::visits(way, rows, columns);
        auto const one = oracle::read(oracle::permuted(p, order));
        oracle::add_block(all.numerator, 0,
                          oracle::gathered(one.numerator, oracle::inverse(order), n.E));
        oracle::add_block(all.denominator, 0,
                          oracle::gathered(one.denominator, oracle::inverse(order), 1));
        orders.push_back(order);
    }
    oracle::gradients sum{values(p.q.size()),    values(p.k.size()),    values(p.v.size()),
                          values(p.gate.size()), values(p.beta.size()), {}};
    for (auto const& order : orders) {
        auto const back = oracle::inverse(order);
        oracle::reading const shared{oracle::gathered(all.numerator, order, n.E),
                                     oracle::gathered(all.denominator, order, 1)};
        auto const one =
            oracle::gradient(oracle::permuted(p, order), oracle::gathered(call.d_o, order, n.E),
                             oracle::empty_state(p.op, n), shared);
        oracle::add_block(sum.q, 0, oracle::gathered(one.q, back, n.D));
        oracle::add_block(sum.k, 0, oracle::gathered(one.k, back, n.D));
        oracle::add_block(sum.v, 0, oracle::gathered(one.v, back, n.E));
        bool const constant = p.op.decay == oracle::decay::constant;
        oracle::add_block(sum.gate, 0, constant ? one.gate : oracle::gathered(one.gate, back, C));
        oracle::add_block(sum.beta, 0, oracle::gathered(one.beta, back, 1));
    }
    return sum;
}

template <class... Policies>
void check_cross() {
    using subject = differentiated<Policies...>;
    random r("gradient paths " + subject::name());
    index const rows = 5, columns = 7;
    auto const p = random_problem(r, subject::meaning(), {2, 4, 2, rows * columns, 4, 3});
    auto call = random_gradient_call(r, p);
    call.states = false;
    auto const want = gradient_along(
        p, call, {path::raster, path::raster_reversed, path::column, path::column_reversed}, rows,
        columns);
    for (int repeat = 0; repeat < 4; ++repeat) {
        auto const a = random_arrangement(r);
        auto const got = subject::multiscan(p, call, a, rd::grid{rows, columns}, rd::path::cross);
        check_gradients(subject::name() + "\n  " + describe(a), got, want, p.op, call, 1e-9);
    }
}

}  // namespace

TEST_CASE("gradients of a multiscan are summed over its paths") {
    check_cross<rd::decay::vector_t>();
    check_cross<rd::decay::constant_t, rd::decay::on_write_t>();
    check_cross<rd::decay::additive_t>();
    check_cross<rd::decay::scalar_t, rd::update::delta_t>();
}

TEST_CASE("gradients of a multiscan share the division") {
    check_cross<rd::decay::vector_t, rd::normalize::sum_t, rd::feature::elu_plus_one_t>();
    check_cross<rd::decay::scalar_t, rd::decay::on_write_t, rd::bidirectional_t,
                rd::normalize::sum_t, rd::feature::silu_half_unit_t>();
}

}  // namespace support
