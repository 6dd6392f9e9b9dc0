#pragma once

// From the oracle's structs to a call of `backward` on device memory, and back.

#include "cuda/gradient.hpp"
#include "cuda/run.cuh"
#include "support/differentiated.hpp"

namespace device {

/// The tensors of a call of `backward` on the host and on the device.
template <class T, int GateRank>
struct device_gradients : support::gradient_tensors<T, GateRank> {
    using host = support::gradient_tensors<T, GateRank>;
    copied<T> q, k, v, gate, beta, d_o, d_q, d_k, d_v, d_gate, d_beta;

    device_gradients(problem const& p, gradient_call const& call, support::memory m)
        : host(p, call, m),
          q(host::in.q.storage()),
          k(host::in.k.storage()),
          v(host::in.v.storage()),
          gate(host::in.gate.storage()),
          beta(host::in.beta.storage()),
          d_o(host::in.o.storage()),
          d_q(host::to.q.storage()),
          d_k(host::to.k.storage()),
          d_v(host::to.v.storage()),
          d_gate(host::to.gate.storage()),
          d_beta(host::to.beta.storage()) {}

    support::call_views<T, 4, GateRank> views(bool ones) {
        auto const x = host::in.views(ones);
        return {q.at(x.q),       k.at(x.k),   v.at(x.v), gate.at(x.gate),
                beta.at(x.beta), d_o.at(x.o), ones};
    }

    gradient_outcome taken(oracle::state const& d_in) {
        d_q.back(host::to.q.storage());
        d_k.back(host::to.k.storage());
        d_v.back(host::to.v.storage());
        d_gate.back(host::to.gate.storage());
        d_beta.back(host::to.beta.storage());
        return host::outcome(d_in);
    }
};

template <class... Policies>
class gradients_on_device : support::compiled<Policies...> {
    using base = support::compiled<Policies...>;
    using base::carries, base::op, base::rank, base::what;
    static constexpr rondo::exec::cuda place{};

    template <class T>
    using A = rondo::accumulator_t<T>;

    template <class View>
    static View whole(View const& x, arrangement const& a) {
        if constexpr (View::rank < 3) {
            return x;
        } else {
            return a.offsets.empty() || x.data() == nullptr ? x : View(x.packed(a.offsets));
        }
    }

    template <class T>
    static rondo::gradients<what, A<T>> targets(device_gradients<T, rank>& x,
                                                arrangement const& a) {
        gradient_call const& wanted = x.wanted;
        auto const view = [&](auto const& memory, auto& tensor, bool wants) {
            auto const v = memory.at(tensor.write());
            return wants ? whole(v, a) : decltype(v){};
        };
        auto const q = view(x.d_q, x.to.q, wanted.q), v = view(x.d_v, x.to.v, wanted.v);
        auto const k = view(x.d_k, x.to.k, wanted.k && !a.ones);
        if constexpr (what.gated() && what.delta) {
            return {q, k, v, view(x.d_gate, x.to.gate, wanted.gate),
                    view(x.d_beta, x.to.beta, wanted.beta)};
        } else if constexpr (what.gated()) {
            return {q, k, v, view(x.d_gate, x.to.gate, wanted.gate)};
        } else if constexpr (what.delta) {
            return {q, k, v, view(x.d_beta, x.to.beta, wanted.beta)};
        } else {
            return {q, k, v};
        }
    }

    template <class T>
    static auto inputs(device_gradients<T, rank>& x, arrangement const& a) {
        auto views = x.views(a.ones);
        views.q = whole(views.q, a), views.k = whole(views.k, a), views.v = whole(views.v, a);
        views.gate = whole(views.gate, a), views.beta = whole(views.beta, a);
        views.o = whole(views.o, a);
        return views;
    }

    template <class T>
    static gradient_outcome run(problem const& p, gradient_call const& call, arrangement const& a) {
        device_gradients<T, rank> x(p, call, a.memory);
        auto const views = inputs(x, a);
        auto const in = base::template inputs_of<rondo::inputs<what, A<T>>>(views);
        if constexpr (!carries) {
            op.backward(place, in, views.o, targets(x, a), {.scale = p.scale, .eps = p.eps});
            return x.taken({});
        } else {
            index const sequences = a.offsets.empty() ? p.n.B : index(a.offsets.size()) - 1;
            auto const make = [&] {
                return op.template state<T>(sequences, p.n.Hkv, p.n.D, p.n.E);
            };
            auto from = make(), out = make(), to = make();
            problem given = p;
            given.n.B = sequences;
            if (!a.offsets.empty()) given.in = oracle::empty_state(p.op, given.n);
            device_state<A<T>> in_state(from, given);
            if (a.offsets.empty()) given.in = call.d_out;
            device_state<A<T>> d_out(out, given), d_in(to, given);
            rondo::gradient_options<A<T>> with{.scale = p.scale, .eps = p.eps};
            if (!support::is_empty(p.in)) with.in = in_state.template view<A<T> const>();
            if (call.hands_d_out) with.d_out = d_out.template view<A<T> const>();
            if (call.d_in) with.d_in = d_in.template view<A<T>>();
            op.backward(place, in, views.o, targets(x, a), with);
            return x.taken(call.d_in ? d_in.values(p.op) : oracle::state{});
        }
    }

public:
    static gradient_outcome backward(problem const& p, gradient_call const& call,
                                     arrangement const& a) {
        switch (a.element) {
            case element::float32: return run<float>(p, call, a);
            case element::float64: return run<double>(p, call, a);
            case element::bfloat16: return run<Eigen::bfloat16>(p, call, a);
            default: return run<Eigen::half>(p, call, a);
        }
    }

    static gradient_row row() { return {base::name(), base::meaning(), &backward}; }

    template <class... Paths>
    static gradient_grid_row along(Paths... paths) {
        gradient_grid_row s{base::name() + " along ", base::meaning(), {}, {}};
        ((s.name += support::say(paths, s.paths) + " "), ...);
        s.backward = [](problem const& p, gradient_call const& call, arrangement const& a,
                        index rows, index columns) {
            return a.element == element::bfloat16
                       ? run_along<Eigen::bfloat16>(p, call, a, rows, columns, Paths{}...)
                       : run_along<double>(p, call, a, rows, columns, Paths{}...);
        };
        return s;
    }

private:
    template <class T, class... Paths>
    static gradient_outcome run_along(problem const& p, gradient_call const& call,
                                      arrangement const& a, index rows, index columns,
                                      Paths... paths) {
        device_gradients<T, rank> x(p, call, a.memory);
        auto const views = inputs(x, a);
        auto const in = base::template inputs_of<rondo::inputs<what, A<T>>>(views);
        rondo::multiscan(op, paths...)
            .backward(place, rondo::grid{rows, columns}, in, views.o, targets(x, a),
                      {.scale = p.scale, .eps = p.eps});
        return x.taken({});
    }
};

}  // namespace device
