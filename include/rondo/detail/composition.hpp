/// @file
/// What the policies of an operator add up to: a value that a template may take and a kernel may
/// read.
#pragma once

#include <rondo/error.hpp>

#include <concepts>

namespace rondo::inline RONDO_ISA::detail {

enum class decay_kind : unsigned char { none, constant, scalar, vector, additive, additive_scalar };
enum class direction_kind : unsigned char { causal, anticausal, bidirectional };
enum class form_kind : unsigned char { automatic, recurrent, quadratic, chunkwise };
enum class feature_kind : unsigned char { identity, elu_plus_one, silu, exp, relu, silu_half_unit };

/// How channels are paired with angles.
enum class turn_kind : unsigned char {
    interleaved,  // channels 2i and 2i + 1 are turned by angle i
    half_split,   // channels i and i + D / 2
    doubled,      // channel i by angle i in the complex plane, the imaginary parts behind the real
    permuted      // no angles: channels change places
};

/// The kinds of choice a policy can make; an operator takes each at most once.
enum class choice : unsigned char {
    decay,
    placement,
    direction,
    form,
    update,
    normalize,
    feature,
    position
};

/// What a kernel is compiled for; all else it looks at as it runs.
struct kernel_kind {
    decay_kind decay;
    bool delta;   // it has the delta rule for calls that ask for it
    bool window;  // its passes write a whole window, then read it
};

struct composition {
    decay_kind decay = decay_kind::none;
    direction_kind direction = direction_kind::causal;
    form_kind form = form_kind::automatic;
    feature_kind feature = feature_kind::identity;
    bool on_write = false;
    bool delta = false;
    bool normalized = false;
    bool turned = false;                           // positions are fused into the operator,
    turn_kind turned_as = turn_kind::interleaved;  // in this way
    index chunk = 0;

    constexpr bool additive() const noexcept {
        return decay == decay_kind::additive || decay == decay_kind::additive_scalar;
    }
    constexpr bool gated() const noexcept { return decay != decay_kind::none; }
    /// A gate for each key channel, not only for each token.
    constexpr bool per_channel() const noexcept {
        return decay == decay_kind::vector || decay == decay_kind::additive;
    }
    /// A factor for each token, the same for all channels.
    constexpr bool per_token() const noexcept {
        return decay == decay_kind::constant || decay == decay_kind::scalar;
    }
    /// Channels of keys and queries as the state meets them, and as memory holds them.
    constexpr index turned_channels(index channels) const noexcept {
        return turned_as == turn_kind::doubled ? 2 * channels : channels;
    }
    constexpr index plain_channels(index met) const noexcept {
        return turned_as == turn_kind::doubled ? met / 2 : met;
    }
    constexpr bool bidirectional() const noexcept {
        return direction == direction_kind::bidirectional;
    }
    /// Whether all readers see one and the same state, that of the whole sequence: the weights know
    /// no order. The quadratic form is to form its pairs where there are any.
    constexpr bool one_window() const noexcept {
        bool const even = decay == decay_kind::none && !delta && form != form_kind::quadratic;
        return bidirectional() && (even || additive());
    }
    constexpr kernel_kind kernel() const noexcept { return {decay, delta, one_window()}; }
    /// The rank of the gate's view.
    constexpr int gate_rank() const noexcept {
        return per_channel() ? 4 : decay == decay_kind::constant ? 1 : 3;
    }
    friend constexpr bool operator==(composition const&, composition const&) = default;
};

/// A composition as a type, for places that compile a kernel for each.
template <composition What>
struct composition_constant {
    static constexpr composition value = What;
};

/// A policy says which choice it makes, and makes it.
template <class P>
concept policy = requires(composition& c) {
    { P::makes } -> std::convertible_to<choice>;
    P::apply(c);
};

}  // namespace rondo::inline RONDO_ISA::detail
