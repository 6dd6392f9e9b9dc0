// LION (Afzal et al. 2025): full attention, a recurrence in both directions, and chunks are three
// forms of one operator, along a line and along curves over a picture.

#include "support/compiled.hpp"
#include "support/law.hpp"

namespace support {
namespace {

namespace rd = rondo;

constexpr double bound(element type) { return type == element::float64 ? 1e-10 : 3e-5; }

/// What a named operator means to the oracle; the policies are its own.
template <class... Policies, class Model>
composition meaning_of(Model) {
    static_assert(Model::composition == rd::attention(Policies{}...).composition);
    return compiled<Policies...>::meaning();
}

std::vector<composition> lions() {
    using rd::bidirectional_t, rd::decay::constant_t, rd::decay::none_t, rd::decay::on_write_t,
        rd::decay::scalar_t, rd::feature::elu_plus_one_t, rd::feature::silu_half_unit_t,
        rd::normalize::sum_t;
    return {
        meaning_of<none_t, bidirectional_t, sum_t, elu_plus_one_t>(rd::models::lion_lit),
        meaning_of<constant_t, on_write_t, bidirectional_t, sum_t, silu_half_unit_t>(
            rd::models::lion_d),
        meaning_of<scalar_t, on_write_t, bidirectional_t, sum_t, silu_half_unit_t>(
            rd::models::lion_s),
    };
}

/// A long sequence has few channels: the oracle takes T^2 steps for each.
problem lion_problem(random& r, composition const& op, index length) {
    oracle::extents const n = length > 500 ? oracle::extents{1, 1, 1, length, 8, 8}
                                           : oracle::extents{2, 4, 2, length, 9, 6};
    auto p = random_problem(r, op, n, r.one_of({gates::mild, gates::hard}));
    p.scale = 0.5;
    round_to_float(p);
    return p;
}

/// Each form against the oracle, and against the form before it. forward(number of a form, where)
template <class Forward>
void check_forms(std::string const& what, random& r, problem const& p, values const& want,
                 std::size_t forms, Forward forward) {
    for (element type : {element::float32, element::float64}) {
        values before = want;
        for (std::size_t f = 0; f < forms; ++f) {
            auto const a = random_arrangement(r, type);
            outcome const got = forward(f, a);
            INFO(what << ", form " << f << "\n  " << describe(p) << "\n  " << describe(a)
                      << "\n  RONDO_SEED=" << base_seed());
            CHECK(error(got.o, want) <= bound(type));
            CHECK(error(got.o, before) <= bound(type));
            CHECK(got.gaps_intact);
            before = got.o;
        }
    }
}

}  // namespace

TEST_CASE("lion: full attention, recurrence and chunks agree with the definition") {
    for (composition const& op : lions()) {
        subject const* const s = find(op);
        REQUIRE(s != nullptr);
        REQUIRE(s->forms.size() == 4);
        random r("lion " + s->name);
        for (index length : {1, 2, 17, 300, 2048}) {
            auto const p = lion_problem(r, op, length);
            check_forms(s->name, r, p, oracle::forward(p).o, s->forms.size(),
                        [&](std::size_t f, auto const& a) { return s->forms[f].forward(p, a); });
        }
    }
}

TEST_CASE("lion: the same along two curves, joined before the division") {
    std::vector<oracle::path> const curves{oracle::path::snake, oracle::path::snake_column};
    for (composition const& op : lions()) {
        std::vector<grid_subject> forms;
        for (grid_subject const& s : grid_subjects()) {
            if (s.op == op && s.paths == curves) forms.push_back(s);
        }
        REQUIRE(forms.size() == 4);
        random r("lion " + forms[0].name);
        for (auto const& [rows, columns] : {std::pair<index, index>{1, 1}, {17, 23}, {32, 64}}) {
            auto const p = lion_problem(r, op, rows * columns);
            check_forms(forms[0].name, r, p, oracle::multiscan(p, curves, rows, columns),
                        forms.size(),
                        [&, rows = rows, columns = columns](std::size_t f, auto const& a) {
                            return forms[f].forward(p, a, rows, columns);
                        });
        }
    }
}

}  // namespace support
