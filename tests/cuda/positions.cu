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

template <class T>
void rope_back_case(random& r, findings& to) {
    index const D = 2 * r.integer(1, 70);
    extents4 const n{r.integer(0, 3), r.integer(1, 5), r.one_of<index>({0, 1, 33, 200}), D};
    auto const numbers = [&] { return support::uniform(r, n[0] * n[1] * n[2] * D, -1, 1); };
    field<T, 4> const x(r, n, any_memory(r), numbers()), d_y(r, n, any_memory(r), numbers());
    field<T, 4> d_x(r, n, any_memory(r));
    index const offset = r.one_of<index>({0, 10, 999990});
    bool const split = r.chance(0.5);
    auto const op = (split ? position::rope(position::half_split) : position::rope()).skip(3);
    op.backward(place, {x.read()}, d_y.read(), {.x = d_x.write()}, {.offset = offset});
    op.backward(rd::exec::simd, {x.twin()}, d_y.twin(), {.x = d_x.twin_to()}, {.offset = offset});
    to.push_back(d_x.compare("rope backward " + say(n) + (split ? " split" : ""), turn_bound<T>()));
}

/// One Lambda and P over a grid, whatever they take, and what its calls read.
template <class T, class Lambda, class P>
struct lrpe_operands {
    static constexpr bool powers = std::is_same_v<Lambda, rd::lrpe::permutation_t>;
    static constexpr bool doubles = std::is_same_v<Lambda, rd::lrpe::cosine_t>;
    static constexpr bool reflects = std::is_same_v<P, rd::lrpe::householder_t>;
    static constexpr bool reorders = std::is_same_v<P, rd::lrpe::permutation_t>;

    index B, H, T_, D, block, wide;
    bool shared;
    std::vector<rd::index> order, basis;
    field<T, 4> x;
    field<T, 2> theta, vector;

    lrpe_operands(random& r, index axes, index sequences, index tokens)
        : B(sequences),
          H(r.integer(1, 3)),
          T_(tokens),
          D(powers ? axes * r.integer(1, 20) : r.integer(1, 60)),
          block(((doubles || powers ? D : D / 2) + axes - 1) / axes),
          wide(doubles ? 2 * D : D),
          shared(r.chance(0.5)),
          x(r, {B, H, T_, D}, any_memory(r), support::uniform(r, B * H * T_ * D, -1, 1)),
          theta(r, {H, block}, any_memory(r), support::uniform(r, H * block, 0, 3)),
          vector(r, {H, D}, any_memory(r), support::uniform(r, H * D, -1, 1)) {
        for (index h = 0; h < H; ++h) {
            for (index c : r.permutation(block)) order.push_back(c);
            for (index c : r.permutation(D)) basis.push_back(c);
        }
    }

    /// body(inputs) with those of the operator; `angle` and `v` are theta and the vector.
    template <class X, class Angle, class V, class Body>
    void with_inputs(X from, Angle angle, V v, Body const& body) const {
        using element = typename Angle::element_type;
        if (shared) angle = rd::view<element, 2>(angle.data(), {H, block}, {0, angle.stride(1)});
        order2 const orders(order.data(), {H, block}, {shared ? 0 : block, 1});
        auto const first = [&] {
            if constexpr (powers) {
                return orders;
            } else {
                return angle;
            }
        }();
        using inputs = position::lrpe_inputs<Lambda, P, rd::accumulator_t<element>, 4>;
        if constexpr (reflects) {
            body(inputs{from, first, v});
        } else if constexpr (reorders) {
            body(inputs{from, first, order2(basis.data(), {H, D})});
        } else {
            body(inputs{from, first});
        }
    }

    std::string say_it(index axes) const {
        return "lrpe of " + std::to_string(axes) + " axes, D=" + std::to_string(D) +
               (shared ? " shared" : "");
    }
};

