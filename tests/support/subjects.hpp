#pragma once

// The table of subjects, filled by one file for each decay to keep each quick to compile.

#include "support/compiled.hpp"

namespace support {

template <class... Policies>
struct policies {};

/// The chunk of one composition. Sizes are dealt out, each to every decay: a single token, fewer
/// than a register tile has rows, an odd number, the usual ones, and more than most sequences have.
template <class... Policies>
constexpr auto some_chunk() {
    constexpr auto what = rondo::attention(Policies{}...).composition;
    constexpr rondo::index sizes[] = {3, 64, 1, 16, 256, 2};
    constexpr int deal = int(what.direction) + 3 * what.on_write + 6 * what.normalized + what.delta;
    return rondo::chunkwise<sizes[deal % 6]>;
}

template <class... Policies, class... Form>
form in_form(policies<Policies...>, Form... form) {
    oracle::composition unused;
    std::string name;
    ((name += say(form, unused)), ...);
    return {name, &compiled<Policies..., Form...>::forward};
}

/// A composition in these forms, behind the one that the operator picks by itself.
template <class... Policies, class... Forms>
subject in_forms(policies<Policies...> op, Forms... forms) {
    using plain = compiled<Policies...>;
    subject s{plain::name(), plain::meaning(), {in_form(op), in_form(op, forms)...}, nullptr};
    if constexpr (!(std::is_same_v<Policies, rondo::bidirectional_t> || ...)) {
        s.steps = &plain::steps;
    }
    return s;
}

template <class... Policies>
subject in_every_form(policies<Policies...> op) {
    return in_forms(op, rondo::recurrent, rondo::quadratic, some_chunk<Policies...>());
}

/// Calls visit(policies<Chosen..., P>) for every policy P of one kind.
template <class Visit, class... Chosen, class... Choices>
void for_each_choice(policies<Chosen...>, policies<Choices...>, Visit visit) {
    (visit(policies<Chosen..., Choices>{}), ...);
}

using directions = policies<rondo::causal_t, rondo::anticausal_t, rondo::bidirectional_t>;
using one_way = policies<rondo::causal_t, rondo::anticausal_t>;

/// Placement and normalisation each come with a feature map of their own, the same for every decay
/// and direction, so that operators that differ only in these can be compared.
template <class Decay>
void add_on_read(std::vector<subject>& all) {
    namespace rd = rondo;
    auto add = [&](auto op) { all.push_back(in_every_form(op)); };
    for_each_choice(policies<Decay, rd::normalize::none_t, rd::feature::identity_t>{}, directions{},
                    add);
    for_each_choice(policies<Decay, rd::normalize::sum_t, rd::feature::elu_plus_one_t>{},
                    directions{}, add);
}

template <class Decay>
void add_on_write(std::vector<subject>& all) {
    namespace rd = rondo;
    auto add = [&](auto op) { all.push_back(in_every_form(op)); };
    using on_write = rd::decay::on_write_t;
    for_each_choice(policies<Decay, on_write, rd::normalize::none_t, rd::feature::silu_t>{},
                    directions{}, add);
    for_each_choice(
        policies<Decay, on_write, rd::normalize::sum_t, rd::feature::silu_half_unit_t>{},
        directions{}, add);
}

template <class Decay>
void add_delta(std::vector<subject>& all) {
    namespace rd = rondo;
    auto add = [&](auto op) { all.push_back(in_every_form(op)); };
    using delta = rd::update::delta_t;
    for_each_choice(policies<Decay, delta, rd::feature::identity_t>{}, one_way{}, add);
    for_each_choice(policies<Decay, delta, rd::decay::on_write_t, rd::feature::relu_t>{}, one_way{},
                    add);
}

/// The chosen policies with each of the feature maps, in fewer forms.
template <class... Chosen>
void add_features(std::vector<subject>& all) {
    namespace rd = rondo;
    using features =
        policies<rd::feature::identity_t, rd::feature::elu_plus_one_t, rd::feature::silu_t,
                 rd::feature::exp_t, rd::feature::relu_t, rd::feature::silu_half_unit_t>;
    for_each_choice(policies<Chosen...>{}, features{}, [&](auto op) {
        all.push_back(in_forms(op, rd::recurrent, rd::chunkwise<16>));
    });
}

/// An operator along paths over a grid.
template <class Operator, class... Paths>
grid_subject along(Paths... paths) {
    grid_subject s{Operator::name() + " along ", Operator::meaning(), {}, {}};
    ((s.name += say(paths, s.paths) + " "), ...);
    s.forward = [](problem const& p, arrangement const& a, index rows, index columns) {
        return Operator::multiscan(p, a, rondo::grid{rows, columns}, Paths{}...);
    };
    return s;
}

/// LION along its two curves, in every form.
template <class... Policies>
void add_curves(std::vector<grid_subject>& all) {
    namespace rd = rondo;
    auto const add = [&]<class... Form>(Form...) {
        using lion = compiled<Policies..., rd::bidirectional_t, rd::normalize::sum_t, Form...>;
        all.push_back(along<lion>(rd::path::snake, rd::path::snake_column));
    };
    add();
    add(rd::recurrent);
    add(rd::quadratic);
    add(rd::chunkwise<16>);
}

void add_decay_none(std::vector<subject>& all);
void add_decay_constant(std::vector<subject>& all);
void add_decay_scalar(std::vector<subject>& all);
void add_decay_vector(std::vector<subject>& all);
void add_decay_additive(std::vector<subject>& all);

void add_grids_none(std::vector<grid_subject>& all);
void add_grids_constant(std::vector<grid_subject>& all);
void add_grids_scalar(std::vector<grid_subject>& all);
void add_grids_vector(std::vector<grid_subject>& all);
void add_grids_additive(std::vector<grid_subject>& all);

}  // namespace support
