#pragma once

// The operators that the device's tables share.

#include <rondo/rondo.hpp>

namespace device {

template <class... Policies>
struct policies {};

/// Every decay meets every direction, and the placements, normalisations, feature maps and the
/// delta update each meet every decay: add(policies) for each.
template <class Decay, class Add>
void for_each_plain_operator(Add add) {
    namespace rd = rondo;
    add(policies<Decay, rd::causal_t>{});
    add(policies<Decay, rd::anticausal_t, rd::normalize::sum_t, rd::feature::elu_plus_one_t>{});
    add(policies<Decay, rd::bidirectional_t>{});
}

template <class Decay, class Add>
void for_each_multiplicative_operator(Add add) {
    namespace rd = rondo;
    using on_write = rd::decay::on_write_t;
    for_each_plain_operator<Decay>(add);
    add(policies<Decay, on_write, rd::causal_t, rd::feature::silu_t>{});
    add(policies<Decay, on_write, rd::bidirectional_t, rd::normalize::sum_t,
                 rd::feature::silu_half_unit_t>{});
    add(policies<Decay, rd::update::delta_t, rd::causal_t>{});
    add(policies<Decay, rd::update::delta_t, on_write, rd::anticausal_t, rd::feature::relu_t>{});
}

template <class Add>
void for_each_operator(Add add) {
    namespace rd = rondo;
    for_each_multiplicative_operator<rd::decay::none_t>(add);
    for_each_multiplicative_operator<rd::decay::constant_t>(add);
    for_each_multiplicative_operator<rd::decay::scalar_t>(add);
    for_each_multiplicative_operator<rd::decay::vector_t>(add);
    for_each_plain_operator<rd::decay::additive_t>(add);
    for_each_plain_operator<rd::decay::additive_scalar_t>(add);
    add(policies<rd::decay::additive_t, rd::bidirectional_t, rd::normalize::sum_t,
                 rd::feature::exp_t>{});
}

}  // namespace device
