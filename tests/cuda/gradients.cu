#include "cuda/gradients.cuh"

namespace device {
namespace {

namespace rd = rondo;

template <class... Policies>
void add(std::vector<gradient_row>& all) {
    all.push_back(gradients_on_device<Policies...>::row());
}

template <class Decay>
void add_decay(std::vector<gradient_row>& all) {
    add<Decay, rd::causal_t>(all);
    add<Decay, rd::anticausal_t, rd::normalize::sum_t, rd::feature::elu_plus_one_t>(all);
    add<Decay, rd::anticausal_t>(all);
    add<Decay, rd::bidirectional_t>(all);
}

template <class Decay>
void add_multiplicative(std::vector<gradient_row>& all) {
    add_decay<Decay>(all);
    add<Decay, rd::decay::on_write_t>(all);
    add<Decay, rd::decay::on_write_t, rd::causal_t, rd::feature::silu_t>(all);
    add<Decay, rd::decay::on_write_t, rd::bidirectional_t, rd::normalize::sum_t,
        rd::feature::silu_half_unit_t>(all);
    add<Decay, rd::update::delta_t, rd::causal_t>(all);
    add<Decay, rd::update::delta_t, rd::decay::on_write_t, rd::anticausal_t, rd::feature::relu_t>(
        all);
}

}  // namespace

std::vector<gradient_row> const& gradient_rows() {
    static std::vector<gradient_row> const table = [] {
        std::vector<gradient_row> all;
        add_multiplicative<rd::decay::none_t>(all);
        add_multiplicative<rd::decay::constant_t>(all);
        add_multiplicative<rd::decay::scalar_t>(all);
        add_multiplicative<rd::decay::vector_t>(all);
        add_decay<rd::decay::additive_t>(all);
        add_decay<rd::decay::additive_scalar_t>(all);
        add<rd::decay::additive_t, rd::bidirectional_t, rd::normalize::sum_t, rd::feature::exp_t>(
            all);
        return all;
    }();
    return table;
}

std::vector<gradient_grid_row> const& gradient_grid_rows() {
    static std::vector<gradient_grid_row> const table{
        gradients_on_device<rd::decay::constant_t>::along(rd::path::cross),
        gradients_on_device<rd::decay::vector_t, rd::normalize::sum_t,
                            rd::feature::elu_plus_one_t>::along(rd::path::cross),
        gradients_on_device<rd::decay::scalar_t, rd::decay::on_write_t, rd::bidirectional_t>::along(
            rd::path::raster, rd::path::column_reversed),
        gradients_on_device<rd::decay::additive_t>::along(rd::path::cross)};
    return table;
}

namespace {

template <class T>
void round_call(gradient_call& call) {
    using A = rd::accumulator_t<T>;
    for (double& x : call.d_o) x = double(static_cast<T>(x));
    for (oracle::values* x : {&call.d_out.s, &call.d_out.normalizer, &call.d_out.sum}) {
        for (double& a : *x) a = double(static_cast<A>(a));
    }
}

}  // namespace

void round_to(element type, gradient_call& call) {
    switch (type) {
        case element::float32: return round_call<float>(call);
        case element::float64: return round_call<double>(call);
        case element::bfloat16: return round_call<Eigen::bfloat16>(call);
        case element::float16: return round_call<Eigen::half>(call);
    }
}

}  // namespace device
