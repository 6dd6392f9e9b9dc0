#pragma once

// From the oracle's structs to a call of the library, and back.

#include "support/problems.hpp"
#include "support/subject.hpp"
#include "support/words.hpp"

#include <rondo/rondo.hpp>

namespace support {

using oracle::composition;

// Between a view and the plain order of its axes: visit(element, number).
template <class T, int Rank, class Visit>
void for_each_element(rondo::view<T, Rank> const& view, Visit visit) {
    for (index n = 0; n < view.size(); ++n) {
        index at = 0, rest = n;
        for (int axis = Rank - 1; axis >= 0; --axis) {
            at += rest % view.extent(axis) * view.stride(axis);
            rest /= view.extent(axis);
        }
        visit(view.data()[at], n);
    }
}

template <class T, int Rank>
void fill(rondo::view<T, Rank> const& view, oracle::values const& values) {
    for_each_element(view, [&](T& x, index n) { x = static_cast<T>(values[n]); });
}

template <class T, int Rank>
oracle::values values_of(rondo::view<T, Rank> const& view) {
    oracle::values values;
    for_each_element(view, [&](T const& x, index) { values.push_back(static_cast<double>(x)); });
    return values;
}

template <class State>
void fill(State& to, oracle::state const& from, composition const& op) {
    fill(to.s(), from.s);
    if (op.normalized) fill(to.normalizer(), from.normalizer);
    if (!oracle::is_additive(op)) return;
    fill(to.max(), from.max);
    fill(to.sum(), from.sum);
}

template <class State>
oracle::state values_of(State& from, composition const& op) {
    oracle::state to{values_of(from.s()), {}, {}, {}};
    if (op.normalized) to.normalizer = values_of(from.normalizer());
    if (!oracle::is_additive(op)) return to;
    to.max = values_of(from.max());
    to.sum = values_of(from.sum());
    return to;
}

inline bool is_empty(oracle::state const& s) {
    auto zero = [](double x) { return x == 0; };
    auto none = [](double x) { return x == -oracle::infinity; };
    return std::all_of(s.s.begin(), s.s.end(), zero) &&
           std::all_of(s.normalizer.begin(), s.normalizer.end(), zero) &&
           std::all_of(s.max.begin(), s.max.end(), none);
}

/// call(the library's place)
template <class Call>
void in_place(arrangement const& a, Call call) {
    switch (a.place) {
        case place::serial: call(rondo::exec::serial); break;
        case place::simd: call(rondo::exec::simd); break;
        case place::openmp: call(rondo::exec::openmp.threads(a.threads)); break;
    }
}

/// What an operator is given: whole sequences (Rank 4), or one token of each (Rank 3).
template <class T, int Rank, int GateRank>
struct call_views {
    rondo::view<T const, Rank> q, k, v;
    rondo::view<T const, GateRank> gate;
    rondo::view<T const, Rank - 1> beta;
    rondo::view<T, Rank> o;
    bool ones;  // the key of ones stands for k
};

/// The tensors of a call. A gate has the rank that its decay asks for, and no elements without one.
template <class T, int GateRank>
struct tensors {
    tensor<T, 4> q, k, v;
    tensor<T, GateRank> gate;
    tensor<T, 3> beta;
    tensor<T, 4> o;

    tensors(problem const& p, memory m, random r = random("layout"))
        : q({p.n.B, p.n.Hq, p.n.T, p.n.D}, m, r, p.q),
          k({p.n.B, p.n.Hkv, p.n.T, p.n.D}, m, r, p.k),
          v({p.n.B, p.n.Hkv, p.n.T, p.n.E}, m, r, p.v),
          gate(gate_extents(p), m, r, p.gate),
          beta({p.n.B, p.n.Hkv, p.op.update == oracle::update::delta ? p.n.T : 0}, m, r, p.beta),
          o({p.n.B, p.n.Hq, p.n.T, p.n.E}, m, r) {}

