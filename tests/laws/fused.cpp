#include "oracle/attention.hpp"
#include "oracle/gradient.hpp"
#include "oracle/position.hpp"
#include "support/compiled.hpp"
#include "support/law.hpp"

#include <rondo/rondo.hpp>

namespace support {
namespace {

namespace rd = rondo;
using rd::position::places;
constexpr auto rotation = rd::position::fused(rd::lrpe::rotation);
constexpr auto halves = rd::position::fused(rd::position::half_split);
constexpr auto cosine = rd::position::fused(rd::lrpe::cosine);
using rotation_t = decltype(rotation);
using halves_t = decltype(halves);
using cosine_t = decltype(cosine);

/// The coordinates of the tokens of a call; none for a token that is left alone.
struct standing {
    places at;
    std::vector<index> grid;  // of at.grid

    std::vector<index> operator()(index t) const {
        index const place = at.offset.value_or(0) + t - at.skip;
        if (place < 0) return {};
        return grid.empty() ? std::vector<index>{place} : oracle::coordinates(grid, place);
    }
};

bool has_channels(composition const& op) {
    return op.decay == oracle::decay::vector || op.decay == oracle::decay::additive;
}

/// What a policy does to a row, by its definition.
template <class Turn>
struct turning {
    static constexpr bool doubles = std::is_same_v<Turn, cosine_t const>;
    static constexpr bool splits = std::is_same_v<Turn, halves_t const>;
    static constexpr index wide(index D) { return doubles ? 2 * D : D; }

    standing const& where;
    index T, D;

    std::vector<long double> angles(index t) const {
        auto const place = where(t);
        auto const count = doubles ? D : D / 2;
        if (place.empty()) return std::vector<long double>(count);
        auto const axes = static_cast<index>(std::max<std::size_t>(where.grid.size(), 1));
        auto const theta = oracle::fixed_theta((count + axes - 1) / axes, where.at.base);
        return oracle::angles(place, theta, count);
    }

    values row(values const& x, index t) const {
        auto const by = angles(t);
        return doubles ? oracle::doubled(x, by) : oracle::rotated(x, by, splits);
    }
    /// The transpose.
    values back(values const& y, index t) const {
        auto by = angles(t);
        for (auto& angle : by) angle = -angle;
        if (!doubles) return oracle::rotated(y, by, splits);
        values x(D);
        for (index c = 0; c < D; ++c) {
            x[c] = double(y[c] * std::cos(by[c]) - y[D + c] * std::sin(by[c]));
        }
        return x;
    }
    /// d(c) + d(D + c), where one channel of a gate is that of two.
    values folded(values const& d, index channels) const {
        if (channels != wide(D) || !doubles) return d;
        values result;
        for (index at = 0; at < index(d.size()); at += channels) {
            for (index c = 0; c < D; ++c) result.push_back(d[at + c] + d[at + D + c]);
        }
        return result;
    }

    /// The problem that an operator without positions has, given turned queries and keys. The
    /// feature map comes first, so that it is in their values.
    problem apply(problem p) const {
        values* const both[] = {&p.q, &p.k};
        for (values* x : both) {
            auto const rows = index(x->size()) / std::max<index>(D, 1);
            values const mapped = oracle::map_tokens(p.op.feature, *x, rows, D);
            x->clear();
            for (index r = 0; r < rows; ++r) {
                oracle::append(*x, row(oracle::part(mapped, r, D), r % T));
            }
        }
        p.op.feature = oracle::feature::identity;
        if (!doubles) return p;
        if (has_channels(p.op)) {
            values const gate = std::exchange(p.gate, {});
            for (index at = 0; at < index(gate.size()); at += D) {
                for (int times = 0; times < 2; ++times) {
                    p.gate.insert(p.gate.end(), gate.begin() + at, gate.begin() + at + D);
                }
            }
        }
        p.n.D *= 2;
        p.in = oracle::empty_state(p.op, p.n);
        return p;
    }
};

/// An operator with fused positions, run on the oracle's problems.
template <class Turn, class... Policies>
struct fused : compiled<Policies..., std::remove_const_t<Turn>> {
    using base = compiled<Policies..., std::remove_const_t<Turn>>;
    using base::carries, base::op, base::rank, base::what;

