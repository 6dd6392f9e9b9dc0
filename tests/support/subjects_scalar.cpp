#include "support/subjects.hpp"

namespace support {
namespace {

namespace rd = rondo;
using decay = rd::decay::scalar_t;

}  // namespace

void add_decay_scalar(std::vector<subject>& all) {
    add_on_read<decay>(all);
    add_on_write<decay>(all);
    add_delta<decay>(all);
}

void add_grids_scalar(std::vector<grid_subject>& all) {
    using lion = compiled<decay, rd::decay::on_write_t, rd::bidirectional_t>;
    using lion_sum = compiled<decay, rd::decay::on_write_t, rd::bidirectional_t,
                              rd::normalize::sum_t, rd::feature::silu_half_unit_t>;
    all.push_back(along<lion>(rd::path::cross));
    all.push_back(along<lion_sum>(rd::path::cross));
    all.push_back(along<compiled<decay, rd::update::delta_t>>(rd::path::cross));
    add_curves<decay, rd::decay::on_write_t, rd::feature::silu_half_unit_t>(all);
}

}  // namespace support
