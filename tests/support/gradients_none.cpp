#include "support/differentiated.hpp"

void support::add_gradients_none(std::vector<gradient_subject>& all) {
    add_gradients<rondo::decay::none_t, false>(all);
}
