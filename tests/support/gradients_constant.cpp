#include "support/differentiated.hpp"

void support::add_gradients_constant(std::vector<gradient_subject>& all) {
    add_gradients<rondo::decay::constant_t, false>(all);
}
