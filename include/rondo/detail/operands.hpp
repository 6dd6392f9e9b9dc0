/// @file
/// What the operators on one tensor share: outputs of any element type, the views that a call is
/// given, and checks on both.
#pragma once

#include <rondo/detail/check.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// An output of any element type that accumulates in A; an empty one is not wanted.
template <class A, int Rank>
struct target : operand<A, Rank> {
    constexpr target() = default;
    template <class T>
        requires(!std::is_const_v<T> && std::is_same_v<accumulator_t<T>, A>)
    target(view<T, Rank> const& v)
    noexcept : operand<A, Rank>(v) {}
};

template <class A, int Rank>
inline bool given(operand<A, Rank> const& x) noexcept {
    return x.data != nullptr;
}

/// Whether `Arguments` are views of these ranks that accumulate in A.
template <class A, int... Ranks>
struct views_of_rank {
    template <class... Arguments>
    static constexpr bool are() {
        if constexpr (sizeof...(Arguments) == sizeof...(Ranks)) {
            return ((rank_of<Arguments> == Ranks && accumulates_in<Arguments, A>)&&...);
        } else {
            return false;
        }
    }
};

template <class A, int Rank>
inline footprint footprint_of(operand<A, Rank> const& x) noexcept {
    if (x.data == nullptr) return {nullptr, nullptr, 0, 0};
    return footprint_of(x.data, x.extents, x.strides, element_size(x.kind));
}

/// Refuses a packed view, which an operator that reads a row as one sequence would get wrong.
template <class A, int Rank>
inline void check_one_sequence(checker const& check, char const* name, operand<A, Rank> const& x) {
    if (x.offsets.empty()) return;
    refuse(check.name, {name, " is packed by ", x.offsets.size(),
                        " offsets, expected none (0): call it for each sequence"});
}

/// Refuses an output that is null, packed, or names an element twice.
template <class A, int Rank>
inline void check_output(checker const& check, char const* name, operand<A, Rank> const& x) {
    check.present(name, x);
    check_one_sequence(check, name, x);
    if (footprint_of(x).bytes() == 0) return;  // dense strides of an empty view may be 0
    for (std::size_t axis = 0; axis < std::size_t(Rank); ++axis) {
        if (x.strides[axis] == 0 && x.extents[axis] > 1) {
            refuse(check.name, {name, " has stride 0 along an axis of extent ", x.extents[axis],
                                ", expected distinct elements"});
        }
    }
}

/// Refuses an output that shares memory with another tensor of the call.
template <class A, int Rank, class B, int Other>
inline void check_apart(checker const& check, char const* output, operand<A, Rank> const& o,
                        char const* other, operand<B, Other> const& x) {
    if (o.data == nullptr || x.data == nullptr) return;
    footprint const a = footprint_of(o), b = footprint_of(x);
    if (!may_overlap(a, b)) return;
    refuse(check.name, {output, " overlaps ", other, ", expected memory of its own (", a.bytes(),
                        " bytes of ", output, ", ", b.bytes(), " bytes of ", other, ")"});
}

/// Refuses an operand whose extents are not `wanted`.
template <class A, int Rank>
inline void check_extents(checker const& check, char const* name, operand<A, Rank> const& x,
                          std::array<index, std::size_t(Rank)> const& wanted, char const* because) {
    for (std::size_t axis = 0; axis < std::size_t(Rank); ++axis) {
        if (x.extents[axis] == wanted[axis]) continue;
        refuse(check.name, {name, " has extent ", x.extents[axis], " along axis ", axis,
                            ", expected ", wanted[axis], " (", because, ")"});
    }
}

/// The same elements with one more axis of extent 1.
template <class A, int Rank>
inline operand<A, Rank + 1> with_axis(operand<A, Rank> const& x, int axis) noexcept {
    operand<A, Rank + 1> result;
    result.data = x.data;
    result.kind = x.kind;
    for (int to = 0, from = 0; to <= Rank; ++to) {
        result.extents[std::size_t(to)] = to == axis ? 1 : x.extents[std::size_t(from)];
        result.strides[std::size_t(to)] = to == axis ? 0 : x.strides[std::size_t(from)];
        if (to != axis) ++from;
    }
    return result;
}

}  // namespace rondo::inline RONDO_ISA::detail
