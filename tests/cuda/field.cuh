#pragma once

// A tensor three times: on the host, on the device, and in double for the processor.

#include "cuda/elements.hpp"
#include "cuda/run.cuh"
#include "support/law.hpp"

#include <type_traits>

namespace device {

using support::random;

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