    template <class T>
    static void forward(problem const& p, arrangement const& a, standing const& at) {
        tensors<T, rank> x(p, a.memory);
        auto const views = x.views(a.ones);
        auto const in = base::template inputs_of<rd::inputs<what, T>>(views);
        oracle::state out;
        in_place(a, [&](auto where) {
            if constexpr (carries) {
                auto state = op.template state<T>(p.n.B, p.n.Hkv, p.n.D, p.n.E);
                op.forward(where, in, views.o, {.out = state, .scale = p.scale, .at = at.at});
                out = values_of(state, p.op);
            } else {
                op.forward(where, in, views.o, {.scale = p.scale, .at = at.at});
            }
        });
        auto const plain = turning<Turn>{at, p.n.T, p.n.D}.apply(p);
        auto const want = oracle::forward(plain);
        double const bound = sizeof(T) == 8 ? 1e-9 : float_tolerance;
        CHECK(error(x.o.values(), want.o) <= bound);
        CHECK(error(out, want.out, plain.op) <= bound);
        CHECK(x.o.gaps_intact());
    }

    /// The first tokens by forward, the others by steps from its state.
    static void steps(problem const& p, arrangement const& a, standing const& at, index first) {
        tensors<double, rank> x(p, a.memory);
        auto const views = x.views(a.ones);
        auto state = op.template state<double>(p.n.B, p.n.Hkv, p.n.D, p.n.E);
        auto before = at.at;
        before.offset = at.at.offset.value_or(0);
        in_place(a, [&](auto where) {
            auto head = views;
            auto const cut = [&](auto& view) { view = view.slice(2, 0, first); };
            cut(head.q), cut(head.k), cut(head.v), cut(head.o);
            if constexpr (rank > 1) {
                if (what.gated()) cut(head.gate);
            }
            if (what.delta) cut(head.beta);
            op.forward(where, base::template inputs_of<rd::inputs<what, double>>(head), head.o,
                       {.out = state, .scale = p.scale, .at = before});
            for (index t = first; t < p.n.T; ++t) {
                auto const one = token(views, t);
                auto here = before;
                *here.offset += t;
                op.step(where, base::template inputs_of<rd::inputs<what, double, true>>(one), state,
                        one.o, {.scale = p.scale, .at = here});
            }
        });
        auto const plain = turning<Turn>{at, p.n.T, p.n.D}.apply(p);
        auto const want = oracle::forward(plain);
        CHECK(error(x.o.values(), want.o) <= 1e-9);
        CHECK(error(values_of(state, p.op), want.out, plain.op) <= 1e-9);
    }