template <class T, class Lambda, class P, class Grid>
void lrpe_case(random& r, Lambda lambda, P p, Grid const& grid, index axes, findings& to) {
    index const skip = r.integer(0, 2);
    lrpe_operands<T, Lambda, P> const in(r, axes, 2, grid.size() + skip);
    field<T, 4> y(r, {in.B, in.H, in.T_, in.wide}, any_memory(r));
    auto const op = position::lrpe(lambda, p, grid).skip(skip);
    in.with_inputs(in.x.read(), in.theta.read(), in.vector.read(),
                   [&](auto const& inputs) { op.forward(place, inputs, y.write()); });
    in.with_inputs(in.x.twin(), in.theta.twin(), in.vector.twin(),
                   [&](auto const& inputs) { op.forward(rd::exec::simd, inputs, y.twin_to()); });
    to.push_back(y.compare(in.say_it(axes), std::max(turn_bound<T>(), bound_of<T>(1e-12, 3e-6))));
}

template <class T, class Lambda, class P, class Grid>
void lrpe_back_case(random& r, Lambda lambda, P p, Grid const& grid, index axes, findings& to) {
    using operands = lrpe_operands<T, Lambda, P>;
    using A = rd::accumulator_t<T>;
    index const skip = r.integer(0, 2), sequences = r.one_of<index>({0, 1, 3});
    operands const in(r, axes, sequences, grid.size() + skip);
    field<T, 4> const d_y(r, {in.B, in.H, in.T_, in.wide}, any_memory(r),
                          support::uniform(r, in.B * in.H * in.T_ * in.wide, -1, 1));
    field<T, 4> d_x(r, {in.B, in.H, in.T_, in.D}, any_memory(r));
    field<T, 2> d_theta(r, {in.H, in.block}, any_memory(r));
    field<T, 2> d_vector(r, {in.H, in.D}, any_memory(r));
    bool const wants_x = r.chance(0.8);
    bool const wants_theta = !operands::powers && r.chance(0.8);
    bool const wants_vector = operands::reflects && r.chance(0.8);
    auto const op = position::lrpe(lambda, p, grid).skip(skip);
    auto const on_device = [&](rd::exec::cuda where) {
        position::lrpe_gradients<A> wanted;
        if (wants_x) wanted.x = d_x.write();
        if (wants_theta) wanted.theta = d_theta.write();
        if (wants_vector) wanted.vector = d_vector.write();
        in.with_inputs(in.x.read(), in.theta.read(), in.vector.read(),
                       [&](auto const& inputs) { op.backward(where, inputs, d_y.read(), wanted); });
    };
    position::lrpe_gradients<double> wanted;
    if (wants_x) wanted.x = d_x.twin_to();
    if (wants_theta) wanted.theta = d_theta.twin_to();
    if (wants_vector) wanted.vector = d_vector.twin_to();
    in.with_inputs(in.x.twin(), in.theta.twin(), in.vector.twin(), [&](auto const& inputs) {
        op.backward(rd::exec::simd, inputs, d_y.twin(), wanted);
    });
    std::string const what = in.say_it(axes) + " backward, B=" + std::to_string(in.B);
    to.push_back(same_bits(what, on_device, d_x, d_theta, d_vector));
    if (wants_x) to.push_back(d_x.compare(what, gradient_bound<T>()));
    if (wants_theta) to.push_back(d_theta.compare(what + ", theta", gradient_bound<T>()));
    if (wants_vector) to.push_back(d_vector.compare(what + ", vector", gradient_bound<T>()));
}

