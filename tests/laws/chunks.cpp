#include "support/compiled.hpp"
#include "support/law.hpp"

namespace support {

namespace {

/// A place that computes in chunks of a size known at run time: one operator for all sizes.
struct in_chunks_of {
    index tokens;
    bool simd;
};

template <rondo::detail::composition What, class A>
void run_on(in_chunks_of const& place, rondo::detail::composition_constant<What>,
            rondo::detail::problem<A> const& call) {
    auto cut = call;
    cut.what.form = rondo::detail::form_kind::chunkwise;
    cut.what.chunk = place.tokens;
    if (place.simd) return rondo::detail::dispatch<What>(rondo::exec::simd, cut);
    rondo::detail::dispatch<What>(rondo::exec::serial, cut);
}

template <class... Policies>
class chunked : compiled<Policies...> {
    using base = compiled<Policies...>;

public:
    using base::meaning;
    using base::name;

    template <class T>
    static outcome forward(problem const& p, memory m, in_chunks_of const& place) {
        tensors<T, base::rank> x(p, m);
        auto const views = x.views();
        auto const in = base::template inputs_of<typename base::template inputs<T>>(views);
        if constexpr (base::carries) {
            auto carried = base::template state_of<T>(p.n);
            fill(carried, p.in, p.op);
            rondo::options<T> with{.scale = p.scale, .eps = p.eps};
            if (!is_empty(p.in)) with.in = std::as_const(carried);
            with.out = carried;
            base::op.forward(place, in, views.o, with);
            return {x.o.values(), values_of(carried, p.op), x.o.gaps_intact()};
        } else {
            base::op.forward(place, in, views.o, {.scale = p.scale, .eps = p.eps});
            return {x.o.values(), {}, x.o.gaps_intact()};
        }
    }
};

/// Every chunk from 1 to 256 tokens, of a sequence of that many and some.
template <class Operator>
void check_every_chunk(gates kind, oracle::extents const& n) {
    random r("chunks " + Operator::name());
    auto p = random_problem(r, Operator::meaning(), n, kind);
    p.in = random_state(r, p.op, p.n);
    round_to_float(p);
    auto const want = oracle::forward(p);
    for (index tokens = 1; tokens <= 256; ++tokens) {
        in_chunks_of const place{tokens, r.one_of({false, true, true, true})};
        auto const m = r.one_of({memory::bthd, memory::bhtd, memory::scattered});
        auto const what = Operator::name() + " in chunks of " + std::to_string(tokens) +
                          (place.simd ? " simd" : " serial") + "\n  " + describe(p) +
                          "\n  RONDO_SEED=" + std::to_string(base_seed());
        check_equal(what, Operator::template forward<double>(p, m, place), want.o, want.out, p.op,
                    double_tolerance);
        check_equal(what + " float", Operator::template forward<float>(p, m, place), want.o,
                    want.out, p.op, float_tolerance);
    }
}

template <class... Policies>
void check_every_chunk() {
    for (gates const kind : {gates::mild, gates::hard}) {
        index const depth = kind == gates::mild ? 7 : 12;
        check_every_chunk<chunked<Policies...>>(kind, {1, 2, 1, 277, depth, 5});
        check_every_chunk<chunked<Policies...>>(kind, {1, 1, 1, 277, 16, 16});  // whole packs
    }
}

}  // namespace

namespace rd = rondo;

TEST_CASE("every chunk size computes the definition without a gate and with one a token") {
    check_every_chunk<rd::decay::none_t>();
    check_every_chunk<rd::decay::constant_t, rd::bidirectional_t>();
    check_every_chunk<rd::decay::scalar_t, rd::decay::on_write_t, rd::normalize::sum_t,
                      rd::feature::elu_plus_one_t>();
    check_every_chunk<rd::decay::scalar_t, rd::bidirectional_t>();
}

TEST_CASE("every chunk size computes the definition with a gate a channel") {
    check_every_chunk<rd::decay::vector_t>();
    check_every_chunk<rd::decay::vector_t, rd::decay::on_write_t, rd::bidirectional_t>();
    check_every_chunk<rd::decay::additive_t>();
    check_every_chunk<rd::decay::additive_t, rd::bidirectional_t>();
}

TEST_CASE("every chunk size computes the delta rule") {
    check_every_chunk<rd::decay::none_t, rd::update::delta_t>();
    check_every_chunk<rd::decay::scalar_t, rd::update::delta_t>();
    check_every_chunk<rd::decay::vector_t, rd::update::delta_t, rd::anticausal_t>();
}

}  // namespace support
