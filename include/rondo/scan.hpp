/// @file
/// The element-wise recurrence along any axis of a view, and the cumulative log-sum-exp.
#pragma once

#include <rondo/direction.hpp>
#include <rondo/exec/host.hpp>
#include <rondo/kernel/scan.hpp>

#include <tuple>

namespace rondo::inline RONDO_ISA {
namespace detail {

/// The axis of a call that names none: the one before the channels, time.
constexpr int default_axis(int rank) noexcept { return rank > 1 ? rank - 2 : 0; }

}  // namespace detail

/// {x, log_a} of `scan`.
template <class A, int Rank>
struct scan_inputs {
    detail::operand<A, Rank> x, log_a;

    template <class... Views>
    scan_inputs(Views const&... views) {
        constexpr bool right = detail::views_of_rank<A, Rank, Rank>::template are<Views...>();
        static_assert(right,
                      "rondo::scan takes {x, log_a}: views of y's rank and of its precision");
        if constexpr (right) std::tie(x, log_a) = std::tie(views...);
    }
};

/// {x} of `log_cumsum_exp`.
template <class A, int Rank>
struct log_cumsum_exp_inputs {
    detail::operand<A, Rank> x, log_a;

    template <class... Views>
    log_cumsum_exp_inputs(Views const&... views) {
        constexpr bool right = detail::views_of_rank<A, Rank>::template are<Views...>();
        static_assert(right,
                      "rondo::log_cumsum_exp takes {x}: a view of y's rank and of its precision");
        if constexpr (right) std::tie(x) = std::tie(views...);
    }
};

/// What backward gives, in the order of the inputs.
template <class A, int Rank>
struct scan_gradients {
    detail::target<A, Rank> x{}, log_a{};
};

/// States have the extents of x without the scanned axis.
template <class A, int Rank>
struct scan_options {
    int axis = detail::default_axis(Rank);
    view<A const, Rank - 1> in{};
    view<A, Rank - 1> out{};
};

template <class A, int Rank>
struct scan_backward_options {
    int axis = detail::default_axis(Rank);
    view<A const, Rank - 1> in{};
    view<A const, Rank - 1> d_out{};
    view<A, Rank - 1> d_in{};
};

namespace detail {

template <recurrence_kind Kind>
inline constexpr char const* recurrence_name =
    Kind == recurrence_kind::linear ? "scan" : "log_cumsum_exp";

/// Turns operands into lines and checks each of them against the first.
template <class A, int Rank>
class scan_setup {
public:
    scan_setup(char const* name, operand<A, Rank> const& model, char const* model_name, int axis,
               bool reversed)
        : check_{name}, model_(model), axis_(axis), because_(std::string(model_name) + "'s") {
        if (axis < 0 || axis >= Rank) {
            refuse(name, {"axis is ", axis, ", expected one of 0 to ", Rank - 1});
        }
        across_ = lane_axis(model, axis);
        call.space = space_of(model, axis, across_);
        call.reversed = reversed;
    }

    lines input(char const* name, operand<A, Rank> const& x) {
        check_.present(name, x);
        check_one_sequence(check_, name, x);
        return placed(name, x, model_.extents);
    }
    lines output(char const* name, operand<A, Rank> const& x) {
        check_output(check_, name, x);
        return placed(name, x, model_.extents);
    }
    /// A state, when the call has it.
    lines state(char const* name, operand<A, Rank - 1> const& x, bool written) {
        if (x.data == nullptr) return {};
        auto extents = model_.extents;
        extents[std::size_t(axis_)] = 1;
        auto const whole = with_axis(x, axis_);
        if (written) check_output(check_, name, whole);
        return placed(name, whole, extents);
    }
    template <int One, int Other>
    void apart(char const* output, operand<A, One> const& o, char const* input,
               operand<A, Other> const& x) const {
        check_apart(check_, output, o, input, x);
    }

    scan_problem call;

private:
    lines placed(char const* name, operand<A, Rank> const& x,
                 std::array<index, std::size_t(Rank)> const& extents) const {
        check_extents(check_, name, x, extents, because_.c_str());
        return lines_of(x, axis_, across_);
    }