    call_views<T, 4, GateRank> views(bool ones = false) {
        return {q.read(), k.read(), v.read(), gate.read(), beta.read(), o.write(), ones};
    }

private:
    static std::array<index, GateRank> gate_extents(problem const& p) {
        if (!oracle::has_gate(p.op)) return {};
        if constexpr (GateRank == 1) {
            return {p.n.Hkv};
        } else if constexpr (GateRank == 3) {
            return {p.n.B, p.n.Hkv, p.n.T};
        } else {
            return {p.n.B, p.n.Hkv, p.n.T, p.n.D};
        }
    }
};

/// The view of one token: the time axis, the third, is gone.
template <class T>
rondo::view<T, 3> token(rondo::view<T, 4> const& x, index t) {
    return {x.data() + t * x.stride(2),
            {x.extent(0), x.extent(1), x.extent(3)},
            {x.stride(0), x.stride(1), x.stride(3)}};
}
template <class T>
rondo::view<T, 2> token(rondo::view<T, 3> const& x, index t) {
    return {x.data() + t * x.stride(2), {x.extent(0), x.extent(1)}, {x.stride(0), x.stride(1)}};
}
template <class T>
rondo::view<T, 1> token(rondo::view<T, 1> const& x, index) {
    return x;  // a constant gate has no time axis
}

constexpr int token_rank(int rank) { return rank == 1 ? 1 : rank - 1; }

template <class T, int GateRank>
call_views<T, 3, token_rank(GateRank)> token(call_views<T, 4, GateRank> const& x, index t) {
    return {token(x.q, t),    token(x.k, t), token(x.v, t), token(x.gate, t),
            token(x.beta, t), token(x.o, t), x.ones};
}

// How operators are called with elements T. All that can be is compiled for each of these types and
// not for each operator: there are hundreds.
template <class T, int GateRank>
using forward_call = void (*)(call_views<T, 4, GateRank> const&, arrangement const&,
                              rondo::options<T> const&);
template <class T, int GateRank>
using step_call = void (*)(call_views<T, 3, token_rank(GateRank)> const&, arrangement const&,
                           rondo::options<T> const&, rondo::state<T>&);
template <class T>
using state_call = rondo::state<T> (*)(oracle::extents const&);

template <class T, int GateRank>
outcome run_forward(forward_call<T, GateRank> forward, state_call<T> state, problem const& p,
                    arrangement const& a) {
    tensors<T, GateRank> x(p, a.memory);
    rondo::options<T> with{.scale = p.scale, .eps = p.eps};
    oracle::state out;
    if (state) {
        auto carried = state(p.n);
        fill(carried, p.in, p.op);
        if (!is_empty(p.in)) with.in = std::as_const(carried);
        with.out = carried;
        forward(x.views(a.ones), a, with);
        out = values_of(carried, p.op);
    } else {
        forward(x.views(a.ones), a, with);
    }
    return {x.o.values(), out, x.o.gaps_intact()};
}

template <class T, int GateRank>
outcome run_steps(step_call<T, GateRank> step, state_call<T> state, problem const& p,
                  arrangement const& a) {
    tensors<T, GateRank> x(p, a.memory);
    rondo::options<T> const with{.scale = p.scale, .eps = p.eps};
    auto carried = state(p.n);
    fill(carried, p.in, p.op);
    bool const from_the_right = p.op.direction == oracle::direction::anticausal;
    for (index n = 0; n < p.n.T; ++n) {
        index const t = from_the_right ? p.n.T - 1 - n : n;
        step(token(x.views(a.ones), t), a, with, carried);
    }
    return {x.o.values(), values_of(carried, p.op), x.o.gaps_intact()};
}

/// One operator of the library, run on the oracle's problems.
template <class... Policies>
class compiled {
public:
    static composition meaning() {
        composition result;
        (say(Policies{}, result), ...);
        return result;
    }

