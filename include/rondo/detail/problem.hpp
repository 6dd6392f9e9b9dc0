/// @file
/// One checked call, as kernels see it: byte strides, element kinds, no policies to repeat.
#pragma once

#include <rondo/detail/places.hpp>
#include <rondo/detail/rows.hpp>

#include <algorithm>
#include <array>
#include <span>

namespace rondo::inline RONDO_ISA::detail {

/// A tensor with the axes [batch, head, time, channel] in bytes; an axis that it lacks has stride
/// 0.
struct tensor {
    std::byte* data = nullptr;
    index batch = 0, head = 0, time = 0, channel = 0;  // strides in bytes
    element kind = element::float32;
    bool ones = false;  // one element of host memory, which other places must not read

    row at(index b, index h, index t) const noexcept {
        return {data + b * batch + h * head + t * time, channel, kind};
    }
    constexpr bool empty() const noexcept { return data == nullptr; }
};

/// The rows of one head, by token.
struct rows_by_token {
    row first;
    index time;  // bytes from one token to the next

    row operator[](index token) const noexcept {
        return {first.data + token * time, first.step, first.kind};
    }
};

/// What an operator carries, [batch, head, ...] in the accumulator type; absent parts are null.
template <class A>
struct carried {
    A* s = nullptr;           // [D, E]
    A* normalizer = nullptr;  // [D]: the sum of the weighted keys
    A* max = nullptr;         // [gate width]: the running maximum of the additive logits
    A* sum = nullptr;         // [gate width]: the sum of exp(z - max)
    constexpr bool empty() const noexcept { return s == nullptr && max == nullptr; }
};

/// A run over the tokens of a sequence: in which order, what it does at each, what it hands on.
struct pass {
    index const* order = nullptr;  // token at each place of a path, or the order of time
    bool reversed = false;
    bool strict = false;      // a reader does not see itself
    bool read = true;         // computes outputs
    bool write = true;        // updates the state
    bool keep = false;        // goes on with the state of the pass before
    bool accumulate = false;  // adds to what earlier passes left in the output
    bool finish = true;       // divides and scales
    bool ahead = false;       // moves the state to where reading begins, as reading would

    pass moving_ahead() const noexcept {
        pass result = *this;
        result.ahead = read, result.read = false;
        return result;
    }

    index token(index place, index length) const noexcept {
        index const walked = reversed ? length - 1 - place : place;
        return order == nullptr ? walked : order[walked];
    }
};

template <class A>
struct problem {
    composition what;
    tensor q, k, v, gate, beta, o;
    carried<A> in, out;
    index sequences = 0, query_heads = 0, heads = 0, length = 0, depth = 0, width = 0;
    index state_width = 0;           // of the states, where `width` is a part of their columns
    std::span<index const> offsets;  // of packed sequences
    std::span<pass const> passes;
    A scale = 1, eps = 0;
    token_places places{};  // with what.turned, as the base of the angles
    double base = 10000;

    /// Channels of a row of q, of k or of a gate by channel in memory; `depth` is the state's.
    index channels() const noexcept { return what.plain_channels(depth); }
    index group() const noexcept { return heads == 0 ? 0 : query_heads / heads; }
    index gate_width() const noexcept { return what.decay == decay_kind::additive ? depth : 1; }

    /// Whether passes leave what later ones add to.
    bool merges() const noexcept {
        return std::any_of(passes.begin(), passes.end(), [](pass const& p) { return !p.finish; });
    }

    /// Where sequence s lies.
    index batch_of(index s) const noexcept { return offsets.empty() ? s : 0; }
    index first_of(index s) const noexcept { return offsets.empty() ? 0 : offsets[std::size_t(s)]; }
    index length_of(index s) const noexcept {
        return offsets.empty() ? length : offsets[std::size_t(s) + 1] - offsets[std::size_t(s)];
    }

    /// The same call for some of the columns of v, o and S, which do not depend on each other. The
    /// first part hands on what belongs to all.
    problem columns(index first, index count) const noexcept {
        problem part = *this;
        part.width = count;
        if (v.data != nullptr) part.v.data += first * v.channel;  // null where nothing is in it
        if (o.data != nullptr) part.o.data += first * o.channel;
        if (in.s != nullptr) part.in.s += first;
        if (out.s != nullptr) part.out.s += first;
        if (first > 0) part.out.normalizer = part.out.max = part.out.sum = nullptr;
        return part;
    }

    /// The part of a state that belongs to one head of one sequence.
    carried<A> part(carried<A> const& whole, index s, index h) const noexcept {
        index const at = s * heads + h;
        auto const move = [at](A* p, index n) { return p == nullptr ? p : p + at * n; };
        return {move(whole.s, depth * state_width), move(whole.normalizer, depth),
                move(whole.max, gate_width()), move(whole.sum, gate_width())};
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