    /// d_q and d_k are those of the turned problem, turned back and taken back through the map.
    static void gradients(problem const& p, arrangement const& a, standing const& at, random& r) {
        tensors<double, rank> x(p, a.memory), to(p, a.memory);
        auto const d_o = uniform(r, index(p.v.size()) * p.n.Hq / p.n.Hkv, -1, 1);
        fill(x.o.write(), d_o);
        auto const in = base::template inputs_of<rd::inputs<what, double>>(x.views());
        rd::gradients<what, double> wanted;
        wanted.q = to.q.write(), wanted.k = to.k.write();
        if constexpr (what.gated()) wanted.gate = to.gate.write();
        in_place(a, [&](auto where) {
            op.backward(where, in, x.o.write(), wanted, {.scale = p.scale, .at = at.at});
        });
        auto const plain = turning<Turn>{at, p.n.T, p.n.D}.apply(p);
        auto const want = oracle::gradient(plain, d_o, oracle::empty_state(plain.op, plain.n));
        turning<Turn> const turn{at, p.n.T, p.n.D};
        auto const back = [&](values const& from, values const& gradient) {
            values result;
            index const wide = turn.wide(p.n.D);
            for (index row = 0; row * p.n.D < index(from.size()); ++row) {
                values const own = turn.back(oracle::part(gradient, row, wide), row % p.n.T);
                oracle::append(
                    result, oracle::pull_back(p.op.feature, oracle::part(from, row, p.n.D), own));
            }
            return result;
        };
        index const gates = has_channels(p.op) ? turn.wide(p.n.D) : 1;
        CHECK(error(to.q.values(), back(p.q, want.q)) <= 1e-9);
        CHECK(error(to.k.values(), back(p.k, want.k)) <= 1e-9);
        if (what.gated()) CHECK(error(to.gate.values(), turn.folded(want.gate, gates)) <= 1e-9);
    }
};

/// Places on a line or a grid of `size` tokens and some that are left alone.
standing random_places(random& r, index rank, oracle::extents& n) {
    standing result;
    result.at.base = r.one_of({10000.0, 500.0});
    if (rank == 0) {
        result.at.offset = r.one_of<index>({0, 3, 999900, 1 << 20});
        result.at.skip = r.chance(0.5) ? 0 : 5;
        return result;
    }
    index const a = r.integer(1, 9), b = r.integer(1, 9), c = r.integer(1, 3);
    result.at.skip = r.integer(0, 2);
    if (rank == 2) result.at.grid = rd::grid{a, b}, result.grid = {a, b};
    if (rank == 3) result.at.grid = rd::grid{a, b, c}, result.grid = {a, b, c};
    n.T = result.at.grid.size() + result.at.skip;
    return result;
}

/// Where a depth is given, rows are whole packs and lines longer than the places that share a
/// computed turn.
template <class Turn, class... Policies>
void check(char const* name, index depth = 0) {
    random r(name);
    using subject = fused<Turn, Policies...>;
    auto const op = compiled<Policies...>::meaning();
    for (index rank : {0, 2, 3, 0, 2}) {
        auto n = random_extents(r, 3e5);
        if (turning<Turn>::splits) n.D += n.D % 2;
        if (depth > 0) n.D = depth, n.T = r.integer(100, 150);
        standing const at = random_places(r, rank, n);
        auto p = random_problem(r, op, n);
        p.scale = r.one_of({1.0, 0.125});
        round_to_float(p);
        auto a = random_arrangement(r);
        INFO(name << "\n  " << describe(p) << "\n  " << describe(a) << "\n  rank " << rank
                  << ", offset " << at.at.offset.value_or(0) << ", skip " << at.at.skip
                  << "\n  RONDO_SEED=" << base_seed());
        subject::gradients(p, a, at, r);
        if constexpr (!subject::op.composition.bidirectional()) {
            if (op.direction == oracle::direction::causal) {
                subject::steps(p, a, at, std::min<index>(n.T, 11));
            }
        }
        a.ones = r.chance(0.3);
        if (a.ones) std::fill(p.k.begin(), p.k.end(), 1.0);
        subject::template forward<double>(p, a, at);
        subject::template forward<float>(p, a, at);
    }
}

}  // namespace

TEST_CASE("fused rotation is the operator on turned queries and keys, gradients and steps too") {
    using turn = rotation_t;
    check<turn, rd::decay::none_t>("none");
    check<turn, rd::decay::scalar_t, rd::recurrent_t>("scalar, recurrent");
    check<turn, rd::decay::vector_t, rd::anticausal_t, rd::chunkwise_t<20>>("vector, chunkwise");
    check<turn, rd::decay::scalar_t, rd::update::delta_t>("scalar, delta");
    check<turn, rd::decay::constant_t, rd::feature::silu_t, rd::quadratic_t>("constant, quadratic");
    check<turn, rd::decay::additive_t, rd::bidirectional_t>("additive single scan");
}

TEST_CASE("fused rotation of whole packs is the operator on turned queries and keys") {
    using turn = rotation_t;
    check<turn, rd::decay::none_t>("none, packs", 64);
    check<turn, rd::decay::scalar_t, rd::anticausal_t>("scalar, anticausal, packs", 32);
    check<turn, rd::decay::vector_t, rd::chunkwise_t<70>>("vector, packs", 16);
    check<turn, rd::decay::additive_t>("additive, packs", 48);
    check<turn, rd::decay::additive_t, rd::bidirectional_t>("single scan, packs", 64);
    check<turn, rd::decay::scalar_t, rd::update::delta_t>("scalar, delta, packs", 32);
}

TEST_CASE("fused cosine is the operator on twice the channels, gradients and steps too") {
    using turn = cosine_t;
    check<turn, rd::decay::none_t>("none, cosine");
    check<turn, rd::decay::scalar_t, rd::decay::on_write_t>("scalar, on_write, cosine");
    check<turn, rd::decay::vector_t>("vector, cosine");
    check<turn, rd::decay::vector_t, rd::recurrent_t>("vector, recurrent, cosine");
    check<turn, rd::decay::vector_t, rd::update::delta_t, rd::chunkwise_t<20>>("KDA, cosine");
    check<turn, rd::decay::constant_t, rd::feature::silu_t, rd::quadratic_t>("constant, cosine");
    check<turn, rd::decay::additive_t>("additive, cosine");
    check<turn, rd::decay::additive_t, rd::bidirectional_t>("single scan, cosine");
}

TEST_CASE("fused rotation of half-split pairs is the operator on turned queries and keys") {
    using turn = halves_t;
    check<turn, rd::decay::none_t, rd::feature::elu_plus_one_t>("none, halves");
    check<turn, rd::decay::vector_t>("vector, halves");
    check<turn, rd::decay::scalar_t, rd::bidirectional_t, rd::recurrent_t>("scalar, halves");
}

TEST_CASE("fused rotation in float is lrpe and then the operator, at a million too") {
    random r("fused after lrpe");
    constexpr auto plain = rd::attention(rd::decay::none);
    constexpr auto fused_op = rd::attention(rd::decay::none, rotation);
    index const B = 2, T = 70, H = 3, D = 24;
    auto const data = uniform(r, B * T * H * D, -1, 1);
    std::vector<float> const x(data.begin(), data.end());
    std::vector<float> y(x.size()), want(x.size()), got(x.size());
    auto const in = rd::bthd(x, B, T, H, D);
    auto const view = [&](auto& to) { return rd::bthd(to, B, T, H, D); };
    for (index offset : {index(0), index(1000000)}) {
        rd::position::lrpe(rd::lrpe::rotation)
            .forward(rd::exec::simd, {in}, view(y), {.offset = offset});
        plain.forward(rd::exec::simd, {view(y), view(y), in}, view(want));
        fused_op.forward(rd::exec::simd, {in, in, in}, view(got), {.at = {.offset = offset}});
        CHECK(error(values(got.begin(), got.end()), values(want.begin(), want.end())) <= 4e-6);
    }
}

TEST_CASE("fused cosine with normalize::sum is lrpe and then the operator, in every form") {
    random r("fused cosine, sum");
    index const T = 40, H = 2, D = 6;
    auto const x = uniform(r, T * H * D, 0.5, 1), g = uniform(r, T * H, -1, 0);
    values y(2 * x.size()), want(x.size()), got(x.size());
    auto const view = [&](auto& to) { return rd::bthd(to, 1, T, H, D); };
    auto const in = view(x);
    auto const gate = rd::bth(g, 1, T, H);
    auto const wide = rd::bthd(y, 1, T, H, 2 * D);
    rd::position::lrpe(rd::lrpe::cosine).forward(rd::exec::simd, {in}, wide);
    auto const compare = [&](auto... form) {
        constexpr auto plain = rd::attention(rd::decay::scalar, rd::normalize::sum);
        constexpr auto fused_op = rd::attention(rd::decay::scalar, rd::normalize::sum,
                                                rd::position::fused(rd::lrpe::cosine), form...);
        auto a = plain.template state<double>(1, H, 2 * D, D);
        auto b = fused_op.template state<double>(1, H, D, D);
        plain.forward(rd::exec::simd, {wide, wide, in, gate}, view(want), {.out = a});
        fused_op.forward(rd::exec::simd, {in, in, in, gate}, view(got), {.out = b});
        CHECK(error(got, want) <= same_in_double);
        CHECK(error(values_of(b.s()), values_of(a.s())) <= same_in_double);
        CHECK(error(values_of(b.normalizer()), values_of(a.normalizer())) <= same_in_double);
    };
    compare();
    compare(rd::recurrent);
    compare(rd::quadratic);
}

TEST_CASE("a step of more channels than the stack takes is forward, and an odd last one stays") {
    random r("fused wide");
    constexpr auto op = rd::attention(rd::decay::none, rotation);
    index const T = 3, D = 801, E = 2, offset = 77;
    auto const q = uniform(r, T * D, -1, 1), v = uniform(r, T * E, -1, 1);
    values want(v.size()), got(v.size());
    auto const x = rd::bthd(q, 1, T, 1, D), y = rd::bthd(v, 1, T, 1, E);
    auto const view = [&](values& to) { return rd::bthd(to, 1, T, 1, E); };
    op.forward(rd::exec::simd, {x, x, y}, view(want), {.at = {.offset = offset}});
    auto state = op.state<double>(1, 1, D, E);
    for (index t = 0; t < T; ++t) {
        op.step(rd::exec::simd, {token(x, t), token(x, t), token(y, t)}, state, token(view(got), t),
                {.at = {.offset = offset + t}});
    }
    CHECK(error(got, want) <= same_in_double);
    auto const s = state.s();
    for (index e = 0; e < E; ++e) {
        double last = 0;
        for (index t = 0; t < T; ++t) last += q[(t + 1) * D - 1] * v[t * E + e];
        CHECK(std::abs(s(0, 0, D - 1, e) - last) <= same_in_double);
    }
}

TEST_CASE("multiscan turns by places on the grid, and packed sequences all begin at 0") {
    random r("fused paths");
    constexpr auto plain = rd::attention(rd::decay::constant);
    constexpr auto fused_op = rd::attention(rd::decay::constant, rotation);
    index const T = 42, H = 2, D = 11;
    rd::grid const image{6, 7};
    auto const x = uniform(r, T * H * D, -1, 1), g = uniform(r, H, -1, 0);
    values y(x.size()), want(x.size()), got(x.size());
    auto const in = rd::bthd(x, 1, T, H, D);
    auto const view = [&](values& to) { return rd::bthd(to, 1, T, H, D); };
    rd::view<double const, 1> const gate(g.data(), {H});
    rd::position::lrpe(rd::lrpe::rotation, image).forward(rd::exec::simd, {in}, view(y));
    rd::multiscan(plain, rd::path::cross)
        .forward(rd::exec::simd, image, {view(y), view(y), in, gate}, view(want));
    rd::multiscan(fused_op, rd::path::cross)
        .forward(rd::exec::openmp.threads(2), image, {in, in, in, gate}, view(got));
    CHECK(error(got, want) <= same_in_double);

    std::vector<rd::index> const offsets = {0, 19, 19, T};
    for (std::size_t s = 0; s + 1 < offsets.size(); ++s) {
        auto const part = [&](auto const& of) { return of.slice(2, offsets[s], offsets[s + 1]); };
        fused_op.forward(rd::exec::simd, {part(in), part(in), part(in), gate}, part(view(want)));
    }
    auto const packed = in.packed(offsets);
    fused_op.forward(rd::exec::simd, {packed, packed, packed, gate}, view(got).packed(offsets));
    CHECK(error(got, want) <= same_in_double);
}

}  // namespace support