    checker check_;
    operand<A, Rank> model_;
    int axis_, across_ = -1;
    std::string because_;
};

template <class L, recurrence_kind Kind>
using scan_kernel =
    std::conditional_t<Kind == recurrence_kind::linear, linear_scan<L>, log_sum_scan<L>>;

/// Shares out the units of a checked call; `rows` of scan_block elements are each thread's scratch.
template <class L, class Body>
inline void run_scan(scan_problem const& call, int threads, index rows, Body const& body) {
    using A = typename L::value;
    index const units = call.units();
    threads = int(std::clamp<index>(units, 1, threads));
    auto const bytes = std::size_t(rows * scan_block) * sizeof(A);
    scratch_block const block(bytes * std::size_t(threads));
    share(threads, units, [&](index unit, int thread) {
        flush_subnormals const guard;
        body(scan_unit(call, unit),
             reinterpret_cast<A*>(block.get() + bytes * std::size_t(thread)));
    });
}

/// The recurrence and the accumulator of a call as a type, for places elsewhere.
template <recurrence_kind Kind, class A>
struct scan_kind {};

/// Computes a checked call in a place.
template <class A, recurrence_kind Kind, class Place>
inline void dispatch_scan(Place const& place, scan_problem& call) {
    if constexpr (runs_on_host<Place>) {
        using L = lanes_of<Place, A>;
        call.widen(threads_of(place));
        run_scan<L>(call, threads_of(place), 0, scan_kernel<L, Kind>::forward);
    } else {
        run_scan_on(place, scan_kind<Kind, A>{}, call);  // found where the place is defined
    }
}

/// Computes the gradients of a checked call in a place.
template <class A, recurrence_kind Kind, class Place>
inline void dispatch_scan_back(Place const& place, scan_problem const& call) {
    if constexpr (runs_on_host<Place>) {
        using L = lanes_of<Place, A>;
        bool const again = Kind == recurrence_kind::log_sum || !call.d_log_a.empty();
        index const rows = again ? call.space.length + 1 : 0;
        run_scan<L>(call, threads_of(place), rows, scan_kernel<L, Kind>::backward);
    } else {
        run_scan_back_on(place, scan_kind<Kind, A>{}, call);
    }
}

}  // namespace detail

/// An element-wise recurrence along one axis, made by `scan` or `log_cumsum_exp`.
///
/// Shapes: x, log_a and y of one shape, any rank up to 8, any strides; states without the scanned
///   axis. A state not given is 0 (scan) or -inf (log_cumsum_exp). Packed views are refused.
/// Units: log_a is a log decay; -inf is a hard reset.
/// Cost: one exponential an element (log_cumsum_exp: and a logarithm); memory is read once.
/// Scratch: forward none; backward T x 64 elements a thread, for the outputs it computes again.
/// Accuracy: 1e-12 in double and 1e-5 in float of the largest output (tests/laws/scan.cpp).
/// Errors: shape_error before anything is written.
template <detail::recurrence_kind Kind, bool Reversed>
class recurrence_t {
    static constexpr bool linear = Kind == detail::recurrence_kind::linear;
    template <class A, int Rank>
    using inputs_of =
        std::conditional_t<linear, scan_inputs<A, Rank>, log_cumsum_exp_inputs<A, Rank>>;
    template <class A, int Rank>
    using setup = detail::scan_setup<A, Rank>;
    static constexpr char const* name = detail::recurrence_name<Kind>;

public:
    /// y_t for every t; the walk starts from `.in` and leaves its last value in `.out`.
    template <class Place, class T, int Rank>
    void forward(
        Place const& place, std::type_identity_t<inputs_of<accumulator_t<T>, Rank>> const& in,
        view<T, Rank> const& y,
        std::type_identity_t<scan_options<accumulator_t<T>, Rank>> const& with = {}) const {
        using A = accumulator_t<T>;
        detail::operand<A, Rank> const out = y;
        detail::operand<A, Rank - 1> const state_in = with.in, state_out = with.out;
        setup<A, Rank> s(name, out, "y", with.axis, Reversed);
        s.call.y = s.output("y", out);
        s.call.x = s.input("x", in.x);
        if (linear) s.call.log_a = s.input("log_a", in.log_a);
        s.call.in = s.state("state in", state_in, false);
        s.call.out = s.state("state out", state_out, true);
        s.apart("y", out, "x", in.x);
        s.apart("y", out, "log_a", in.log_a);
        s.apart("y", out, "state in", state_in);
        s.apart("y", out, "state out", state_out);
        s.apart("state out", state_out, "x", in.x);
        s.apart("state out", state_out, "log_a", in.log_a);
        detail::dispatch_scan<A, Kind>(place, s.call);
    }

