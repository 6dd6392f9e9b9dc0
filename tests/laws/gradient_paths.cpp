#include "oracle/gradient_paths.hpp"
#include "support/differentiated.hpp"
#include "support/gradient_law.hpp"

namespace support {
namespace {

namespace rd = rondo;
using oracle::path;

template <class... Policies>
void check_cross() {
    using subject = differentiated<Policies...>;
    random r("gradient paths " + subject::name());
    index const rows = 5, columns = 7;
    auto const p = random_problem(r, subject::meaning(), {2, 4, 2, rows * columns, 4, 3});
    auto call = random_gradient_call(r, p);
    call.leave_states_out();
    auto const want = oracle::gradient_along(
        p, call.d_o, {path::raster, path::raster_reversed, path::column, path::column_reversed},
        rows, columns);
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
