/// @file
/// Turns the views of a call into a problem, or refuses it in a sentence before anything is
/// written.
#pragma once

#include <rondo/detail/inputs.hpp>

#include <numeric>

namespace rondo::inline RONDO_ISA::detail {

/// The span of bytes that a tensor may touch, and the lattice on which its rows lie.
struct footprint {
    std::byte const* low;
    std::byte const* high;  // one past the end
    index lattice;          // every row starts a multiple of this from `low`
    index run;              // bytes of a row
};

template <std::size_t Rank>
inline footprint footprint_of(std::byte const* data, std::array<index, Rank> const& extents,
                              std::array<index, Rank> const& strides, index size) noexcept {
    footprint result{data, data, 0, size};
    for (std::size_t axis = 0; axis < Rank; ++axis) {
        if (extents[axis] == 0) return {data, data, 0, 0};
        index const reach = (extents[axis] - 1) * strides[axis] * size;
        (reach < 0 ? result.low : result.high) += reach;
        bool const inner = axis + 1 == Rank && strides[axis] == 1;
        if (inner) result.run = extents[axis] * size;
        if (!inner && extents[axis] > 1)
            result.lattice = std::gcd(result.lattice, reach / (extents[axis] - 1));
    }
    result.high += size;
    return result;
}

/// Whether two tensors may share an element. Interleaved ones (q, k and v in one buffer) do not:
/// their rows lie on one lattice at different places of it.
inline bool may_overlap(footprint const& a, footprint const& b) noexcept {
    std::less<std::byte const*> const before{};
    if (a.low == a.high || b.low == b.high) return false;
    if (!before(a.low, b.high) || !before(b.low, a.high)) return false;
    index const lattice = std::gcd(a.lattice, b.lattice);
    if (lattice == 0) return true;
    index const between = ((b.low - a.low) % lattice + lattice) % lattice;
    return between < a.run || between + b.run > lattice;
}

/// Everything that a check speaks of: the operator's name and the extents found so far.
struct checker {
    char const* name;

    template <class A, int Rank>
    void present(char const* argument, operand<A, Rank> const& x) const {
        index size = 1;
        for (index extent : x.extents) size *= extent;
        for (index extent : x.extents) {
            if (extent < 0) {
                refuse(name, std::string(argument) + " has an extent of " + std::to_string(extent) +
                                 ", expected at least 0");
            }
        }
        if (x.data == nullptr && size != 0 && !x.ones) {
            refuse(name, std::string(argument) + " is a null view, expected " +
                             std::to_string(size) + " elements");
        }
    }

    void extent(char const* argument, char const* axis, index got, index wanted,
                char const* because) const {
        expect_extent(name, argument, axis, got, wanted, because);
    }

