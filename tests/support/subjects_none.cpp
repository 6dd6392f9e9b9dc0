#include "support/subjects.hpp"

namespace support {
namespace {

namespace rd = rondo;
using decay = rd::decay::none_t;

}  // namespace

void add_decay_none(std::vector<subject>& all) {
    add_on_read<decay>(all);
    add_on_write<decay>(all);
    add_delta<decay>(all);
}

void add_grids_none(std::vector<grid_subject>& all) {
    all.push_back(along<compiled<decay, rd::recurrent_t>>(rd::path::cross));
    add_curves<decay, rd::feature::elu_plus_one_t>(all);
}

}  // namespace support
