#pragma once

// A tensor three times: on the host, on the device, and in double for the processor.

#include "cuda/elements.hpp"
#include "cuda/run.cuh"
#include "support/law.hpp"

#include <cstring>
#include <type_traits>

namespace device {

using support::random;

/// The norm of the difference, of the norm of `want`, or of terms of size 1 where they cancel.
inline double error_of_norm(oracle::values const& got, oracle::values const& want) {
    double difference = 0, whole = 0, least = double(got.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
        difference += (got[i] - want[i]) * (got[i] - want[i]);
        whole += want[i] * want[i];
    }
    return difference == 0 ? 0 : std::sqrt(difference / std::max(whole, least));
}

template <class T, int Rank>
class field {
public:
    using extents_type = std::array<index, std::size_t(Rank)>;

    /// An input, its values rounded to T.
    field(random& r, extents_type const& extents, support::memory order,
          oracle::values const& values)
        : host_(extents, order, r, values),
          twin_(extents, support::memory::bhtd, r, host_.values()),
          memory_(host_.storage()) {}
    /// An output.
    field(random& r, extents_type const& extents, support::memory order)
        : host_(extents, order, r),
          twin_(extents, support::memory::bhtd, r),
          memory_(host_.storage()) {}

    auto read() const { return memory_.at(host_.read()); }
    auto write() { return memory_.at(host_.write()); }
    auto twin() const { return twin_.read(); }
    auto twin_to() { return twin_.write(); }

    /// The same of all of them together, for 16 bits, whose single entries are sums of many
    /// rounded terms.
    finding compare_norm(std::string what, double bound) {
        if (sizeof(T) > 2) return compare(std::move(what), bound);
        memory_.back(host_.storage());
        return {std::move(what), error_of_norm(host_.values(), twin_.values()), bound,
                host_.gaps_intact()};
    }

    /// Forgets what lies on the device.
    void poison() { memory_.poison(); }
    /// What lies on the device.
    oracle::values values() {
        memory_.back(host_.storage());
        return host_.values();
    }

    /// Compares what the two calls left.
    finding compare(std::string what, double bound) {
        memory_.back(host_.storage());
        return {std::move(what), support::error(host_.values(), twin_.values()), bound,
                host_.gaps_intact()};
    }

private:
    support::tensor<T, Rank> host_;
    support::tensor<double, Rank> twin_;
    copied<T> memory_;
};

/// call(place) in a graph.
template <class Call>
void replay(Call const& call) {
    using rondo::cuda::expect;
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t ready;
    expect("cudaStreamCreate", cudaStreamCreate(&stream));
    expect("cudaStreamBeginCapture",
           cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    call(rondo::exec::cuda{stream});
    expect("cudaStreamEndCapture", cudaStreamEndCapture(stream, &graph));
    expect("cudaGraphInstantiate", cudaGraphInstantiate(&ready, graph, 0));
    expect("cudaGraphLaunch", cudaGraphLaunch(ready, stream));
    expect("cudaStreamSynchronize", cudaStreamSynchronize(stream));
    expect("cudaGraphExecDestroy", cudaGraphExecDestroy(ready));
    expect("cudaGraphDestroy", cudaGraphDestroy(graph));
    expect("cudaStreamDestroy", cudaStreamDestroy(stream));
}

/// Whether call(place) leaves the same bits in `outputs` every time, the last time in a graph.
template <class Call, class... Fields>
finding same_bits(std::string what, Call const& call, Fields&... outputs) {
    constexpr int times = 10;
    auto const equal = [](oracle::values const& a, oracle::values const& b) {  // NaN, too
        return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
    };
    std::vector<oracle::values> first;
    bool same = true;
    for (int repeat = 0; repeat < times; ++repeat) {
        (outputs.poison(), ...);
        repeat + 1 < times ? call(rondo::exec::cuda{}) : replay(call);
        std::vector<oracle::values> const now{outputs.values()...};
        if (repeat == 0) first = now;
        for (std::size_t i = 0; i < now.size(); ++i) same = same && equal(now[i], first[i]);
    }
    return {std::move(what) + ", ten times", same ? 0.0 : 1.0, 0.0, true};
}

inline support::memory any_memory(random& r) {
    return r.one_of({support::memory::bthd, support::memory::bhtd, support::memory::scattered});
}

/// Of the largest output; 16 bits are what its rounding alone may be.
template <class T>
double bound_of(double wide, double narrow) {
    if (sizeof(T) == 8) return wide;
    if (sizeof(T) == 4) return narrow;
    return std::is_same_v<T, Eigen::half> ? 6e-4 : 4.5e-3;
}

/// Of a gradient.
template <class T>
double gradient_bound() {
    return bound_of<T>(1e-9, 1e-4);
}

template <class T>
std::string name_of_type() {
    if (sizeof(T) == 8) return "double";
    if (sizeof(T) == 4) return "float";
    return std::is_same_v<T, Eigen::half> ? "half" : "bfloat16";
}

/// The cases of run(a type) for every element type.
template <class Run>
std::vector<element_cases> for_every_type(Run run) {
    auto const cases = [&]<class T>(std::type_identity<T>) {
        return element_cases{name_of_type<T>(), [run] { return run(std::type_identity<T>{}); }};
    };
    return {cases(std::type_identity<float>{}), cases(std::type_identity<double>{}),
            cases(std::type_identity<Eigen::bfloat16>{}), cases(std::type_identity<Eigen::half>{})};
}

template <std::size_t N>
std::string say(std::array<index, N> const& extents) {
    std::string result;
    for (index n : extents) result += (result.empty() ? "" : "x") + std::to_string(n);
    return result;
}

}  // namespace device
