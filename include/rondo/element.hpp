/// @file
/// Element types, and the type that sums of them are kept in.
#pragma once

#include <rondo/error.hpp>

#include <cstring>
#include <type_traits>

// The 16-bit types are Eigen's; a program that uses them includes <Eigen/Core> (rondo/onnx.hpp
// does). They are only declared here, since that header alone costs more to compile than this
// library.
namespace Eigen {
struct bfloat16;
struct half;
}  // namespace Eigen

namespace rondo::inline RONDO_ISA {

/// What a view's memory holds, as a value: loads and stores widen and round at run time.
enum class element : unsigned char { float32, float64, bfloat16, float16 };

namespace detail {

template <class T>
struct element_traits {
    static constexpr bool known = false;
};
template <>
struct element_traits<float> {
    static constexpr bool known = true;
    static constexpr element kind = element::float32;
    static constexpr index size = 4;
    using accumulator = float;
};
template <>
struct element_traits<double> {
    static constexpr bool known = true;
    static constexpr element kind = element::float64;
    static constexpr index size = 8;
    using accumulator = double;
};
template <>
struct element_traits<Eigen::bfloat16> {
    static constexpr bool known = true;
    static constexpr element kind = element::bfloat16;
    static constexpr index size = 2;
    using accumulator = float;
};
template <>
struct element_traits<Eigen::half> {
    static constexpr bool known = true;
    static constexpr element kind = element::float16;
    static constexpr index size = 2;
    using accumulator = float;
};

constexpr index element_size(element kind) noexcept {
    return kind == element::float64 ? 8 : kind == element::float32 ? 4 : 2;
}

}  // namespace detail

/// Sums, gates and states of elements T: double for double, float for everything else.
template <class T>
using accumulator_t = typename detail::element_traits<std::remove_cv_t<T>>::accumulator;

}  // namespace rondo::inline RONDO_ISA
