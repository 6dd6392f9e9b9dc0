/// @file
/// The steps of a chunk's adjoint that know neither of weights nor of what its tokens write.
#pragma once

#include <rondo/form/site.hpp>
#include <rondo/kernel/adjoint/chunk.hpp>
#include <rondo/kernel/packing.hpp>

namespace rondo::inline RONDO_ISA::detail {

template <class L>
struct adjoint_steps {
    using A = typename L::value;

    /// Notes the rows that the `count` places in front of `end` will read and write; `all` but
    /// those of a move.
    static void look_back(chunk<L>& c, adjoint_problem<A> const& needs, site<A> const& where,
                          pass const& how, index end, index count, bool all) noexcept {
        problem<A> const& call = *c.call;
        for (index r = 0; r < count; ++r) c.next_tokens[r] = how.token(end - 1 - r, where.length);
        auto const note = [&](rows_by_token const& rows, index channels) {
            if (rows.first.data != nullptr) c.ahead.add(rows, channels, c.next_tokens, count);
        };
        auto const written = [&](tensor const& x, index channels) {
            if (!x.empty()) note(where.key_side(x), channels);
        };
        if (how.write && !all && call.what.per_channel()) written(call.gate, call.channels());
        if (how.write && all) {
            written(call.k, call.channels());
            if (c.rest_from.empty()) written(call.v, call.width);
            written(needs.d_k, call.channels());
            written(needs.d_v, call.width);
            if (call.what.per_channel()) {
                written(call.gate, call.channels());
                written(needs.d_gate, call.channels());
            }
        }
        for (index g = 0; how.read && g < call.group(); ++g) {
            note(where.query_side(call.q, g), call.channels());
            note(where.query_side(call.o, g), call.width);
            if (!all || needs.d_q.empty()) continue;
            note(where.query_side(needs.d_q, g), call.channels());
        }
    }
    /// The rows that one of these places needs at most.
    static index rows_ahead(problem<A> const& call) noexcept { return 6 + 3 * call.group(); }

    /// d_num = scale d_o, or by the quotient rule d_num = f d_o and d_den = -f (d_o . num) / (den +
    /// eps) with f = scale / (den + eps).
    static void load_output_gradients(chunk<L>& c, adjoint_chunk<L>& a, site<A> const& where,
                                      pass const& how, index g) noexcept {
        problem<A> const& call = *c.call;
        auto const from = where.query_side(call.o, g);
        fill<L>(a.d_den, A(0), whole_tiles(c.count));
        bool const plain = !call.what.normalized && call.scale == 1;
        a.output_gradients = {};
        if (plain && call.width == c.width) {
            a.output_gradients = c.dense_in_place(from, how, 0, c.count, c.width);
        }
        if (a.output_gradients.data != nullptr) return;
        matrix<A> const rows = a.output_gradients = {a.d_num, c.width};
        packing<L>::load(c, from, 0, c.count, call.width, rows);
        if (plain) return;
        for (index t = 0; t < c.count; ++t) {
            A factor = call.scale;
            if (call.what.normalized) {
                index const reader = g * where.length + c.tokens[t];
                A const sum = where.readings[reader] + call.eps;
                A const product = where.readings[call.group() * where.length + reader];
                factor = call.scale / sum;
                a.d_den[t] = -factor * product / sum;
            }
            scale_row<L>(rows.at(t), rows.at(t), factor, c.width);
        }
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
