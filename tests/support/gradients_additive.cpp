#include "support/differentiated.hpp"

void support::add_gradients_additive(std::vector<gradient_subject>& all) {
    namespace rd = rondo;
    add_gradients<rd::decay::additive_t, true>(all);
    add_gradients<rd::decay::additive_scalar_t, true>(all);
    using read = rd::normalize::sum_t;
    all.push_back(in_some_forms<rd::decay::additive_t, read, rd::bidirectional_t,
                                rd::feature::silu_half_unit_t>());
}
