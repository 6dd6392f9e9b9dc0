/// @file
/// Errors are sentences: which operator, which argument, what it has and what it should have.
#pragma once

#include <rondo/config.hpp>

#include <concepts>
#include <cstdint>
#include <initializer_list>
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

/// A part of a sentence: words or a number.
class word {
public:
    word(char const* text) : text_(text) {}
    word(std::string const& text) : text_(text.c_str()) {}
    template <std::integral Number>
    word(Number number) : number_(static_cast<index>(number)) {}

    void append_to(std::string& sentence) const {
        text_ != nullptr ? sentence += text_ : sentence += std::to_string(number_);
    }

private:
    char const* text_ = nullptr;
    index number_ = 0;
};

/// Throws "rondo::<operator>: <words>". One function builds every sentence, so that checks stay
/// small.
[[noreturn, gnu::cold, gnu::noinline]] inline void refuse(char const* operator_name,
                                                          std::initializer_list<word> words) {
    std::string sentence = "rondo::";
    sentence += operator_name;
    sentence += ": ";
    for (word const& w : words) w.append_to(sentence);
    throw shape_error(sentence);
}

/// Apart, since checks of extents are many and the words of a sentence are much code.
[[noreturn, gnu::cold, gnu::noinline]] inline void refuse_extent(char const* operator_name,
                                                                 char const* argument,
                                                                 char const* axis, index got,
                                                                 index wanted,
                                                                 char const* because) {
    refuse(operator_name, {argument, " has extent ", got, " along ", axis, ", expected ", wanted,
                           " (", because, ")"});
}

/// Refuses `argument` when its extent `got` along `axis` is not `wanted`.
inline void expect_extent(char const* operator_name, char const* argument, char const* axis,
                          index got, index wanted, char const* because) {
    if (got != wanted) refuse_extent(operator_name, argument, axis, got, wanted, because);
}

}  // namespace detail
}  // namespace rondo::inline RONDO_ISA
