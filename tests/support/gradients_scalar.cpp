#include "support/differentiated.hpp"

void support::add_gradients_scalar(std::vector<gradient_subject>& all) {
    add_gradients<rondo::decay::scalar_t, false>(all);
}
