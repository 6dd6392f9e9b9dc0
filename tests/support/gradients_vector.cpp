#include "support/differentiated.hpp"

void support::add_gradients_vector(std::vector<gradient_subject>& all) {
    namespace rd = rondo;
    add_gradients<rd::decay::vector_t, false>(all);
    using vector = rd::decay::vector_t;
    all.push_back(in_some_forms<vector, rd::causal_t, rd::feature::exp_t>());
    all.push_back(in_some_forms<vector, rd::causal_t, rd::feature::relu_t>());
    all.push_back(in_some_forms<vector, rd::causal_t, rd::feature::silu_half_unit_t>());
}