    template <class A, int Rank, class Output>
    void apart(char const* argument, operand<A, Rank> const& x, Output const& o) const {
        if (x.ones || x.data == nullptr) return;
        auto const input = footprint_of(x.data, x.extents, x.strides, element_size(x.kind));
        if (may_overlap(input, o)) {
            refuse(name, std::string("the output overlaps ") + argument +
                             ", expected memory of its own (" + std::to_string(o.high - o.low) +
                             " bytes of output, " + std::to_string(input.high - input.low) +
                             " bytes of " + argument + ")");
        }
    }
};

/// An operand as kernels take it; `axes` says which of batch, head, time, channel its axes are.
template <class A, int Rank>
inline tensor tensor_of(operand<A, Rank> const& x, std::array<int, std::size_t(Rank)> const& axes) {
    static A const one = A(1);
    if (x.ones) {
        return {const_cast<std::byte*>(reinterpret_cast<std::byte const*>(&one)),
                0,
                0,
                0,
                0,
                element_traits<A>::kind};
    }
    tensor result{const_cast<std::byte*>(x.data), 0, 0, 0, 0, x.kind};
    index* const strides[] = {&result.batch, &result.head, &result.time, &result.channel};
    for (std::size_t axis = 0; axis < std::size_t(Rank); ++axis) {
        *strides[axes[axis]] = x.strides[axis] * element_size(x.kind);
    }
    return result;
}

/// The axes of an input of this rank, the time axis left out for one token.
template <int Rank>
constexpr std::array<int, std::size_t(Rank)> axes_of(bool one_token) noexcept {
    std::array<int, std::size_t(Rank)> axes{};
    if constexpr (Rank == 1) {
        axes[0] = 1;  // [head]
    } else {
        for (int axis = 0; axis < Rank; ++axis) {
            axes[std::size_t(axis)] = axis + (one_token && axis >= 2 ? 1 : 0);
        }
    }
    return axes;
}

template <class A, class State>
inline void check_state(checker const& check, char const* argument, problem<A> const& call,
                        State const& x) {
    std::string const part = std::string("state ") + argument;
    check.extent(part.c_str(), "batch", x.batch, call.sequences, "the sequences of q");
    check.extent(part.c_str(), "head", x.heads, call.heads, "the heads of v");
    check.extent(part.c_str(), "D", x.depth, call.depth, "the channels of q");
    check.extent(part.c_str(), "E", x.width, call.width, "the channels of v");
    index const gates = call.what.additive() ? call.gate_width() : 0;
    check.extent(part.c_str(), "gate", x.gate_width, gates, "the decay of the operator");
    bool const normalized = x.normalizer != nullptr || x.depth * x.batch * x.heads == 0;
    if (call.what.normalized && !normalized) {
        refuse(check.name, part +
                               " has no normaliser, expected the state of an operator with "
                               "normalize::sum");
    }
}

/// Checks that offsets begin at 0, never fall and end at the number of tokens.
inline void check_offsets(checker const& check, std::span<index const> offsets, index batch,
                          index time) {
    check.extent("a packed view", "batch", batch, 1, "sequences lie in one row");
    check.extent("the packed offsets", "their start", offsets.front(), 0, "the first token");
    for (std::size_t s = 1; s < offsets.size(); ++s) {
        if (offsets[s] < offsets[s - 1]) {
            refuse(check.name, "the packed offsets fall from " + std::to_string(offsets[s - 1]) +
                                   " to " + std::to_string(offsets[s]));
        }
    }
    check.extent("the packed offsets", "their end", offsets.back(), time, "the tokens of q");
}

/// Builds the problem of one call. `T` is the output's element type.
template <composition What, class T, bool OneToken>
inline problem<accumulator_t<T>> check_call(char const* name,
                                            inputs<What, accumulator_t<T>, OneToken> const& in,
                                            view<T, OneToken ? 3 : 4> const& o,
                                            options<accumulator_t<T>> const& with) {
    using A = accumulator_t<T>;
    constexpr int rank = OneToken ? 3 : 4, channel = rank - 1, time = 2;
    checker const check{name};
    operand<A, rank> const out = o;
    problem<A> call;
    call.what = What;
    bool const ones_everywhere = in.q.ones || in.v.ones;
    if (ones_everywhere) refuse(name, "rondo::ones stands for k only, got it for q or v");

    auto const& q = in.q.extents;
    auto const& v = in.v.extents;
    call.sequences = q[0];
    call.query_heads = q[1];
    call.heads = v[1];
    call.length = OneToken ? 1 : q[time];
    call.depth = q[channel];
    call.width = v[channel];
    call.scale = A(with.scale);
    call.eps = A(with.eps);

    check.present("q", in.q);
    check.present("k", in.k);
    check.present("v", in.v);
    check.present("o", out);
    std::array<char const*, 4> const axis_names{"batch", "head", OneToken ? "channel" : "time",
                                                "channel"};
    auto const same = [&](char const* argument, auto const& extents, int axis, index wanted,
                          char const* because) {
        check.extent(argument, axis_names[std::size_t(axis)], extents[std::size_t(axis)], wanted,
                     because);
    };
    auto const like_q = [&](char const* argument, auto const& extents) {
        same(argument, extents, 0, q[0], "q's batch");
        if (!OneToken) same(argument, extents, time, q[time], "q's time");
    };
    like_q("v", v);
    like_q("o", out.extents);
    if (!in.k.ones) {
        like_q("k", in.k.extents);
        same("k", in.k.extents, 1, v[1], "v's heads");
        same("k", in.k.extents, channel, q[channel], "q's channels");
    }
    same("o", out.extents, 1, q[1], "q's heads");
    same("o", out.extents, channel, v[channel], "v's channels");
    if (v[1] == 0 ? q[1] != 0 : q[1] % v[1] != 0) {
        refuse(name, "q has " + std::to_string(q[1]) + " heads, expected a multiple of the " +
                         std::to_string(v[1]) + " heads of k and v");
    }
    if constexpr (What.gated()) {
        check.present("gate", in.gate);
        auto const& gate = in.gate.extents;
        constexpr bool constant = What.decay == decay_kind::constant;
        check.extent("gate", "head", gate[constant ? 0 : 1], v[1], "v's heads");
        if constexpr (!constant) like_q("gate", gate);
        if constexpr (What.per_channel()) {
            same("gate", gate, channel, q[channel], "q's channels");
        }
        call.gate = tensor_of(in.gate, axes_of<inputs<What, A, OneToken>::gate_rank>(OneToken));
    }
    if constexpr (What.delta) {
        check.present("beta", in.beta);
        check.extent("beta", "head", in.beta.extents[1], v[1], "v's heads");
        like_q("beta", in.beta.extents);
        call.beta = tensor_of(in.beta, axes_of < OneToken ? 2 : 3 > (OneToken));
    }
    auto const axes = axes_of<rank>(OneToken);
    call.q = tensor_of(in.q, axes);
    call.k = tensor_of(in.k, axes);
    call.v = tensor_of(in.v, axes);
    call.o = tensor_of(out, axes);
    if (!OneToken && !in.q.offsets.empty()) {
        check_offsets(check, in.q.offsets, q[0], q[time]);
        call.offsets = in.q.offsets;
        call.sequences = index(in.q.offsets.size()) - 1;
    }
    auto const packed_alike = [&](char const* argument, std::span<index const> offsets) {
        if (!std::equal(offsets.begin(), offsets.end(), call.offsets.begin(), call.offsets.end())) {
            refuse(name, std::string(argument) + " is packed by " + std::to_string(offsets.size()) +
                             " offsets, expected the " + std::to_string(call.offsets.size()) +
                             " offsets of q");
        }
    };
    if (!in.k.ones) packed_alike("k", in.k.offsets);
    packed_alike("v", in.v.offsets);
    packed_alike("o", out.offsets);
    if constexpr (What.gated() && What.decay != decay_kind::constant) {
        packed_alike("gate", in.gate.offsets);
    }
    if constexpr (What.delta) packed_alike("beta", in.beta.offsets);

    auto const written = footprint_of(out.data, out.extents, out.strides, element_size(out.kind));
    for (std::size_t axis = 0; axis < std::size_t(rank); ++axis) {
        if (out.strides[axis] == 0 && out.extents[axis] > 1) {
            refuse(name, "o has stride 0 along an axis of extent " +
                             std::to_string(out.extents[axis]) + ", expected distinct elements");
        }
    }
    check.apart("q", in.q, written);
    check.apart("k", in.k, written);
    check.apart("v", in.v, written);
    if constexpr (What.gated()) check.apart("gate", in.gate, written);
    if constexpr (What.delta) check.apart("beta", in.beta, written);

    if (with.in.present) {
        check_state(check, "in", call, with.in);
        call.in = {const_cast<A*>(with.in.s), const_cast<A*>(with.in.normalizer),
                   const_cast<A*>(with.in.max), const_cast<A*>(with.in.sum)};
    }
    if (with.out.present) {
        check_state(check, "out", call, with.out);
        call.out = {with.out.s, with.out.normalizer, with.out.max, with.out.sum};
    }
    return call;
}

}  // namespace rondo::inline RONDO_ISA::detail
