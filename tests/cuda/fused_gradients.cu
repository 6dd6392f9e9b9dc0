#include "cuda/fused.cuh"

namespace device {
namespace {

namespace rd = rondo;

/// What backward is given and leaves beside the operands.
template <class T>
struct gradient_fields {
    field<T, 4> d_o, q, k, v, gate;
    field<T, 3> head_gate, beta;

    gradient_fields(random& r, extents4 const& n, index heads, index width)
        : d_o(r, {n[0], n[1], n[2], width}, fast_or_any(r),
              support::uniform(r, n[0] * n[1] * n[2] * width, -1, 1)),
          q(r, n, fast_or_any(r)),
          k(r, {n[0], heads, n[2], n[3]}, fast_or_any(r)),
          v(r, {n[0], heads, n[2], width}, fast_or_any(r)),
          gate(r, {n[0], heads, n[2], n[3]}, fast_or_any(r)),
          head_gate(r, {n[0], heads, n[2]}, fast_or_any(r)),
          beta(r, {n[0], heads, n[2]}, fast_or_any(r)) {}

    static double bound() { return sizeof(T) == 8 ? 1e-9 : sizeof(T) == 4 ? 1e-4 : 5e-3; }
};

/// The views of one place.
template <class T>
struct device_views {
    operands<T>& x;
    gradient_fields<T>& d;
    static auto in(auto& f) { return f.read(); }
    static auto out(auto& f) { return f.write(); }
};
template <class T>
struct twin_views {
    operands<T>& x;
    gradient_fields<T>& d;
    static auto in(auto& f) { return f.twin(); }
    static auto out(auto& f) { return f.twin_to(); }
};

/// The gradients of one operator: body(place, views) calls it, `wanted` are those that it leaves.
template <class T, class Body, class... Fields>
void gradients_on_both(std::string const& name, operands<T>& x, gradient_fields<T>& d, findings& to,
                       Body const& body, Fields&... wanted) {
    auto const on_device = [&](rd::exec::cuda where) { body(where, device_views<T>{x, d}); };
    to.push_back(same_bits(name, on_device, wanted...));
    body(rd::exec::simd, twin_views<T>{x, d});
    int number = 0;
    auto const compare = [&](auto& one) {
        to.push_back(one.compare_norm(name + ", gradient " + std::to_string(number++),
                                      gradient_fields<T>::bound()));
    };
    (compare(wanted), ...);
}

template <class T, class Turn>
void gradients_of(random& r, Turn, std::string const& name, findings& to) {
    constexpr auto fused = rd::position::fused(Turn{});
    constexpr auto none = rd::attention(rd::decay::none, fused);
    constexpr auto mapped =
        rd::attention(rd::decay::none, fused, rd::feature::silu_half_unit, rd::bidirectional);
    constexpr auto scalar = rd::attention(rd::decay::scalar, fused);
    constexpr auto vector = rd::attention(rd::decay::vector, fused, rd::anticausal);
    constexpr auto lightnet = rd::attention(rd::decay::additive, fused, rd::bidirectional);
    constexpr auto delta =
        rd::attention(rd::decay::scalar, rd::update::delta, fused, rd::feature::silu);
    for (index depth : {32, 64, 128, 10}) {
        index const heads = r.integer(1, 2), group = r.integer(1, 2);
        extents4 n{r.integer(1, 2), heads * group, r.one_of<index>({0, 1, 40, 130}), depth};
        auto const at = somewhere(r, n);
        index const width = r.one_of<index>({64, 9});
        operands<T> x(r, n, heads, width);
        gradient_fields<T> d(r, n, heads, width);
        std::string const what = name + " backward " + say(n) + " E=" + std::to_string(width);
        auto const check = [&](std::string const& which, auto const& body, auto&... wanted) {
            gradients_on_both(what + ", " + which, x, d, to, body, wanted...);
        };
        check(
            "none",
            [&](auto where, auto const& s) {
                none.backward(where, {s.in(s.x.q), s.in(s.x.k), s.in(s.x.v)}, s.in(s.d.d_o),
                              {s.out(s.d.q), s.out(s.d.k), s.out(s.d.v)}, {.at = at});
            },
            d.q, d.k, d.v);
        check(
            "none, mapped",
            [&](auto where, auto const& s) {
                mapped.backward(where, {s.in(s.x.q), s.in(s.x.k), s.in(s.x.v)}, s.in(s.d.d_o),
                                {s.out(s.d.q), s.out(s.d.k), s.out(s.d.v)}, {.at = at});
            },
            d.q, d.k, d.v);
        check(
            "scalar",
            [&](auto where, auto const& s) {
                scalar.backward(where, {s.in(s.x.q), s.in(s.x.k), s.in(s.x.v), s.in(s.x.head_gate)},
                                s.in(s.d.d_o),
                                {s.out(s.d.q), s.out(s.d.k), s.out(s.d.v), s.out(s.d.head_gate)},
                                {.at = at});
            },
            d.q, d.k, d.v, d.head_gate);
        check(
            "vector",
            [&](auto where, auto const& s) {
                vector.backward(
                    where, {s.in(s.x.q), s.in(s.x.k), s.in(s.x.v), s.in(s.x.gate)}, s.in(s.d.d_o),
                    {s.out(s.d.q), s.out(s.d.k), s.out(s.d.v), s.out(s.d.gate)}, {.at = at});
            },
            d.q, d.k, d.v, d.gate);
        check(
            "additive, keys of ones",
            [&](auto where, auto const& s) {
                lightnet.backward(
                    where, {s.in(s.x.q), rd::ones, s.in(s.x.v), s.in(s.x.gate)}, s.in(s.d.d_o),
                    {.q = s.out(s.d.q), .v = s.out(s.d.v), .gate = s.out(s.d.gate)}, {.at = at});
            },
            d.q, d.v, d.gate);
        check(
            "delta, silu",
            [&](auto where, auto const& s) {
                delta.backward(
                    where,
                    {s.in(s.x.q), s.in(s.x.k), s.in(s.x.v), s.in(s.x.head_gate), s.in(s.x.beta)},
                    s.in(s.d.d_o), {.k = s.out(s.d.k), .beta = s.out(s.d.beta)}, {.at = at});
            },
            d.k, d.beta);
    }
}

/// Packed sequences, and a grid walked along its paths.
template <class T>
void packed_gradients(random& r, findings& to) {
    constexpr auto op =
        rd::attention(rd::decay::none, rd::position::fused(rd::lrpe::rotation), rd::feature::silu);
    std::vector<rd::index> const offsets{0, 19, 19, 60};
    operands<T> x(r, {1, 2, 60, 64}, 2, 64);
    gradient_fields<T> d(r, {1, 2, 60, 64}, 2, 64);
    auto const along = rd::multiscan(op, rd::path::cross);
    gradients_on_both(
        "packed backward", x, d, to,
        [&](auto where, auto const& s) {
            auto const in = [&](auto& f) { return s.in(f).packed(offsets); };
            auto const out = [&](auto& f) { return s.out(f).packed(offsets); };
            op.backward(where, {in(s.x.q), in(s.x.k), in(s.x.v)}, in(s.d.d_o),
                        {out(s.d.q), out(s.d.k), out(s.d.v)});
        },
        d.q, d.k, d.v);
    gradients_on_both(
        "backward along paths", x, d, to,
        [&](auto where, auto const& s) {
            along.backward(where, rd::grid{6, 10}, {s.in(s.x.q), s.in(s.x.k), s.in(s.x.v)},
                           s.in(s.d.d_o), {s.out(s.d.q), s.out(s.d.k), s.out(s.d.v)});
        },
        d.q, d.k, d.v);
}

/// The gradient by the first state from that by the last, of a state that meets turned keys.
template <class T, class Turn>
void gradients_of_states(random& r, Turn, findings& to) {
    constexpr auto op = rd::attention(rd::decay::scalar, rd::position::fused(Turn{}));
    using A = rd::accumulator_t<T>;
    index const B = 2, H = 3, D = r.one_of<index>({64, 10}), E = 64;
    index const deep = op.composition.turned_channels(D), size = B * H * deep * E;
    extents4 const n{B, H, 70, D}, states{B, H, deep, E};
    operands<T> x(r, n, H, E);
    gradient_fields<T> d(r, n, H, E);
    field<A, 4> in(r, states, support::memory::bhtd, support::uniform(r, size, -1, 1));
    field<A, 4> d_out(r, states, support::memory::bhtd, support::uniform(r, size, -1, 1));
    field<A, 4> d_in(r, states, support::memory::bhtd);
    auto const check = [&](auto where, auto const& s) {
        using Number = std::remove_pointer_t<decltype(s.out(d_in).data())>;
        auto shape = op.template state<Number>(B, H, D, E);
        auto const at = [&]<class Entry>(Entry* entries) {
            rd::state_view<Entry> view = shape;
            view.s = entries;
            view.spare = nullptr;
            return view;
        };
        op.backward(where, {s.in(s.x.q), s.in(s.x.k), s.in(s.x.v), s.in(s.x.head_gate)},
                    s.in(s.d.d_o), {s.out(s.d.q), s.out(s.d.k), s.out(s.d.v), s.out(s.d.head_gate)},
                    {.in = at(s.in(in).data()),
                     .d_out = at(s.in(d_out).data()),
                     .d_in = at(s.out(d_in).data()),
                     .at = {.skip = 2, .offset = 7}});
    };
    gradients_on_both("states backward " + say(n), x, d, to, check, d.q, d.k, d.v, d.head_gate,
                      d_in);
}

template <class T>
findings run() {
    random r("cuda fused gradients " + name_of_type<T>());
    findings found;
    gradients_of<T>(r, rd::lrpe::rotation, "rotation", found);
    gradients_of<T>(r, rd::lrpe::cosine, "cosine", found);
    gradients_of<T>(r, rd::position::half_split, "half_split", found);
    packed_gradients<T>(r, found);
    gradients_of_states<T>(r, rd::lrpe::rotation, found);
    gradients_of_states<T>(r, rd::lrpe::cosine, found);
    return found;
}

}  // namespace

std::vector<element_cases> const& fused_gradient_cases() {
    static auto const all = for_every_type([]<class T>(std::type_identity<T>) { return run<T>(); });
    return all;
}

}  // namespace device