    static std::string name() {
        composition unused;
        std::string words;
        ((words += (words.empty() ? "" : ", ") + say(Policies{}, unused)), ...);
        return "attention(" + words + ")";
    }

    static outcome forward(problem const& p, arrangement const& a) {
        return a.element == element::float32 ? run<float>(p, a) : run<double>(p, a);
    }

    static outcome steps(problem const& p, arrangement const& a) {
        return a.element == element::float32
                   ? run_steps<float, rank>(step_in<float>, state_of<float>, p, a)
                   : run_steps<double, rank>(step_in<double>, state_of<double>, p, a);
    }

    /// The operator along one or more paths over a grid of tokens.
    template <class Grid, class... Paths>
    static outcome multiscan(problem const& p, arrangement const& a, Grid const& tokens,
                             Paths... paths) {
        return a.element == element::float32 ? multiscan_in<float>(p, a, tokens, paths...)
                                             : multiscan_in<double>(p, a, tokens, paths...);
    }

protected:
    static constexpr auto op = rondo::attention(Policies{}...);
    static constexpr auto what = op.composition;
    static constexpr bool carries = !what.bidirectional();

    template <class T>
    using inputs = rondo::inputs<what, T>;
    template <class T>
    using token_inputs = rondo::inputs<what, T, true>;
    static constexpr int rank = what.gate_rank();

    /// {q, k, v} and of gate and beta those that the operator takes.
    template <class Inputs, class Key, class Views>
    static Inputs inputs_of(Key const& key, Views const& x) {
        if constexpr (what.gated() && what.delta) {
            return {x.q, key, x.v, x.gate, x.beta};
        } else if constexpr (what.gated()) {
            return {x.q, key, x.v, x.gate};
        } else if constexpr (what.delta) {
            return {x.q, key, x.v, x.beta};
        } else {
            return {x.q, key, x.v};
        }
    }

    template <class Inputs, class Views>
    static Inputs inputs_of(Views const& x) {
        return x.ones ? inputs_of<Inputs>(rondo::ones, x) : inputs_of<Inputs>(x.k, x);
    }

    template <class T>
    static void forward_in(call_views<T, 4, rank> const& x, arrangement const& a,
                           rondo::options<T> const& with) {
        auto const in = inputs_of<inputs<T>>(x);
        in_place(a, [&](auto where) {
            if constexpr (carries) {
                op.forward(where, in, x.o, with);
            } else {
                op.forward(where, in, x.o, {.scale = with.scale, .eps = with.eps});
            }
        });
    }

    template <class T>
    static void step_in(call_views<T, 3, token_rank(rank)> const& x, arrangement const& a,
                        rondo::options<T> const& with, rondo::state<T>& carried) {
        auto const in = inputs_of<token_inputs<T>>(x);
        in_place(a, [&](auto where) { op.step(where, in, carried, x.o, with); });
    }

    template <class T>
    static rondo::state<T> state_of(oracle::extents const& n) {
        return op.template state<T>(n.B, n.Hkv, n.D, n.E);
    }

    template <class T>
    static outcome run(problem const& p, arrangement const& a) {
        if constexpr (carries) {
            return run_forward<T, rank>(forward_in<T>, state_of<T>, p, a);
        } else {
            return run_forward<T, rank>(forward_in<T>, nullptr, p, a);
        }
    }

    template <class T, class Grid, class... Paths>
    static outcome multiscan_in(problem const& p, arrangement const& a, Grid const& tokens,
                                Paths...) {
        tensors<T, rank> x(p, a.memory);
        auto const views = x.views(a.ones);
        auto const in = inputs_of<inputs<T>>(views);
        in_place(a, [&](auto where) {
            rondo::multiscan(op, Paths{}...)
                .forward(where, tokens, in, views.o, {.scale = p.scale, .eps = p.eps});
        });
        return {x.o.values(), {}, x.o.gaps_intact()};
    }
};

}  // namespace support