template <class T, class Lambda>
void every_basis(random& r, Lambda lambda, findings& to) {
    auto const both = [&](auto p, auto const& grid, index axes) {
        lrpe_case<T>(r, lambda, p, grid, axes, to);
        lrpe_back_case<T>(r, lambda, p, grid, axes, to);
    };
    auto const each = [&](auto const& grid, index axes) {
        both(rd::lrpe::identity, grid, axes);
        both(rd::lrpe::householder, grid, axes);
        both(rd::lrpe::permutation, grid, axes);
        both(rd::lrpe::cosine_transform, grid, axes);
        both(rd::lrpe::fourier, grid, axes);
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
    field<double, 4> d_x(r, {1, 2, 3, D}, support::memory::bthd);
    field<double, 2> d_v(r, {2, D}, support::memory::bthd);
    op.backward(place, {x.read(), rd::lrpe::fixed, v.read()}, x.read(),
                {.x = d_x.write(), .vector = d_v.write()});
    op.backward(rd::exec::simd, {x.twin(), rd::lrpe::fixed, v.twin()}, x.twin(),
                {.x = d_x.twin_to(), .vector = d_v.twin_to()});
    to.push_back(d_x.compare("a wide row backward", 1e-9));
    to.push_back(d_v.compare("a wide row backward, vector", 1e-9));
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

/// The gradients of one encoding by everything that it reads.
template <class T, int CoefficientRank>
struct tpe_gradient_fields {
    using A = rd::accumulator_t<T>;
    field<T, 3> x;
    field<T, CoefficientRank> b, log_lambda;
    bool wants_x, wants_b, wants_lambda;

    tpe_gradient_fields(random& r, std::array<index, 3> const& n,
                        std::array<index, CoefficientRank> const& coefficients)
        : x(r, n, any_memory(r)),
          b(r, coefficients, any_memory(r)),
          log_lambda(r, coefficients, any_memory(r)),
          wants_x(r.chance(0.8)),
          wants_b(r.chance(0.8)),
          wants_lambda(r.chance(0.8)) {}

    auto on_device() {
        position::tpe_gradients<A, 3, CoefficientRank> to;
        if (wants_x) to.x = x.write();
        if (wants_b) to.b = b.write();
        if (wants_lambda) to.log_lambda = log_lambda.write();
        return to;
    }
    auto twin() {
        position::tpe_gradients<double, 3, CoefficientRank> to;
        if (wants_x) to.x = x.twin_to();
        if (wants_b) to.b = b.twin_to();
        if (wants_lambda) to.log_lambda = log_lambda.twin_to();
        return to;
    }
    void compare(std::string const& what, findings& to) {
        if (wants_x) to.push_back(x.compare(what + ", x", gradient_bound<T>()));
        if (wants_b) to.push_back(b.compare(what + ", b", gradient_bound<T>()));
        if (!wants_lambda) return;
        to.push_back(log_lambda.compare(what + ", log_lambda", gradient_bound<T>()));
    }
};

template <class T, class Way>
void tpe_back_case(random& r, Way way, findings& to) {
    using A = rd::accumulator_t<T>;
    index const M = r.one_of<index>({1, 3, 4, 13, 20});
    std::array<index, 3> const n{r.integer(0, 3), r.one_of<index>({0, 1, 7, 70, 500}),
                                 r.one_of<index>({1, 5, 67, 300})};
    std::array<index, 3> const ends{n[0], n[2], M};
    auto const numbers = [&](index size) { return support::uniform(r, size, -1, 1); };
    field<T, 3> const x(r, n, any_memory(r), numbers(n[0] * n[1] * n[2]));
    field<T, 3> const d_y(r, n, any_memory(r), numbers(n[0] * n[1] * n[2]));
    field<T, 2> const b(r, {n[2], M}, any_memory(r), numbers(n[2] * M));
    field<T, 2> const l(r, {n[2], M}, any_memory(r), support::uniform(r, n[2] * M, -2, -0.01));
    field<A, 3> const in(r, ends, any_memory(r), numbers(n[0] * n[2] * M));
    field<A, 3> const d_out(r, ends, any_memory(r), numbers(n[0] * n[2] * M));
    field<A, 3> d_in(r, ends, any_memory(r));
    tpe_gradient_fields<T, 2> wanted(r, n, {n[2], M});
    bool const carries = r.chance(0.7), wants_in = carries && r.chance(0.8);
    std::string const what = "tpe backward " + say(n) + " m=" + std::to_string(M);
    auto const op = position::tpe(way);
    if constexpr (!std::is_same_v<Way, rd::bidirectional_t>) {
        position::tpe_backward_options<A, 3> with;
        position::tpe_backward_options<double, 3> twin_with;
        if (carries) with.in = in.read(), twin_with.in = in.twin();
        if (carries && r.chance(0.8)) with.d_out = d_out.read(), twin_with.d_out = d_out.twin();
        if (wants_in) with.d_in = d_in.write(), twin_with.d_in = d_in.twin_to();
        auto const on_device = [&](rd::exec::cuda where) {
            op.backward(where, {x.read(), b.read(), l.read()}, d_y.read(), wanted.on_device(),
                        with);
        };
        to.push_back(same_bits(what, on_device, wanted.x, wanted.b, wanted.log_lambda, d_in));
        op.backward(rd::exec::simd, {x.twin(), b.twin(), l.twin()}, d_y.twin(), wanted.twin(),
                    twin_with);
        if (wants_in) to.push_back(d_in.compare(what + ", in", gradient_bound<A>()));
    } else {
        auto const later = op.skip(std::min<index>(n[1], 3));
        later.backward(place, {x.read(), b.read(), l.read()}, d_y.read(), wanted.on_device());
        later.backward(rd::exec::simd, {x.twin(), b.twin(), l.twin()}, d_y.twin(), wanted.twin());
    }
    wanted.compare(what, to);
}

template <class T, class Grid, class Way>
void tpe_grid_back_case(random& r, Grid const& grid, index axes, Way way, findings& to) {
    index const M = r.integer(1, 5), C = r.integer(1, 40), skip = r.integer(0, 2);
    std::array<index, 3> const n{2, grid.size() + skip, C}, coefficients{axes, C, M};
    auto const numbers = [&](index size) { return support::uniform(r, size, -1, 1); };
    field<T, 3> const x(r, n, any_memory(r), numbers(n[0] * n[1] * C));
    field<T, 3> const d_y(r, n, any_memory(r), numbers(n[0] * n[1] * C));
    field<T, 3> const b(r, coefficients, any_memory(r), numbers(axes * C * M));
    field<T, 3> const l(r, coefficients, any_memory(r),
                        support::uniform(r, axes * C * M, -2, -0.01));
    tpe_gradient_fields<T, 3> wanted(r, n, coefficients);
    auto const op = position::tpe(grid, way).skip(skip);
    auto const on_device = [&](rd::exec::cuda where) {
        op.backward(where, {x.read(), b.read(), l.read()}, d_y.read(), wanted.on_device());
    };
    std::string const what = "tpe backward of " + std::to_string(axes) + " axes, " + say(n);
    to.push_back(same_bits(what, on_device, wanted.x, wanted.b, wanted.log_lambda));
    op.backward(rd::exec::simd, {x.twin(), b.twin(), l.twin()}, d_y.twin(), wanted.twin());
    wanted.compare(what, to);
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
    for (int i = 0; i < 12; ++i) {
        rope_case<T>(r, found);
        rope_back_case<T>(r, found);
    }
    every_basis<T>(r, rd::lrpe::rotation, found);
    every_basis<T>(r, rd::lrpe::cosine, found);
    every_basis<T>(r, rd::lrpe::permutation, found);
    lrpe_step_case<T>(r, found);
    if (sizeof(T) == 8) wide_case(r, found);
    for (int i = 0; i < 8; ++i) {
        tpe_case<T>(r, rd::causal, found);
        tpe_case<T>(r, rd::anticausal, found);
        tpe_case<T>(r, rd::bidirectional, found);
        tpe_back_case<T>(r, rd::causal, found);
        tpe_back_case<T>(r, rd::anticausal, found);
        tpe_back_case<T>(r, rd::bidirectional, found);
    }
    auto const over = [&](auto const& grid, index axes, auto way) {
        tpe_grid_case<T>(r, grid, axes, way, found);
        tpe_grid_back_case<T>(r, grid, axes, way, found);
    };
    over(rd::grid{23}, 1, rd::bidirectional);
    over(rd::grid{5, 90}, 2, rd::bidirectional);
    over(rd::grid{5, 9}, 2, rd::causal);
    over(rd::grid{3, 4, 5}, 3, rd::anticausal);
    if (sizeof(T) == 4) tpe_step_case(r, found);
    return found;
}

}  // namespace

std::vector<element_cases> const& position_cases() {
    static auto const all = for_every_type([]<class T>(std::type_identity<T>) { return run<T>(); });
    return all;
}

}  // namespace device
