#pragma once

// What each policy of the library means to the oracle, and its name in reports.

#include "oracle/path.hpp"

#include <rondo/decay.hpp>
#include <rondo/direction.hpp>
#include <rondo/feature.hpp>
#include <rondo/form.hpp>
#include <rondo/normalize.hpp>
#include <rondo/path.hpp>
#include <rondo/update.hpp>

#include <string>

namespace support {

using word = std::string;
using meaning = oracle::composition;

inline word say(rondo::decay::none_t, meaning& op) {
    op.decay = oracle::decay::none;
    return "decay::none";
}
inline word say(rondo::decay::constant_t, meaning& op) {
    op.decay = oracle::decay::constant;
    return "decay::constant";
}
inline word say(rondo::decay::scalar_t, meaning& op) {
    op.decay = oracle::decay::scalar;
    return "decay::scalar";
}
inline word say(rondo::decay::vector_t, meaning& op) {
    op.decay = oracle::decay::vector;
    return "decay::vector";
}
inline word say(rondo::decay::additive_t, meaning& op) {
    op.decay = oracle::decay::additive;
    return "decay::additive";
}
inline word say(rondo::decay::additive_scalar_t, meaning& op) {
    op.decay = oracle::decay::additive_scalar;
    return "decay::additive_scalar";
}

inline word say(rondo::decay::on_read_t, meaning& op) {
    op.placement = oracle::placement::on_read;
    return "decay::on_read";
}
inline word say(rondo::decay::on_write_t, meaning& op) {
    op.placement = oracle::placement::on_write;
    return "decay::on_write";
}

inline word say(rondo::causal_t, meaning& op) {
    op.direction = oracle::direction::causal;
    return "causal";
}
inline word say(rondo::anticausal_t, meaning& op) {
    op.direction = oracle::direction::anticausal;
    return "anticausal";
}
inline word say(rondo::bidirectional_t, meaning& op) {
    op.direction = oracle::direction::bidirectional;
    return "bidirectional";
}

inline word say(rondo::normalize::none_t, meaning& op) {
    op.normalized = false;
    return "normalize::none";
}
inline word say(rondo::normalize::sum_t, meaning& op) {
    op.normalized = true;
    return "normalize::sum";
}

inline word say(rondo::update::outer_t, meaning& op) {
    op.update = oracle::update::outer;
    return "update::outer";
}
inline word say(rondo::update::delta_t, meaning& op) {
    op.update = oracle::update::delta;
    return "update::delta";
}

inline word say(rondo::feature::identity_t, meaning& op) {
    op.feature = oracle::feature::identity;
    return "feature::identity";
}
inline word say(rondo::feature::elu_plus_one_t, meaning& op) {
    op.feature = oracle::feature::elu_plus_one;
    return "feature::elu_plus_one";
}
inline word say(rondo::feature::silu_t, meaning& op) {
    op.feature = oracle::feature::silu;
    return "feature::silu";
}
inline word say(rondo::feature::exp_t, meaning& op) {
    op.feature = oracle::feature::exp;
    return "feature::exp";
}
inline word say(rondo::feature::relu_t, meaning& op) {
    op.feature = oracle::feature::relu;
    return "feature::relu";
}
inline word say(rondo::feature::silu_half_unit_t, meaning& op) {
    op.feature = oracle::feature::silu_half_unit;
    return "feature::silu_half_unit";
}

inline word say(rondo::recurrent_t, meaning&) { return "recurrent"; }
inline word say(rondo::quadratic_t, meaning&) { return "quadratic"; }
template <rondo::index C>
word say(rondo::chunkwise_t<C>, meaning&) {
    return "chunkwise<" + std::to_string(C) + ">";
}

using way = std::vector<oracle::path>;
inline word say(rondo::path::raster_t, way& to) {
    to.push_back(oracle::path::raster);
    return "path::raster";
}
inline word say(rondo::path::raster_reversed_t, way& to) {
    to.push_back(oracle::path::raster_reversed);
    return "path::raster_reversed";
}
inline word say(rondo::path::column_t, way& to) {
    to.push_back(oracle::path::column);
    return "path::column";
}
inline word say(rondo::path::column_reversed_t, way& to) {
    to.push_back(oracle::path::column_reversed);
    return "path::column_reversed";
}
inline word say(rondo::path::snake_t, way& to) {
    to.push_back(oracle::path::snake);
    return "path::snake";
}
inline word say(rondo::path::snake_column_t, way& to) {
    to.push_back(oracle::path::snake_column);
    return "path::snake_column";
}
inline word say(rondo::path::cross_t, way& to) {
    for (auto way : {oracle::path::raster, oracle::path::raster_reversed, oracle::path::column,
                     oracle::path::column_reversed})
        to.push_back(way);
    return "path::cross";
}

}  // namespace support
