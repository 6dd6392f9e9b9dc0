#include "cuda/fused.cuh"

namespace device {
namespace {

namespace rd = rondo;
constexpr rd::exec::cuda place{};
constexpr auto rotation = rd::position::fused(rd::lrpe::rotation);
constexpr auto cosine = rd::position::fused(rd::lrpe::cosine);
constexpr auto halves = rd::position::fused(rd::position::half_split);

template <class T>
double fused_bound() {
    return bound_of<T>(1e-10, 2e-5) * (sizeof(T) == 2 ? 4 : 1);
}

/// body(place, q, k, v, gate, head gate, beta, o) on the device and on the processor.
template <class T, class Body>
void on_both(operands<T>& x, Body const& body) {
    body(place, x.q.read(), x.k.read(), x.v.read(), x.gate.read(), x.head_gate.read(),
         x.beta.read(), x.o.write());
    body(rd::exec::simd, x.q.twin(), x.k.twin(), x.v.twin(), x.gate.twin(), x.head_gate.twin(),
         x.beta.twin(), x.o.twin_to());
}

template <class T>
void whole_sequences(random& r, findings& to) {
    constexpr auto none = rd::attention(rd::decay::none, rotation);
    constexpr auto scalar =
        rd::attention(rd::decay::scalar, rotation, rd::feature::silu_half_unit, rd::bidirectional);
    constexpr auto vector = rd::attention(rd::decay::vector, rotation, rd::anticausal);
    constexpr auto lightnet = rd::attention(rd::decay::additive, rotation, rd::bidirectional);
    constexpr auto delta = rd::attention(rd::decay::scalar, rd::update::delta, rotation);
    for (int repeat = 0; repeat < 4; ++repeat) {
        index const heads = r.integer(1, 2), group = r.integer(1, 2);
        extents4 n{r.integer(1, 2), heads * group, r.integer(1, 150),
                   r.one_of<index>({64, 128, 7, 20})};
        auto const at = somewhere(r, n);
        operands<T> x(r, n, heads, r.one_of<index>({64, 9}));
        auto const say_it = [&](std::string const& name) {
            to.push_back(x.o.compare(name + " " + say(n), fused_bound<T>()));
        };
        on_both(x, [&](auto where, auto q, auto k, auto v, auto, auto, auto, auto o) {
            none.forward(where, {q, k, v}, o, {.at = at});
        });
        say_it("none");
        on_both(x, [&](auto where, auto q, auto k, auto v, auto, auto g, auto, auto o) {
            scalar.forward(where, {q, k, v, g}, o, {.at = at});
        });
        say_it("scalar, bidirectional, silu_half_unit");
        on_both(x, [&](auto where, auto q, auto k, auto v, auto g, auto, auto, auto o) {
            vector.forward(where, {q, k, v, g}, o, {.at = at});
        });
        say_it("vector, anticausal");
        on_both(x, [&](auto where, auto q, auto, auto v, auto g, auto, auto, auto o) {
            lightnet.forward(where, {q, rd::ones, v, g}, o, {.at = at});
        });
        say_it("additive, keys of ones");
        on_both(x, [&](auto where, auto q, auto k, auto v, auto, auto g, auto beta, auto o) {
            delta.forward(where, {q, k, v, g, beta}, o, {.at = at});
        });
        say_it("delta");
    }
}

/// The other turns: pairs half a row apart, and two channels of the state for each of memory, whose
/// gates count for both.
template <class T>
void other_turns(random& r, findings& to) {
    constexpr auto half_split = rd::attention(rd::decay::scalar, halves);
    constexpr auto none = rd::attention(rd::decay::none, cosine, rd::feature::silu_half_unit);
    constexpr auto vector = rd::attention(rd::decay::vector, cosine, rd::anticausal);
    constexpr auto lightnet = rd::attention(rd::decay::additive, cosine);
    for (index depth : {32, 64, 128, 10}) {
        index const heads = r.integer(1, 2), group = r.integer(1, 2);
        extents4 n{r.integer(1, 2), heads * group, r.integer(32, 150), depth};
        auto const at = somewhere(r, n);
        operands<T> x(r, n, heads, r.one_of<index>({64, 9}));
        auto const say_it = [&](std::string const& name) {
            to.push_back(x.o.compare(name + " " + say(n), fused_bound<T>()));
        };
        on_both(x, [&](auto where, auto q, auto k, auto v, auto, auto g, auto, auto o) {
            half_split.forward(where, {q, k, v, g}, o, {.at = at});
        });
        say_it("half_split, scalar");
        on_both(x, [&](auto where, auto q, auto k, auto v, auto, auto, auto, auto o) {
            none.forward(where, {q, k, v}, o, {.at = at});
        });
        say_it("cosine, none, silu_half_unit");
        on_both(x, [&](auto where, auto q, auto k, auto v, auto g, auto, auto, auto o) {
            vector.forward(where, {q, k, v, g}, o, {.at = at});
        });
        say_it("cosine, vector, anticausal");
        on_both(x, [&](auto where, auto q, auto, auto v, auto g, auto, auto, auto o) {
            lightnet.forward(where, {q, rd::ones, v, g}, o, {.at = at});
        });
        say_it("cosine, additive, keys of ones");
    }
}

template <class T>
void packed_and_paths(random& r, findings& to) {
    constexpr auto op = rd::attention(rd::decay::none, rotation);
    std::vector<rd::index> const offsets{0, 19, 19, 60};
    operands<T> x(r, {1, 2, 60, 64}, 2, 64);
    on_both(x, [&](auto where, auto q, auto k, auto v, auto, auto, auto, auto o) {
        op.forward(where, {q.packed(offsets), k.packed(offsets), v.packed(offsets)},
                   o.packed(offsets));
    });
    to.push_back(x.o.compare("packed", fused_bound<T>()));
    on_both(x, [&](auto where, auto q, auto k, auto v, auto, auto, auto, auto o) {
        rd::multiscan(op, rd::path::cross).forward(where, rd::grid{6, 10}, {q, k, v}, o);
    });
    to.push_back(x.o.compare("along paths", fused_bound<T>()));
}

template <class T, class Operator>
void steps(random& r, findings& to, Operator op) {
    using A = rd::accumulator_t<T>;
    index const B = 2, H = 3, D = r.one_of<index>({64, 9}), E = 20, tokens = 3;
    operands<T> x(r, {B, H, tokens, D}, H, E);
    auto const empty = [&](index size) { return oracle::values(std::size_t(size)); };
    index const deep = Operator::composition.turned_channels(D);
    field<A, 4> state(r, {B, H, deep, E}, support::memory::bhtd, empty(B * H * deep * E));
    auto twin = op.template state<double>(B, H, D, E);
    auto one = op.template state<A>(B, H, D, E);
    for (index t = 0; t < tokens; ++t) {
        auto const take = [&](auto where, auto state_view, auto q, auto k, auto v, auto g, auto o) {
            auto const at = [t](auto const& of) { return support::token(of, t); };
            op.step(where, {at(q), at(k), at(v), at(g)}, state_view, at(o),
                    {.at = {.offset = 50 + t}});
        };
        rd::state_view<A> carried = one;
        carried.s = state.write().data();
        carried.spare = nullptr;
        take(place, carried, x.q.read(), x.k.read(), x.v.read(), x.head_gate.read(), x.o.write());
        take(rd::exec::simd, rd::state_view<double>(twin), x.q.twin(), x.k.twin(), x.v.twin(),
             x.head_gate.twin(), x.o.twin_to());
    }
    to.push_back(x.o.compare("steps", fused_bound<T>()));
}

template <class T>
findings run() {
    random r("cuda fused " + name_of_type<T>());
    findings found;
    whole_sequences<T>(r, found);
    packed_and_paths<T>(r, found);
    other_turns<T>(r, found);
    steps<T>(r, found, rd::attention(rd::decay::scalar, rotation));
    steps<T>(r, found, rd::attention(rd::decay::scalar, cosine));
    return found;
}

}  // namespace

std::vector<element_cases> const& fused_cases() {
    static auto const all = for_every_type([]<class T>(std::type_identity<T>) { return run<T>(); });
    return all;
}

}  // namespace device
