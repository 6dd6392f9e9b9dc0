/// @file
/// Turns the views of a call into a problem, or refuses it in a sentence before anything is
/// written.
#pragma once

#include <rondo/detail/footprint.hpp>
#include <rondo/detail/inputs.hpp>

#include <algorithm>

namespace rondo::inline RONDO_ISA::detail {

/// Refusals in the name of one operator.
struct checker {
    char const* name;

    /// A view with elements has memory.
    template <class A, int Rank>
    void present(char const* argument, operand<A, Rank> const& x) const {
        index size = 1;
        for (index extent : x.extents) {
            if (extent < 0) {
                refuse(name, {argument, " has an extent of ", extent, ", expected at least 0"});
            }
            size *= extent;
        }
        if (x.data == nullptr && size != 0 && !x.ones) {
            refuse(name, {argument, " is a null view, expected ", size, " elements"});
        }
    }

    void extent(char const* argument, char const* axis, index got, index wanted,
                char const* because) const {
        expect_extent(name, argument, axis, got, wanted, because);
    }
};

/// A tensor of a call on the axes [batch, head, time, channel], whatever its rank.
struct argument {
    static constexpr index absent = -1;  // the extent of an axis that it lacks

    char const* name = "";
    std::byte const* data = nullptr;
    element kind = element::float32;
    std::array<index, 4> extents{absent, absent, absent, absent};
    std::array<index, 4> strides{};  // in elements
    std::span<index const> offsets{};
    bool ones = false, used = false;
    footprint memory{};

