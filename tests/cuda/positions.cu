#include "cuda/field.cuh"

namespace device {
namespace {

namespace rd = rondo;
namespace position = rd::position;
constexpr rd::exec::cuda place{};

using findings = std::vector<finding>;
using order2 = rd::view<rd::index const, 2>;
using extents4 = std::array<index, 4>;

/// Turned elements have the size of the elements before.
template <class T>
double turn_bound() {
    return bound_of<T>(1e-12, 2e-6);
}

template <class T>
void rope_case(random& r, findings& to) {
    index const D = 2 * r.integer(1, 70);
    extents4 const n{r.integer(0, 3), r.integer(1, 5), r.one_of<index>({0, 1, 33, 200}), D};
    field<T, 4> const x(r, n, any_memory(r), support::uniform(r, n[0] * n[1] * n[2] * D, -1, 1));
    field<T, 4> y(r, n, any_memory(r));
    index const offset = r.one_of<index>({0, 10, 999990});
    bool const split = r.chance(0.5);
    auto const op = (split ? position::rope(position::half_split) : position::rope()).skip(3);
    op.forward(place, {x.read()}, y.write(), {.offset = offset});
    op.forward(rd::exec::simd, {x.twin()}, y.twin_to(), {.offset = offset});
    to.push_back(
        y.compare("rope " + say(n) + (split ? " split" : "") + " from " + std::to_string(offset),
                  turn_bound<T>()));
}

/// One Lambda and P over a grid, whatever they take.
template <class T, class Lambda, class P, class Grid>
void lrpe_case(random& r, Lambda lambda, P p, Grid const& grid, index axes, findings& to) {
    constexpr bool powers = std::is_same_v<Lambda, rd::lrpe::permutation_t>;
    constexpr bool doubles = std::is_same_v<Lambda, rd::lrpe::cosine_t>;
    constexpr bool reflects = std::is_same_v<P, rd::lrpe::householder_t>;
    constexpr bool reorders = std::is_same_v<P, rd::lrpe::permutation_t>;
    index const D = powers ? axes * r.integer(1, 20) : r.integer(1, 60), skip = r.integer(0, 2);
    index const angles = doubles || powers ? D : D / 2, block = (angles + axes - 1) / axes;
    index const B = 2, H = r.integer(1, 3), T_ = grid.size() + skip;
    bool const shared = r.chance(0.5);
    field<T, 4> const x(r, {B, H, T_, D}, any_memory(r),
                        support::uniform(r, B * H * T_ * D, -1, 1));
    field<T, 4> y(r, {B, H, T_, doubles ? 2 * D : D}, any_memory(r));
    field<T, 2> const theta(r, {H, block}, any_memory(r), support::uniform(r, H * block, 0, 3));
    field<T, 2> const vector(r, {H, D}, any_memory(r), support::uniform(r, H * D, -1, 1));
    std::vector<rd::index> order, basis;
    for (index h = 0; h < H; ++h) {
        for (index c : r.permutation(block)) order.push_back(c);
        for (index c : r.permutation(D)) basis.push_back(c);
    }
    order2 const orders(order.data(), {H, block}, {shared ? 0 : block, 1});
    order2 const basis_orders(basis.data(), {H, D});
    auto const op = position::lrpe(lambda, p, grid).skip(skip);
    auto const call = [&](auto where, auto from, auto angle, auto v, auto out) {
        if (shared) {
            using element = typename decltype(angle)::element_type;
            angle = rd::view<element, 2>(angle.data(), {H, block}, {0, angle.stride(1)});
        }
        auto const first = [&] {
            if constexpr (powers) {
                return orders;
            } else {
                return angle;
            }
        }();
        if constexpr (reflects) {
            op.forward(where, {from, first, v}, out);
        } else if constexpr (reorders) {
            op.forward(where, {from, first, basis_orders}, out);
        } else {
            op.forward(where, {from, first}, out);
        }
    };
    call(place, x.read(), theta.read(), vector.read(), y.write());
    call(rd::exec::simd, x.twin(), theta.twin(), vector.twin(), y.twin_to());
    to.push_back(y.compare("lrpe of " + std::to_string(axes) + " axes, D=" + std::to_string(D) +
                               (shared ? " shared" : ""),
                           std::max(turn_bound<T>(), bound_of<T>(1e-12, 3e-6))));
}

template <class T, class Lambda>
void every_basis(random& r, Lambda lambda, findings& to) {
    auto const each = [&](auto const& grid, index axes) {
        lrpe_case<T>(r, lambda, rd::lrpe::identity, grid, axes, to);
        lrpe_case<T>(r, lambda, rd::lrpe::householder, grid, axes, to);
        lrpe_case<T>(r, lambda, rd::lrpe::permutation, grid, axes, to);
        lrpe_case<T>(r, lambda, rd::lrpe::cosine_transform, grid, axes, to);
        lrpe_case<T>(r, lambda, rd::lrpe::fourier, grid, axes, to);
    };
    each(rd::grid{37}, 1);
    each(rd::grid{6, 7}, 2);
    each(rd::grid{3, 4, 5}, 3);
}

/// Channels that no shared memory holds.
void wide_case(random& r, findings& to) {
    index const D = 4000;
    field<double, 4> const x(r, {1, 2, 3, D}, support::memory::bthd,
                             support::uniform(r, 6 * D, -1, 1));
    field<double, 4> y(r, {1, 2, 3, D}, support::memory::bthd);
    field<double, 2> const v(r, {2, D}, support::memory::bthd, support::uniform(r, 2 * D, -1, 1));
    auto const op = position::lrpe(rd::lrpe::rotation, rd::lrpe::householder);
    op.forward(place, {x.read(), rd::lrpe::fixed, v.read()}, y.write());
    op.forward(rd::exec::simd, {x.twin(), rd::lrpe::fixed, v.twin()}, y.twin_to());
    to.push_back(y.compare("a wide row", 1e-12));
}

template <class T>
void lrpe_step_case(random& r, findings& to) {
    field<T, 3> const x(r, {2, 3, 64}, any_memory(r), support::uniform(r, 2 * 3 * 64, -1, 1));
    field<T, 3> y(r, {2, 3, 64}, any_memory(r));
    auto const op = position::lrpe(rd::lrpe::rotation);
    op.step(place, {x.read()}, y.write(), {.offset = 77});
    op.step(rd::exec::simd, {x.twin()}, y.twin_to(), {.offset = 77});
    to.push_back(y.compare("lrpe step", turn_bound<T>()));
}

template <class T, class Way>
void tpe_case(random& r, Way way, findings& to) {
    using A = rd::accumulator_t<T>;
    index const M = r.one_of<index>({0, 1, 3, 8, 13, 16, 20, 40});
    std::array<index, 3> const n{r.integer(0, 3), r.one_of<index>({0, 1, 7, 70, 500}),
                                 r.one_of<index>({1, 5, 67, 1200})};
    std::array<index, 3> const ends{n[0], n[2], M};
    field<T, 3> const x(r, n, any_memory(r), support::uniform(r, n[0] * n[1] * n[2], -1, 1));
    field<T, 3> y(r, n, any_memory(r));
    field<T, 2> const b(r, {n[2], M}, any_memory(r), support::uniform(r, n[2] * M, -1, 1));
    field<T, 2> const l(r, {n[2], M}, any_memory(r), support::uniform(r, n[2] * M, -2, -0.01));
    field<A, 3> const in(r, ends, any_memory(r), support::uniform(r, n[0] * n[2] * M, -1, 1));
    field<A, 3> out(r, ends, any_memory(r));
    auto const op = position::tpe(way).skip(0);
    std::string const what = "tpe " + say(n) + " m=" + std::to_string(M);
    if constexpr (!std::is_same_v<Way, rd::bidirectional_t>) {
        op.forward(place, {x.read(), b.read(), l.read()}, y.write(),
                   {.in = in.read(), .out = out.write()});
        op.forward(rd::exec::simd, {x.twin(), b.twin(), l.twin()}, y.twin_to(),
                   {.in = in.twin(), .out = out.twin_to()});
        if (M > 0) to.push_back(out.compare(what + ", state", bound_of<A>(1e-10, 2e-5)));
    } else {
        auto const later = op.skip(std::min<index>(n[1], 3));
        later.forward(place, {x.read(), b.read(), l.read()}, y.write());
        later.forward(rd::exec::simd, {x.twin(), b.twin(), l.twin()}, y.twin_to());
    }
    to.push_back(y.compare(what, bound_of<T>(1e-10, 2e-5)));
}

template <class T, class Grid, class Way>
void tpe_grid_case(random& r, Grid const& grid, index axes, Way way, findings& to) {
    index const M = r.integer(1, 5), C = r.integer(1, 40), skip = r.integer(0, 2);
    std::array<index, 3> const n{2, grid.size() + skip, C}, coefficients{axes, C, M};
    field<T, 3> const x(r, n, any_memory(r), support::uniform(r, n[0] * n[1] * C, -1, 1));
    field<T, 3> y(r, n, any_memory(r));
    field<T, 3> const b(r, coefficients, any_memory(r), support::uniform(r, axes * C * M, -1, 1));
    field<T, 3> const l(r, coefficients, any_memory(r),
                        support::uniform(r, axes * C * M, -2, -0.01));
    auto const op = position::tpe(grid, way).skip(skip);
    op.forward(place, {x.read(), b.read(), l.read()}, y.write());
    op.forward(rd::exec::simd, {x.twin(), b.twin(), l.twin()}, y.twin_to());
    to.push_back(
        y.compare("tpe of " + std::to_string(axes) + " axes, " + say(n), bound_of<T>(1e-10, 2e-5)));
}

void tpe_step_case(random& r, findings& to) {
    index const C = 70, M = 9;
    field<float, 2> const x(r, {3, C}, any_memory(r), support::uniform(r, 3 * C, -1, 1));
    field<float, 2> y(r, {3, C}, any_memory(r));
    field<float, 2> const b(r, {C, M}, any_memory(r), support::uniform(r, C * M, -1, 1));
    field<float, 2> const l(r, {C, M}, any_memory(r), support::uniform(r, C * M, -2, -0.01));
    field<float, 3> state(r, {3, C, M}, any_memory(r), support::uniform(r, 3 * C * M, -1, 1));
    auto const op = position::tpe(rd::causal);
    op.step(place, {x.read(), b.read(), l.read()}, state.write(), y.write());
    op.step(rd::exec::simd, {x.twin(), b.twin(), l.twin()}, state.twin_to(), y.twin_to());
    to.push_back(y.compare("tpe step", 2e-5));
    to.push_back(state.compare("tpe step, state", 2e-5));
}

template <class T>
findings run() {
    random r("cuda positions " + name_of_type<T>());
    findings found;
    for (int i = 0; i < 12; ++i) rope_case<T>(r, found);
    every_basis<T>(r, rd::lrpe::rotation, found);
    every_basis<T>(r, rd::lrpe::cosine, found);
    every_basis<T>(r, rd::lrpe::permutation, found);
    lrpe_step_case<T>(r, found);
    if (sizeof(T) == 8) wide_case(r, found);
    for (int i = 0; i < 8; ++i) {
        tpe_case<T>(r, rd::causal, found);
        tpe_case<T>(r, rd::anticausal, found);
        tpe_case<T>(r, rd::bidirectional, found);
    }
    tpe_grid_case<T>(r, rd::grid{23}, 1, rd::bidirectional, found);
    tpe_grid_case<T>(r, rd::grid{5, 90}, 2, rd::bidirectional, found);
    tpe_grid_case<T>(r, rd::grid{5, 9}, 2, rd::causal, found);
    tpe_grid_case<T>(r, rd::grid{3, 4, 5}, 3, rd::anticausal, found);
    if (sizeof(T) == 4) tpe_step_case(r, found);
    return found;
}

}  // namespace

std::vector<element_cases> const& position_cases() {
    static auto const all = for_every_type([]<class T>(std::type_identity<T>) { return run<T>(); });
    return all;
}

}  // namespace device
