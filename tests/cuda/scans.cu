#include "cuda/field.cuh"

namespace device {
namespace {

namespace rd = rondo;
constexpr rd::exec::cuda place{};

template <int Rank>
using extents_of = std::array<index, std::size_t(Rank)>;

extents_of<2> without(extents_of<3> const& n, int axis) {
    return {n[axis == 0 ? 1 : 0], n[axis == 2 ? 1 : 2]};
}

oracle::values numbers(random& r, index count, double low, double high) {
    return support::uniform(r, count, low, high);
}

/// What a call of three axes reads, with hard resets, or with logits of any size.
template <class T, bool Gated>
struct operands {
    using A = rd::accumulator_t<T>;
    extents_of<3> n;
    int axis;
    extents_of<2> ends;
    field<T, 3> x, log_a;
    field<A, 2> in;

    explicit operands(random& r)
        : n(extents(r)),
          axis(int(r.integer(0, 2))),
          ends(without(n, axis)),
          x(r, n, any_memory(r), inputs(r)),
          log_a(r, n, any_memory(r), gates(r)),
          in(r, ends, any_memory(r), numbers(r, ends[0] * ends[1], -1, 1)) {}

    index size() const { return n[0] * n[1] * n[2]; }
    std::string say_it(std::string const& name) const {
        return name + " " + name_of_type<T>() + " axis " + std::to_string(axis) + " of " + say(n);
    }

private:
    static extents_of<3> extents(random& r) {
        extents_of<3> n{r.integer(0, 3), r.one_of<index>({0, 1, 7, 40, 300}),
                        r.one_of<index>({1, 3, 17, 70, 2900})};
        if (r.chance(0.5)) std::swap(n[1], n[2]);
        return n;
    }
    oracle::values inputs(random& r) const {
        auto x = numbers(r, size(), -1, 1);
        if (!Gated && size() > 0 && r.chance(0.5)) {
            x[std::size_t(size()) / 3] = 1e4;
            x[std::size_t(size()) / 2] = -1e4;
            x[std::size_t(size()) / 4] = -oracle::infinity;
        }
        return x;
    }
    oracle::values gates(random& r) const {
        auto log_a = numbers(r, size(), -2, 0);
        if (size() > 0) log_a[std::size_t(size()) / 2] = -oracle::infinity;
        return log_a;
    }
};

template <class T, bool Gated, class Operator>
void forward_case(random& r, Operator op, std::string const& name, std::vector<finding>& to) {
    using A = rd::accumulator_t<T>;
    operands<T, Gated> const all(r);
    auto const& [n, axis, ends, xs, as, in] = all;
    field<T, 3> y(r, n, any_memory(r));
    field<A, 2> out(r, ends, any_memory(r));
    bool const given = r.chance(0.7);
    rd::scan_options<A, 3> with{.axis = axis};
    rd::scan_options<double, 3> twin_with{.axis = axis};
    if (given) {
        with.in = in.read(), with.out = out.write();
        twin_with.in = in.twin(), twin_with.out = out.twin_to();
    }
    if constexpr (!Gated) {
        op.forward(place, {xs.read()}, y.write(), with);
        op.forward(rd::exec::simd, {xs.twin()}, y.twin_to(), twin_with);
    } else {
        op.forward(place, {xs.read(), as.read()}, y.write(), with);
        op.forward(rd::exec::simd, {xs.twin(), as.twin()}, y.twin_to(), twin_with);
    }
    std::string const what = all.say_it(name);
    to.push_back(y.compare(what, bound_of<T>(1e-12, 1e-5)));
    if (given) to.push_back(out.compare(what + ", state", bound_of<A>(1e-12, 1e-5)));
}

template <class T, bool Gated, class Operator>
void backward_case(random& r, Operator op, std::string const& name, std::vector<finding>& to) {
    using A = rd::accumulator_t<T>;
    operands<T, Gated> const all(r);
    auto const& [n, axis, ends, xs, as, in] = all;
    field<T, 3> const d_y(r, n, any_memory(r), numbers(r, all.size(), -1, 1));
    field<A, 2> const d_out(r, ends, any_memory(r), numbers(r, ends[0] * ends[1], -1, 1));
    field<T, 3> d_x(r, n, any_memory(r)), d_log_a(r, n, any_memory(r));
    field<A, 2> d_in(r, ends, any_memory(r));
    bool const given = r.chance(0.7), wants_x = r.chance(0.8), wants_a = Gated && r.chance(0.8);
    rd::scan_backward_options<A, 3> with{.axis = axis};
    rd::scan_backward_options<double, 3> twin_with{.axis = axis};
    if (given) {
        with.in = in.read(), with.d_out = d_out.read(), with.d_in = d_in.write();
        twin_with.in = in.twin(), twin_with.d_out = d_out.twin();
        twin_with.d_in = d_in.twin_to();
    }
    rd::scan_gradients<A, 3> wanted;
    rd::scan_gradients<double, 3> twin_wanted;
    if (wants_x) wanted.x = d_x.write(), twin_wanted.x = d_x.twin_to();
    if (wants_a) wanted.log_a = d_log_a.write(), twin_wanted.log_a = d_log_a.twin_to();
    auto const on_device = [&](rd::exec::cuda where) {
        if constexpr (Gated) {
            op.backward(where, {xs.read(), as.read()}, d_y.read(), wanted, with);
        } else {
            op.backward(where, {xs.read()}, d_y.read(), wanted, with);
        }
    };
    std::string const what = all.say_it(name + " backward");
    to.push_back(same_bits(what, on_device, d_x, d_log_a, d_in));
    if constexpr (Gated) {
        op.backward(rd::exec::simd, {xs.twin(), as.twin()}, d_y.twin(), twin_wanted, twin_with);
    } else {
        op.backward(rd::exec::simd, {xs.twin()}, d_y.twin(), twin_wanted, twin_with);
    }
    if (wants_x) to.push_back(d_x.compare(what + ", x", gradient_bound<T>()));
    if (wants_a) to.push_back(d_log_a.compare(what + ", log_a", gradient_bound<T>()));
    if (given) to.push_back(d_in.compare(what + ", in", gradient_bound<A>()));
}

template <class T, bool Gated, class Operator>
void step_case(random& r, Operator op, std::string const& name, std::vector<finding>& to) {
    using A = rd::accumulator_t<T>;
    extents_of<2> const n{r.integer(1, 3), r.one_of<index>({1, 33, 700})};
    index const size = n[0] * n[1];
    field<T, 2> const x(r, n, any_memory(r), numbers(r, size, -1, 1));
    field<T, 2> const a(r, n, any_memory(r), numbers(r, size, -2, 0));
    field<A, 2> state(r, n, any_memory(r), numbers(r, size, -1, 1));
    field<T, 2> y(r, n, any_memory(r));
    if constexpr (!Gated) {
        op.step(place, {x.read()}, state.write(), y.write());
        op.step(rd::exec::simd, {x.twin()}, state.twin_to(), y.twin_to());
    } else {
        op.step(place, {x.read(), a.read()}, state.write(), y.write());
        op.step(rd::exec::simd, {x.twin(), a.twin()}, state.twin_to(), y.twin_to());
    }
    std::string const what = name + " step " + name_of_type<T>() + " of " + say(n);
    to.push_back(y.compare(what, bound_of<T>(1e-12, 1e-5)));
    to.push_back(state.compare(what + ", state", bound_of<A>(1e-12, 1e-5)));
}

template <class T, bool Gated, class Operator>
void both_ways(random& r, Operator op, std::string const& name, std::vector<finding>& to) {
    forward_case<T, Gated>(r, op, name, to);
    backward_case<T, Gated>(r, op, name, to);
}

template <class T>
std::vector<finding> run() {
    random r("cuda scan " + name_of_type<T>());
    std::vector<finding> found;
    for (int i = 0; i < 12; ++i) {
        both_ways<T, true>(r, rd::scan(rd::causal), "scan", found);
        both_ways<T, true>(r, rd::scan(rd::anticausal), "scan, anticausal", found);
        both_ways<T, false>(r, rd::log_cumsum_exp(rd::causal), "log_cumsum_exp", found);
        both_ways<T, false>(r, rd::log_cumsum_exp(rd::anticausal), "log_cumsum_exp, anticausal",
                            found);
    }
    step_case<T, true>(r, rd::scan(rd::causal), "scan", found);
    step_case<T, false>(r, rd::log_cumsum_exp(rd::anticausal), "log_cumsum_exp", found);
    return found;
}

}  // namespace

std::vector<element_cases> const& scan_cases() {
    static auto const all = for_every_type([]<class T>(std::type_identity<T>) { return run<T>(); });
    return all;
}

}  // namespace device
