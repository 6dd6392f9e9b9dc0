/// @file
/// Errors are sentences: which operator, which argument, what it has and what it should have.
#pragma once

#include <rondo/config.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace rondo::inline RONDO_ISA {

/// Counts, extents, strides and offsets: 64 bits everywhere.
using index = std::int64_t;

/// Thrown, before anything is written, when extents, views or states do not fit an operator.
class shape_error : public std::invalid_argument {
public:
    using std::invalid_argument::invalid_argument;
};

namespace detail {

/// "rondo::attention: k has 3 tokens, but q has 35."
[[noreturn]] inline void refuse(char const* operator_name, std::string const& sentence) {
    throw shape_error(std::string("rondo::") + operator_name + ": " + sentence);
}

/// Refuses `argument` when its extent `got` along `axis` is not `wanted`.
inline void expect_extent(char const* operator_name, char const* argument, char const* axis,
                          index got, index wanted, char const* because) {
    if (got == wanted) return;
    refuse(operator_name, std::string(argument) + " has extent " + std::to_string(got) + " along " +
                              axis + ", expected " + std::to_string(wanted) + " (" + because + ")");
}

}  // namespace detail
}  // namespace rondo::inline RONDO_ISA
