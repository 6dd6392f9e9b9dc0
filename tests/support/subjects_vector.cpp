#include "support/subjects.hpp"

namespace support {
namespace {

namespace rd = rondo;
using decay = rd::decay::vector_t;

}  // namespace

void add_decay_vector(std::vector<subject>& all) {
    add_on_read<decay>(all);
    add_on_write<decay>(all);
    add_delta<decay>(all);
    add_features<decay, rd::causal_t>(all);
}

void add_grids_vector(std::vector<grid_subject>& all) {
    using gla = compiled<decay>;
    using gla_sum = compiled<decay, rd::normalize::sum_t, rd::feature::elu_plus_one_t>;
    all.push_back(along<gla>(rd::path::raster));
    all.push_back(along<gla>(rd::path::raster_reversed));
    all.push_back(along<gla>(rd::path::column));
    all.push_back(along<gla>(rd::path::column_reversed));
    all.push_back(along<gla>(rd::path::column, rd::path::raster));
    all.push_back(along<gla>(rd::path::cross));
    all.push_back(along<gla_sum>(rd::path::cross));
}

}  // namespace support
