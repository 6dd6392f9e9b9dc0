#include "support/subjects.hpp"

namespace support {
namespace {

namespace rd = rondo;
using decay = rd::decay::constant_t;

}  // namespace

void add_decay_constant(std::vector<subject>& all) {
    add_on_read<decay>(all);
    add_on_write<decay>(all);
    add_delta<decay>(all);
    add_features<decay, rd::update::delta_t, rd::anticausal_t>(all);
}

void add_grids_constant(std::vector<grid_subject>& all) {
    all.push_back(along<compiled<decay, rd::anticausal_t, rd::quadratic_t>>(rd::path::cross));
    add_curves<decay, rd::decay::on_write_t, rd::feature::silu_half_unit_t>(all);
}

}  // namespace support
