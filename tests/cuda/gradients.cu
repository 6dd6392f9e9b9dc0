#include "cuda/gradients.cuh"
#include "cuda/operators.cuh"

namespace device {
namespace {

namespace rd = rondo;

template <class... Decays, class Visit>
void for_each_of(policies<Decays...>, Visit visit) {
    (visit(Decays{}), ...);
}

}  // namespace

std::vector<gradient_row> const& gradient_rows() {
    static std::vector<gradient_row> const table = [] {
        std::vector<gradient_row> all;
        auto const add = [&]<class... Policies>(policies<Policies...>) {
            all.push_back(gradients_on_device<Policies...>::row());
        };
        for_each_operator(add);
        // Without normalisation and feature maps, which tensor cores take.
        using namespace rd::decay;
        for_each_of(policies<none_t, constant_t, scalar_t, vector_t>{}, [&]<class Decay>(Decay) {
            add(policies<Decay, rd::anticausal_t>{});
            add(policies<Decay, on_write_t>{});
        });
        for_each_of(policies<additive_t, additive_scalar_t>{},
                    [&]<class Decay>(Decay) { add(policies<Decay, rd::anticausal_t>{}); });
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
