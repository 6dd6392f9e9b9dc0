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
            add(policies<Decay, rd::update::delta_t, on_write_t, rd::anticausal_t>{});
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

/// One call on zeros, of extents that take whole pages of every part of the memory.
template <class Operator>
memory_use memory_of(char const* name, Operator op) {
    static constexpr auto what = Operator::composition;
    using T = Eigen::bfloat16;
    constexpr rd::index time = 2048, heads = 4, depth = 64, size = time * heads * depth;
    std::vector<T> zeros(std::size_t(11 * size), T(0));
    copied<T> memory(zeros);
    auto const rows = [&](rd::index i) {
        return memory.at(rd::bthd(zeros.data() + i * size, 1, time, heads, depth));
    };
    auto const each = [&](auto make, rd::index i) {
        auto const scalars = [&](rd::index at) {
            return memory.at(rd::bth(zeros.data() + at * size, 1, time, heads));
        };
        if constexpr (what.per_channel() && what.delta) {
            return make(rows(i), rows(i + 1), rows(i + 2), rows(i + 3), scalars(i + 4));
        } else if constexpr (what.per_channel()) {
            return make(rows(i), rows(i + 1), rows(i + 2), rows(i + 3));
        } else if constexpr (what.gated() && what.delta) {
            return make(rows(i), rows(i + 1), rows(i + 2), scalars(i + 3), scalars(i + 4));
        } else if constexpr (what.gated()) {
            return make(rows(i), rows(i + 1), rows(i + 2), scalars(i + 3));
        } else {
            return make(rows(i), rows(i + 1), rows(i + 2));
        }
    };
    rd::gradients<what, float> const to =
        each([](auto... x) { return rd::gradients<what, float>{x...}; }, 5);
    return each(
        [&](auto... x) {
            rd::inputs<what, float> const in{x...};
            auto const d_o = rows(10);
            cudaMemPool_t pool;
            std::uint64_t used = 0;
            rd::cuda::expect("cudaDeviceGetDefaultMemPool", cudaDeviceGetDefaultMemPool(&pool, 0));
            cudaMemPoolSetAttribute(pool, cudaMemPoolAttrUsedMemHigh, &used);
            op.backward(rd::exec::cuda{}, in, d_o, to);
            rd::cuda::expect("cudaDeviceSynchronize", cudaDeviceSynchronize());
            cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemHigh, &used);
            return memory_use{name, rd::cuda::scratch_bytes(op, in, d_o, to), std::size_t(used)};
        },
        0);
}

}  // namespace

std::vector<memory_use> memory_of_backward() {
    using namespace rd;
    return {memory_of("scalar", attention(decay::scalar)),
            memory_of("vector", attention(decay::vector)),
            memory_of("additive", attention(decay::additive)),
            memory_of("additive, bidirectional", attention(decay::additive, bidirectional)),
            memory_of("gated delta", attention(decay::scalar, update::delta)),
            memory_of("vector delta", attention(decay::vector, update::delta)),
            memory_of("none, normalized", attention(normalize::sum)),
            memory_of("scalar, turned", attention(decay::scalar, position::fused(lrpe::rotation)))};
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