    /// As kernels take it. A key of ones is one element with every stride 0.
    tensor as_tensor() const noexcept {
        index const size = element_size(kind);
        return {const_cast<std::byte*>(data),
                strides[0] * size,
                strides[1] * size,
                strides[2] * size,
                strides[3] * size,
                kind,
                ones};
    }
};

/// Reads an operand's axes: [head] for rank 1, else the first ones of [batch, head, time, channel],
/// without the time axis at one token.
template <class A, int Rank>
inline argument argument_of(checker const& check, char const* name, operand<A, Rank> const& x,
                            bool one_token) {
    static A const one = A(1);
    argument result;
    result.name = name;
    result.used = true;
    result.kind = x.kind;
    if (x.ones) {
        result.ones = true;
        result.kind = element_traits<A>::kind;
        result.data = reinterpret_cast<std::byte const*>(&one);
        return result;
    }
    check.present(name, x);
    result.data = x.data;
    result.offsets = x.offsets;
    result.memory = footprint_of(x.data, x.extents, x.strides, element_size(x.kind));
    for (int axis = 0; axis < Rank; ++axis) {
        int const to = Rank == 1 ? 1 : axis + (one_token && axis >= 2 ? 1 : 0);
        result.extents[std::size_t(to)] = x.extents[std::size_t(axis)];
        result.strides[std::size_t(to)] = x.strides[std::size_t(axis)];
    }
    return result;
}

/// What an argument's extents must be: those of q or of v.
struct expected {
    std::array<index, 4> extents;
    std::array<char const*, 4> because;
};

inline void check_extents(checker const& check, argument const& x, expected const& wanted) {
    constexpr std::array axes{"batch", "head", "time", "channel"};
    for (std::size_t axis = 0; axis < 4; ++axis) {
        if (x.extents[axis] == argument::absent) continue;
        check.extent(x.name, axes[axis], x.extents[axis], wanted.extents[axis],
                     wanted.because[axis]);
    }
}

/// Checks that offsets begin at 0, never fall and end at the number of tokens.
inline void check_offsets(checker const& check, std::span<index const> offsets, index batch,
                          index time) {
    check.extent("a packed view", "batch", batch, 1, "sequences lie in one row");
    check.extent("the packed offsets", "their start", offsets.front(), 0, "the first token");
    for (std::size_t s = 1; s < offsets.size(); ++s) {
        if (offsets[s] < offsets[s - 1]) {
            refuse(check.name,
                   {"the packed offsets fall from ", offsets[s - 1], " to ", offsets[s]});
        }
    }
    check.extent("the packed offsets", "their end", offsets.back(), time, "the tokens of q");
}

inline void check_packing(checker const& check, argument const& x, argument const& q) {
    if (x.ones || x.extents[2] == argument::absent) return;
    if (!std::equal(x.offsets.begin(), x.offsets.end(), q.offsets.begin(), q.offsets.end())) {
        refuse(check.name, {x.name, " is packed by ", x.offsets.size(), " offsets, expected the ",
                            q.offsets.size(), " offsets of q"});
    }
}

/// Checks that an output names each element once and shares none with an input.
inline void check_output(checker const& check, argument const& o,
                         std::span<argument const> inputs) {
    if (o.memory.bytes() == 0) return;
    for (std::size_t axis = 0; axis < 4; ++axis) {
        if (o.strides[axis] == 0 && o.extents[axis] > 1) {
            refuse(check.name, {o.name, " has stride 0 along an axis of extent ", o.extents[axis],
                                ", expected distinct elements"});
        }
    }
    for (argument const& x : inputs) {
        if (!x.used || x.ones || x.data == nullptr || !may_overlap(x.memory, o.memory)) continue;
        refuse(check.name,
               {o.name, " overlaps ", x.name, ", expected memory of its own (", o.memory.bytes(),
                " bytes of ", o.name, ", ", x.memory.bytes(), " bytes of ", x.name, ")"});
    }
}

template <class A>
inline carried<A> check_state(checker const& check, char const* name, problem<A> const& call,
                              state_view<A const> const& x) {
    if (!x.present) return {};
    check.extent(name, "batch", x.batch, call.sequences, "the sequences of q");
    check.extent(name, "head", x.heads, call.heads, "the heads of v");
    bool const doubled = call.depth != call.channels();
    check.extent(name, "D", x.depth, call.depth,
                 doubled ? "twice the channels of q" : "the channels of q");
    check.extent(name, "E", x.width, call.width, "the channels of v");
    index const gates = call.what.additive() ? call.gate_width() : 0;
    check.extent(name, "gate", x.gate_width, gates, "the decay of the operator");
    bool const normalized = x.normalizer != nullptr || x.depth * x.batch * x.heads == 0;
    if (call.what.normalized && !normalized) {
        refuse(check.name, {name,
                            " has no normaliser, expected the state of an operator with "
                            "normalize::sum"});
    }
    return {const_cast<A*>(x.s), const_cast<A*>(x.normalizer), const_cast<A*>(x.max),
            const_cast<A*>(x.sum)};
}
template <class A>
inline carried<A> check_state(checker const& check, char const* name, problem<A> const& call,
                              state_view<A> const& x) {
    return check_state(check, name, call,
                       state_view<A const>{x.s, x.normalizer, x.max, x.sum, x.batch, x.heads,
                                           x.depth, x.width, x.gate_width, x.present});
}

/// The arguments of a call, in the order of the inputs.
struct call_arguments {
    enum place : std::size_t { q, k, v, gate, beta };
    std::array<argument, 5> in;
    argument o;
};

/// Checks the arguments of one call against each other.
template <class A>
inline problem<A> check_arguments(checker const& check, composition const& what,
                                  call_arguments const& all, bool one_token) {
    using place = call_arguments::place;
    argument const &q = all.in[place::q], &v = all.in[place::v];
    if (q.ones || v.ones) refuse(check.name, {"rondo::ones stands for k only, got it for q or v"});
    problem<A> call;
    call.what = what;
    call.sequences = q.extents[0];
    call.query_heads = q.extents[1];
    call.heads = v.extents[1];
    call.length = one_token ? 1 : q.extents[2];
    call.depth = what.turned_channels(q.extents[3]);
    call.width = call.state_width = v.extents[3];
    expected const like_k{{q.extents[0], call.heads, call.length, q.extents[3]},
                          {"q's batch", "v's heads", "q's time", "q's channels"}};
    expected const like_v{{q.extents[0], call.heads, call.length, call.width},
                          {"q's batch", "v's heads", "q's time", "v's channels"}};
    expected const like_o{{q.extents[0], call.query_heads, call.length, call.width},
                          {"q's batch", "q's heads", "q's time", "v's channels"}};
    check_extents(check, all.in[place::k], like_k);
    check_extents(check, v, like_v);
    check_extents(check, all.in[place::gate], like_k);
    check_extents(check, all.in[place::beta], like_k);
    check_extents(check, all.o, like_o);
    if (call.heads == 0 ? call.query_heads != 0 : call.query_heads % call.heads != 0) {
        refuse(check.name, {"q has ", call.query_heads, " heads, expected a multiple of the ",
                            call.heads, " heads of k and v"});
    }
    if (!one_token && !q.offsets.empty()) {
        check_offsets(check, q.offsets, q.extents[0], q.extents[2]);
        call.offsets = q.offsets;
        call.sequences = index(q.offsets.size()) - 1;
    }
    for (argument const& x : all.in) {
        if (x.used) check_packing(check, x, q);
    }
    check_packing(check, all.o, q);
    call.q = q.as_tensor();
    call.k = all.in[place::k].as_tensor();
    call.v = v.as_tensor();
    call.gate = all.in[place::gate].as_tensor();
    call.beta = all.in[place::beta].as_tensor();
    call.o = all.o.as_tensor();
    return call;
}

/// The arguments of an operator and its output, or the output's gradient.
template <composition What, class A, bool OneToken>
inline call_arguments arguments_of(checker const& check, inputs<What, A, OneToken> const& in,
                                   char const* output, operand<A, OneToken ? 3 : 4> const& o) {
    call_arguments all;
    all.in[call_arguments::q] = argument_of(check, "q", in.q, OneToken);
    all.in[call_arguments::k] = argument_of(check, "k", in.k, OneToken);
    all.in[call_arguments::v] = argument_of(check, "v", in.v, OneToken);
    if constexpr (What.gated()) {
        all.in[call_arguments::gate] = argument_of(check, "gate", in.gate, OneToken);
    }
    if constexpr (What.delta) {
        all.in[call_arguments::beta] = argument_of(check, "beta", in.beta, OneToken);
    }
    all.o = argument_of(check, output, o, OneToken);
    return all;
}

/// Builds the problem of one call. `T` is the output's element type.
template <composition What, class T, bool OneToken>
inline problem<accumulator_t<T>> check_call(char const* name,
                                            inputs<What, accumulator_t<T>, OneToken> const& in,
                                            view<T, OneToken ? 3 : 4> const& o,
                                            options<accumulator_t<T>> const& with) {
    using A = accumulator_t<T>;
    static_assert(!std::is_const_v<T>,
                  "rondo: the output is a view of elements that are not const");
    checker const check{name};
    call_arguments const all = arguments_of(check, in, "o", operand < A, OneToken ? 3 : 4 > (o));
    problem<A> call = check_arguments<A>(check, What, all, OneToken);
    check_output(check, all.o, all.in);
    call.scale = A(with.scale);
    call.eps = A(with.eps);
    call.in = check_state(check, "state in", call, with.in);
    call.out = check_state(check, "state out", call, with.out);
    return call;
}

}  // namespace rondo::inline RONDO_ISA::detail
