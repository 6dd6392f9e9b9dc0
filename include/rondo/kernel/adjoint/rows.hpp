/// @file
/// Rows of gradients on their way out: from registers, or from scratch where more than a product
/// and factors stands between them and the user's memory.
#pragma once

#include <rondo/kernel/adjoint/feature.hpp>
#include <rondo/kernel/adjoint/weights.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// Rows of gradients as products leave them: as they come, or with `factors` as the user has them,
/// what they add to the gates' gradients being taken from the registers.
template <class L, class Weights, bool Keys>
struct gradient_rows {
    using A = typename L::value;

    matrix<A> to;
    index count;  // of rows that are there
    row_factors<L> factors{};
    matrix<A> weighed{}, known{}, terms{};  // what these are the gradients of, and gates' terms

    void leave_through(row_factors<L> const& by, matrix<A> rows,
                       adjoint_chunk<L> const& a) noexcept {
        factors = by;
        weighed = rows;
        known = a.known_terms;
        terms = a.gate_terms;
    }

    template <class Tile>
    [[gnu::always_inline]] void load(Tile& sum, index row, index column) const noexcept {
        sum.load(to.from(row, column), count - row);
    }

    template <class Tile>
    [[gnu::always_inline]] void leave(Tile& sum, index row, index column) const noexcept {
        if constexpr (Weights::weighs_rows) {
            if (factors.data != nullptr) return leave_weighed(sum, row, column);
        }
        sum.store(to.from(row, column), count - row);
    }

private:
    template <class Tile>
    [[gnu::always_inline]] void leave_weighed(Tile& sum, index row, index column) const noexcept {
        using adjoint = adjoint_weights<L, Weights>;
        matrix<A const> const by{factors.data, factors.row_step};
        sum.each([there = count - row, by = by.from(row, column), own = weighed.from(row, column),
                  before = known.from(row, column), behind = terms.from(row, column),
                  out = to.from(row, column)](typename L::pack& x, int r, int p) {
            if (r >= there) return;
            index const d = p * L::width;
            auto const factor = L::load(by.at(r, d)), value = L::load(own.at(r, d));
            auto const term = L::load(before.at(r, d));
            L::store(behind.at(r, d), Keys ? adjoint::key_term(term, value, x, factor)
                                           : adjoint::query_term(term, value, x, factor));
            L::store(out.at(r, d), factor * x);
        });
    }
};

/// Adds to what earlier passes left when `add` is set.
template <class L>
inline void leave_row(row const& to, typename L::value* values, index count, bool add,
                      typename L::value* buffer) noexcept {
    if (add) {
        load_row<L>(buffer, to, count, count);
        for (index c = 0; c < count; ++c) values[c] += buffer[c];
    }
    store_row<L>(to, values, count);
}

/// Leaves gradients of weighted keys or queries, taken back through their weights, their turn
/// and the feature map.
template <class L>
inline void leave_rows(chunk<L> const& c, adjoint_chunk<L>& a, rows_by_token const& from,
                       rows_by_token const& to, matrix<typename L::value> gradients,
                       row_factors<L> const& factors, bool add) noexcept {
    using A = typename L::value;
    feature_kind const feature = c.call->what.feature;
    index const channels = c.call->channels();
    if (factors.data != nullptr && feature == feature_kind::identity && !turns_rows<L> && !add &&
        is_plain<A>(to.first) && channels == c.depth) {  // in one go
        for (index t = 0; t < c.count; ++t) {
            scale_row<L>(reinterpret_cast<A*>(to[c.tokens[t]].data), gradients.at(t),
                         factors.from(t).data, channels, factors.step);
        }
        return;
    }
    factors.apply(gradients, c.count, c.depth);
    for (index t = 0; t < c.count; ++t) {
        if constexpr (turns_rows<L>) c.turns[t].turn_back(gradients.at(t), c.depth);
        if (feature != feature_kind::identity) {
            load_row<L>(a.row[0], from[c.tokens[t]], channels, c.depth);
            differentiate_feature<L>(feature, a.row[0], gradients.at(t), a.row[1], channels,
                                     c.depth);
        }
        leave_row<L>(to[c.tokens[t]], gradients.at(t), channels, add, a.row[0]);
    }
}

}  // namespace rondo::inline RONDO_ISA::detail