    /// Gradients of a loss from d_y (and `.d_out`); those not wanted are left empty.
    template <class Place, class T, int Rank>
    void backward(Place const& place,
                  std::type_identity_t<inputs_of<accumulator_t<T>, Rank>> const& in,
                  view<T, Rank> const& d_y,
                  std::type_identity_t<scan_gradients<accumulator_t<T>, Rank>> const& to,
                  std::type_identity_t<scan_backward_options<accumulator_t<T>, Rank>> const& with =
                      {}) const {
        using A = accumulator_t<T>;
        detail::operand<A, Rank> const given = d_y;
        detail::operand<A, Rank - 1> const state_in = with.in, d_in = with.d_in;
        setup<A, Rank> s(name, given, "d_y", with.axis, Reversed);
        s.call.d_y = s.input("d_y", given);
        s.call.x = s.input("x", in.x);
        if (linear) s.call.log_a = s.input("log_a", in.log_a);
        if (detail::given(to.x)) s.call.d_x = s.output("d_x", to.x);
        if (linear && detail::given(to.log_a)) s.call.d_log_a = s.output("d_log_a", to.log_a);
        s.call.in = s.state("state in", state_in, false);
        s.call.d_out = s.state("d_out", detail::operand<A, Rank - 1>(with.d_out), false);
        s.call.d_in = s.state("d_in", d_in, true);
        auto const apart = [&](char const* output, auto const& o) {
            s.apart(output, o, "d_y", given);
            s.apart(output, o, "x", in.x);
            s.apart(output, o, "log_a", in.log_a);
            s.apart(output, o, "state in", state_in);
        };
        apart("d_x", to.x);
        apart("d_log_a", to.log_a);
        apart("d_in", d_in);
        s.apart("d_x", to.x, "d_log_a", to.log_a);
        detail::dispatch_scan_back<A, Kind>(place, s.call);
    }

    /// One place of the axis: moves `state` on and copies it to y_t. Views without the scanned
    /// axis.
    template <class Place, class T, int Rank>
    void step(Place const& place, std::type_identity_t<inputs_of<accumulator_t<T>, Rank>> const& in,
              std::type_identity_t<view<accumulator_t<T>, Rank>> const& state,
              view<T, Rank> const& y) const {
        using A = accumulator_t<T>;
        detail::operand<A, Rank> const out = y, carried = state;
        auto const whole = detail::with_axis(out, 0);
        setup<A, Rank + 1> s(name, whole, "y", 0, Reversed);
        s.call.y = s.output("y", whole);
        s.call.x = s.input("x", detail::with_axis(in.x, 0));
        if (linear) s.call.log_a = s.input("log_a", detail::with_axis(in.log_a, 0));
        if (carried.data == nullptr && out.data != nullptr) {
            detail::refuse(name, {"step is given a null state, expected one of y's extents (",
                                  y.size(), " elements)"});
        }
        s.call.in = s.call.out = s.state("state", carried, true);
        s.apart("y", out, "x", in.x);
        s.apart("y", out, "log_a", in.log_a);
        s.apart("y", out, "state", carried);
        s.apart("state", carried, "x", in.x);
        s.apart("state", carried, "log_a", in.log_a);
        detail::dispatch_scan<A, Kind>(place, s.call);
    }
};

namespace detail {

template <class Direction>
inline constexpr bool is_one_way =
    std::is_same_v<Direction, causal_t> || std::is_same_v<Direction, anticausal_t>;

}  // namespace detail

/// y_t = exp(log_a_t) y_(t-1) + x_t, or with `anticausal` y_t = exp(log_a_t) y_(t+1) + x_t.
/// The recurrence of HGRN (Qin et al. 2023, section 3) and minGRU (Feng et al. 2024, section 3).
template <class Direction = causal_t>
consteval auto scan(Direction = {}) {
    constexpr bool known = detail::is_one_way<Direction>;
    static_assert(known, "rondo::scan accepts one direction: causal or anticausal");
    return recurrence_t<detail::recurrence_kind::linear, std::is_same_v<Direction, anticausal_t>>{};
}

/// y_t = log sum_(s <= t) exp(x_s), or with `anticausal` the sum over s >= t. Logits of any finite
/// size and -inf are exact; an empty window gives -inf.
template <class Direction = causal_t>
consteval auto log_cumsum_exp(Direction = {}) {
    constexpr bool known = detail::is_one_way<Direction>;
    static_assert(known, "rondo::log_cumsum_exp accepts one direction: causal or anticausal");
    return recurrence_t<detail::recurrence_kind::log_sum,
                        std::is_same_v<Direction, anticausal_t>>{};
}

}  // namespace rondo::inline RONDO_ISA
