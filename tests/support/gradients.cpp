#include "support/differentiated.hpp"

namespace support {

std::vector<gradient_subject> const& gradient_subjects() {
    static std::vector<gradient_subject> const table = [] {
        std::vector<gradient_subject> all;
        add_gradients_none(all);
        add_gradients_constant(all);
        add_gradients_scalar(all);
        add_gradients_vector(all);
        add_gradients_additive(all);
        return all;
    }();
    return table;
}

}  // namespace support
