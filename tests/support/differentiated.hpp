#pragma once

// From the oracle's structs to a call of `backward`, and back.

#include "support/compiled.hpp"
#include "support/gradient_subject.hpp"

namespace support {

/// The tensors of a call of `backward`; what is not wanted stays empty.
template <class T, int GateRank>
struct gradient_tensors {
    tensors<T, GateRank> in, to;  // `o` is the output's gradient, in `in`
    gradient_call const& wanted;

    gradient_tensors(problem const& p, gradient_call const& call, memory m)
        : in(p, m), to(p, m, random("gradients")), wanted(call) {
        fill(in.o.write(), call.d_o);
        clear(to.q), clear(to.k), clear(to.v), clear(to.gate), clear(to.beta);
    }

    template <class Tensor>
    static auto view_of(Tensor& x, bool wanted) {
        auto view = x.write();
        return wanted ? view : decltype(view){};
    }

    gradient_outcome outcome(oracle::state const& d_in) const {
        bool intact = true;
        auto values = [&](auto const& x, bool wanted) {
            intact = intact && x.gaps_intact() && (wanted || untouched(x.values()));
            return wanted ? x.values() : oracle::values{};
        };
        oracle::gradients all{values(to.q, wanted.q),       values(to.k, wanted.k),
                              values(to.v, wanted.v),       values(to.gate, wanted.gate),
                              values(to.beta, wanted.beta), d_in};
        return {all, intact};
    }

private:
    /// What is not written stays NaN and shows.
    template <class Tensor>
    static void clear(Tensor& x) {
        for_each_element(x.write(),
                         [](T& value, index) { value = std::numeric_limits<T>::quiet_NaN(); });
    }
    static bool untouched(oracle::values const& x) {
        return std::all_of(x.begin(), x.end(), [](double a) { return std::isnan(a); });
    }
};

/// `backward` of one operator of the library, run on the oracle's problems.
template <class... Policies>
class differentiated : compiled<Policies...> {
    using base = compiled<Policies...>;
    using base::carries;
    using base::op;
    using base::rank;
    using base::what;

public:
    using base::meaning;
    using base::name;

    static gradient_outcome backward(problem const& p, gradient_call const& call,
                                     arrangement const& a) {
        return a.element == element::float32 ? run<float>(p, call, a) : run<double>(p, call, a);
    }

    /// Along paths over a grid of tokens.
    template <class Grid, class... Paths>
    static gradient_outcome multiscan(problem const& p, gradient_call const& call,
                                      arrangement const& a, Grid const& tokens, Paths...) {
        gradient_tensors<double, rank> x(p, call, a.memory);
        auto const in = base::template inputs_of<inputs<double>>(x.in.views(a.ones));
        in_place(a, [&](auto where) {
            rondo::multiscan(op, Paths{}...)
                .backward(where, tokens, in, x.in.o.read(), targets(x),
                          {.scale = p.scale, .eps = p.eps, .every = call.every});
        });
        return x.outcome({});
    }

private:
    template <class T>
    using inputs = rondo::inputs<what, T>;

    template <class T>
    static rondo::gradients<what, T> targets(gradient_tensors<T, rank>& x) {
        gradient_call const& wanted = x.wanted;
        auto view = [](auto& tensor, bool wants) {
            return gradient_tensors<T, rank>::view_of(tensor, wants);
        };
        auto const q = view(x.to.q, wanted.q), k = view(x.to.k, wanted.k),
                   v = view(x.to.v, wanted.v);
        if constexpr (what.gated() && what.delta) {
            return {q, k, v, view(x.to.gate, wanted.gate), view(x.to.beta, wanted.beta)};
        } else if constexpr (what.gated()) {
            return {q, k, v, view(x.to.gate, wanted.gate)};
        } else if constexpr (what.delta) {
            return {q, k, v, view(x.to.beta, wanted.beta)};
        } else {
            return {q, k, v};
        }
    }

    template <class T>
    static gradient_outcome run(problem const& p, gradient_call const& call, arrangement const& a) {
        gradient_tensors<T, rank> x(p, call, a.memory);
        auto const in = base::template inputs_of<inputs<T>>(x.in.views(a.ones));
        auto const backward = [&](auto const& with) {
            in_place(a,
                     [&](auto where) { op.backward(where, in, x.in.o.read(), targets(x), with); });
        };
        if constexpr (!carries) {
            backward(rondo::detail::stateless_gradient_options<T>{p.scale, p.eps, call.every});
            return x.outcome({});
        } else {
            auto from = base::template state_of<T>(p.n), out = from, to = from;
            fill(from, p.in, p.op);
            rondo::gradient_options<T> with{.scale = p.scale, .eps = p.eps, .every = call.every};
            if (!is_empty(p.in)) with.in = std::as_const(from);
            fill(out, call.d_out, p.op);
            if (call.hands_d_out) with.d_out = std::as_const(out);
            if (call.d_in) with.d_in = to;
            backward(with);
            return x.outcome(call.d_in ? values_of(to, p.op) : oracle::state{});
        }
    }
};

template <class... Policies>
gradient_subject in_some_forms() {
    gradient_subject s{
        differentiated<Policies...>::name(), differentiated<Policies...>::meaning(), {}};
    auto add = [&]<class... Form>(std::string const& name, Form...) {
        s.forms.push_back({name, &differentiated<Policies..., Form...>::backward});
    };
    add("");
    add("quadratic", rondo::quadratic);
    add("chunkwise<5>", rondo::chunkwise<5>);
    return s;
}

/// The same compositions as in `subjects`.
template <class Decay, bool Additive>
void add_gradients(std::vector<gradient_subject>& all) {
    namespace rd = rondo;
    using rd::feature::elu_plus_one_t, rd::feature::identity_t, rd::feature::relu_t;
    using rd::feature::silu_half_unit_t, rd::feature::silu_t;
    using on_write = rd::decay::on_write_t;
    using sum = rd::normalize::sum_t;
    auto one = [&]<class Direction>(Direction) {
        all.push_back(in_some_forms<Decay, rd::normalize::none_t, identity_t, Direction>());
        all.push_back(in_some_forms<Decay, sum, elu_plus_one_t, Direction>());
        if constexpr (!Additive) {
            all.push_back(in_some_forms<Decay, on_write, silu_t, Direction>());
            all.push_back(in_some_forms<Decay, on_write, sum, silu_half_unit_t, Direction>());
        }
    };
    one(rd::causal), one(rd::anticausal), one(rd::bidirectional);
    if constexpr (!Additive) {
        using delta = rd::update::delta_t;
        all.push_back(in_some_forms<Decay, delta, identity_t, rd::causal_t>());
        all.push_back(in_some_forms<Decay, delta, identity_t, rd::anticausal_t>());
        all.push_back(in_some_forms<Decay, delta, on_write, relu_t, rd::causal_t>());
        all.push_back(in_some_forms<Decay, delta, on_write, relu_t, rd::anticausal_t>());
    }
}

void add_gradients_none(std::vector<gradient_subject>& all);
void add_gradients_constant(std::vector<gradient_subject>& all);
void add_gradients_scalar(std::vector<gradient_subject>& all);
void add_gradients_vector(std::vector<gradient_subject>& all);
void add_gradients_additive(std::vector<gradient_subject>& all);

}  // namespace support
