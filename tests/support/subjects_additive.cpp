#include "support/subjects.hpp"

namespace support {
namespace {

namespace rd = rondo;

}  // namespace

void add_decay_additive(std::vector<subject>& all) {
    add_on_read<rd::decay::additive_t>(all);
    add_on_read<rd::decay::additive_scalar_t>(all);
    add_features<rd::decay::additive_t, rd::normalize::sum_t, rd::bidirectional_t>(all);
}

void add_grids_additive(std::vector<grid_subject>& all) {
    all.push_back(along<compiled<rd::decay::additive_t, rd::chunkwise_t<16>>>(rd::path::cross));
}

}  // namespace support
