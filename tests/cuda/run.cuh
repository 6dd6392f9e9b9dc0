#pragma once

// From the oracle's structs to a call on device memory, and back.

#include "cuda/subject.hpp"
#include "support/compiled.hpp"

#include <rondo/cuda.cuh>

#include <Eigen/Core>

namespace device {

/// A copy of host memory on the device.
template <class T>
class copied {
public:
    explicit copied(std::vector<T> const& from) : host_(from.data()), size_(from.size()) {
        rondo::cuda::expect("cudaMalloc", cudaMalloc(&data_, size_ * sizeof(T) + 1));
        rondo::cuda::expect("cudaMemcpy", cudaMemcpy(data_, from.data(), size_ * sizeof(T),
                                                     cudaMemcpyHostToDevice));
    }
    copied(copied const&) = delete;
    ~copied() { static_cast<void>(cudaFree(data_)); }

    void back(std::vector<T>& to) const {
        rondo::cuda::expect(
            "cudaMemcpy", cudaMemcpy(to.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    }
    /// Makes it NaN.
    void poison() { rondo::cuda::expect("cudaMemset", cudaMemset(data_, 0xFF, size_ * sizeof(T))); }
    /// The place on the device of a place of the host memory.
    template <class U>
    U* at(U* host) const {
        return host == nullptr ? nullptr : reinterpret_cast<U*>(data_) + (host - host_);
    }
    template <class U, int Rank>
    rondo::view<U, Rank> at(rondo::view<U, Rank> const& x) const {
        return {at(x.data()), x.extents(), x.strides()};
    }

private:
    T const* host_;
    std::size_t size_;
    T* data_ = nullptr;
};

/// The tensors of a call on the host and on the device.
template <class T, int GateRank>
struct device_tensors : support::tensors<T, GateRank> {
    using host = support::tensors<T, GateRank>;
    copied<T> q, k, v, gate, beta, o;

    device_tensors(problem const& p, support::memory m)
        : host(p, m),
          q(host::q.storage()),
          k(host::k.storage()),
          v(host::v.storage()),
          gate(host::gate.storage()),
          beta(host::beta.storage()),
          o(host::o.storage()) {}

    support::call_views<T, 4, GateRank> views(bool ones) {
        auto const x = host::views(ones);
        return {q.at(x.q), k.at(x.k), v.at(x.v), gate.at(x.gate), beta.at(x.beta), o.at(x.o), ones};
    }

    outcome taken(oracle::state out) {
        o.back(host::o.storage());
        return {host::o.values(), out, host::o.gaps_intact()};
    }
};

/// A state on the device.
template <class A>
class device_state {
public:
    device_state(rondo::state<A>& host, problem const& p)
        : host_(host), all_(numbers(p)), memory_(all_) {}

    template <class B>
    rondo::state_view<B> view() {
        rondo::state_view<B> x = host_;
        std::ptrdiff_t const moved = memory_.at(all_.data()) - host_.s().data();
        for (B** part : {&x.s, &x.normalizer, &x.max, &x.sum}) {
            if (*part != nullptr) *part += moved;
        }
        x.spare = nullptr;
        return x;
    }

    oracle::state values(oracle::composition const& op) {
        memory_.back(all_);
        std::copy(all_.begin(), all_.end(), host_.s().data());
        return support::values_of(host_, op);
    }

private:
    std::vector<A> numbers(problem const& p) {
        support::fill(host_, p.in, p.op);
        index const size = host_.s().size() + host_.normalizer().size() + 2 * host_.max().size();
        return {host_.s().data(), host_.s().data() + size};
    }

    rondo::state<A>& host_;
    std::vector<A> all_;
    copied<A> memory_;
};

template <class... Policies>
class on_device : support::compiled<Policies...> {
    using base = support::compiled<Policies...>;
    using base::carries, base::op, base::rank, base::what;
    static constexpr rondo::exec::cuda place{};

    template <class T>
    using A = rondo::accumulator_t<T>;

    template <class T, int Rank>
    static rondo::view<T, Rank> packed(rondo::view<T, Rank> const& x, arrangement const& a) {
        return a.offsets.empty() || Rank < 3 ? x : x.packed(a.offsets);
    }

    template <class T>
    static auto whole(support::call_views<T, 4, rank> x, arrangement const& a) {
        x.q = packed(x.q, a), x.k = packed(x.k, a), x.v = packed(x.v, a), x.o = packed(x.o, a);
        if (x.gate.data() != nullptr) x.gate = packed(x.gate, a);
        if (x.beta.data() != nullptr) x.beta = packed(x.beta, a);
        return x;
    }

    template <class T>
    static outcome run(problem const& p, arrangement const& a) {
        device_tensors<T, rank> x(p, a.memory);
        auto const views = whole(x.views(a.ones), a);
        auto const in = base::template inputs_of<rondo::inputs<what, A<T>>>(views);
        if constexpr (!carries) {
            op.forward(place, in, views.o, {.scale = p.scale, .eps = p.eps});
            return x.taken({});
        } else {
            index const sequences = a.offsets.empty() ? p.n.B : index(a.offsets.size()) - 1;
            auto const make = [&] {
                return op.template state<T>(sequences, p.n.Hkv, p.n.D, p.n.E);
            };
            auto first = make(), last = make();
            device_state<A<T>> from(first, p), to(last, p);
            rondo::options<A<T>> with{.scale = p.scale, .eps = p.eps};
            if (!support::is_empty(p.in) || a.in_place) {
                with.in =
                    a.in_place ? to.template view<A<T> const>() : from.template view<A<T> const>();
            }
            with.out = to.template view<A<T>>();
            op.forward(place, in, views.o, with);
            return x.taken(to.values(p.op));
        }
    }

    template <class T>
    static outcome run_steps(problem const& p, arrangement const& a) {
        device_tensors<T, rank> x(p, a.memory);
        auto carried = op.template state<T>(p.n.B, p.n.Hkv, p.n.D, p.n.E);
        device_state<A<T>> state(carried, p);
        bool const from_the_right = p.op.direction == oracle::direction::anticausal;
        for (index n = 0; n < p.n.T; ++n) {
            index const t = from_the_right ? p.n.T - 1 - n : n;
            auto const views = support::token(x.views(a.ones), t);
            auto const in = base::template inputs_of<rondo::inputs<what, A<T>, true>>(views);
            op.step(place, in, state.template view<A<T>>(), views.o,
                    {.scale = p.scale, .eps = p.eps});
        }
        return x.taken(state.values(p.op));
    }

public:
    static outcome forward(problem const& p, arrangement const& a) {
        switch (a.element) {
            case element::float32: return run<float>(p, a);
            case element::float64: return run<double>(p, a);
            case element::bfloat16: return run<Eigen::bfloat16>(p, a);
            default: return run<Eigen::half>(p, a);
        }
    }

    static outcome steps(problem const& p, arrangement const& a) {
        switch (a.element) {
            case element::float32: return run_steps<float>(p, a);
            case element::float64: return run_steps<double>(p, a);
            default: return run_steps<Eigen::bfloat16>(p, a);
        }
    }

    static subject row() {
        subject s{base::name(), base::meaning(), &on_device::forward, nullptr};
        if constexpr (carries) s.steps = &on_device::steps;
        return s;
    }

    template <class... Paths>
    static grid_subject along(Paths... paths) {
        grid_subject s{base::name() + " along ", base::meaning(), {}, {}};
        ((s.name += support::say(paths, s.paths) + " "), ...);
        s.forward = [](problem const& p, arrangement const& a, index rows, index columns) {
            device_tensors<float, rank> x(p, a.memory);
            auto const views = x.views(a.ones);
            auto const in = base::template inputs_of<rondo::inputs<what, float>>(views);
            rondo::multiscan(op, Paths{}...)
                .forward(place, rondo::grid{rows, columns}, in, views.o,
                         {.scale = p.scale, .eps = p.eps});
            return x.taken({});
        };
        return s;
    }
};

}  // namespace device
