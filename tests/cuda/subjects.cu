#include "cuda/run.cuh"

namespace device {
namespace {

namespace rd = rondo;

template <class... Policies>
void add(std::vector<subject>& all) {
    all.push_back(on_device<Policies...>::row());
}

/// Every decay meets every direction, and the placements, normalisations, feature maps and the
/// delta update each meet every decay.
template <class Decay>
void add_decay(std::vector<subject>& all) {
    add<Decay, rd::causal_t>(all);
    add<Decay, rd::anticausal_t, rd::normalize::sum_t, rd::feature::elu_plus_one_t>(all);
    add<Decay, rd::bidirectional_t>(all);
}

template <class Decay>
void add_multiplicative(std::vector<subject>& all) {
    add_decay<Decay>(all);
    add<Decay, rd::decay::on_write_t, rd::causal_t, rd::feature::silu_t>(all);
    add<Decay, rd::decay::on_write_t, rd::bidirectional_t, rd::normalize::sum_t,
        rd::feature::silu_half_unit_t>(all);
    add<Decay, rd::update::delta_t, rd::causal_t>(all);
    add<Decay, rd::update::delta_t, rd::decay::on_write_t, rd::anticausal_t, rd::feature::relu_t>(
        all);
}

}  // namespace

std::vector<subject> const& subjects() {
    static std::vector<subject> const table = [] {
        std::vector<subject> all;
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

std::vector<grid_subject> const& grid_subjects() {
    static std::vector<grid_subject> const table{
        on_device<rd::decay::scalar_t>::along(rd::path::cross),
        on_device<rd::decay::vector_t, rd::normalize::sum_t, rd::feature::elu_plus_one_t>::along(
            rd::path::cross),
        on_device<rd::decay::none_t, rd::bidirectional_t>::along(rd::path::raster,
                                                                 rd::path::column_reversed)};
    return table;
}

namespace {

template <class T>
void round_all(problem& p) {
    using A = rd::accumulator_t<T>;
    for (oracle::values* x : {&p.q, &p.k, &p.v, &p.gate, &p.beta}) {
        for (double& a : *x) a = double(static_cast<T>(a));
    }
    for (oracle::values* x : {&p.in.s, &p.in.normalizer, &p.in.max, &p.in.sum}) {
        for (double& a : *x) a = double(static_cast<A>(a));
    }
}

}  // namespace

bool scratch_is_known() {
    constexpr rd::index tokens = 100, heads = 3, channels = 64;
    std::vector<Eigen::bfloat16> x(tokens * heads * channels), y(x.size());
    auto const v = rd::bthd(x.data(), 1, tokens, heads, channels);
    auto const o = rd::bthd(y.data(), 1, tokens, heads, channels);
    float numbers[heads] = {};
    rd::view<float, 1> const gates(numbers, {heads});
    constexpr auto once = rd::attention(rd::decay::constant);
    constexpr auto twice = rd::attention(rd::decay::constant, rd::bidirectional);
    return rd::cuda::scratch_bytes(once, {v, v, v, gates}, o) == 0 &&
           rd::cuda::scratch_bytes(twice, {v, v, v, gates}, o) >=
               std::size_t(tokens * heads * channels) * sizeof(float);
}

void round_to(element type, problem& p) {
    switch (type) {
        case element::float32: return round_all<float>(p);
        case element::float64: return round_all<double>(p);
        case element::bfloat16: return round_all<Eigen::bfloat16>(p);
        case element::float16: return round_all<Eigen::half>(p);
    }
}

}  // namespace device
