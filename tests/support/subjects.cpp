#include "support/subjects.hpp"

namespace support {

std::vector<subject> const& subjects() {
    static std::vector<subject> const table = [] {
        std::vector<subject> all;
        add_decay_none(all);
        add_decay_constant(all);
        add_decay_scalar(all);
        add_decay_vector(all);
        add_decay_additive(all);
        return all;
    }();
    return table;
}

std::vector<grid_subject> const& grid_subjects() {
    static std::vector<grid_subject> const table = [] {
        std::vector<grid_subject> all;
        add_grids_none(all);
        add_grids_constant(all);
        add_grids_scalar(all);
        add_grids_vector(all);
        add_grids_additive(all);
        return all;
    }();
    return table;
}

subject const* find(composition const& op) {
    for (subject const& s : subjects()) {
        if (s.op == op) return &s;
    }
    return nullptr;
}

}  // namespace support
