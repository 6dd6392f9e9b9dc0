#include "cuda/operators.cuh"
#include "cuda/run.cuh"

namespace device {
namespace rd = rondo;

std::vector<subject> const& subjects() {
    static std::vector<subject> const table = [] {
        std::vector<subject> all;
        for_each_operator([&]<class... Policies>(policies<Policies...>) {
            all.push_back(on_device<Policies...>::row());
        });
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
               std::size_t(heads * ((tokens + 63) / 64) * channels * channels) * 2;
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
