/// @file
/// The recurrent form: token by token.
#pragma once

#include <rondo/kernel/token.hpp>

namespace rondo::inline RONDO_ISA::detail {

template <class L>
struct recurrent_form {
    using A = typename L::value;

    static void advance(chunk<L>& c, site<A> const& where, head_state<A> const& state,
                        pass const& how, index begin, index count) noexcept {
        // Rows of readers that this form has no use for: a key's sum, and the queries of a group.
        token_rows<L> rows{c.k,          c.carry, c.v,     c.partial,    c.queries(),
                           c.out_rows(), c.depth, c.width, c.readers - 1};
        for (index r = 0; r < count; ++r) c.tokens[r] = how.token(begin + r, where.length);
        if constexpr (turns_rows<L>) c.turns.hold(c.tokens, count);
        for (index place = begin; place < begin + count; ++place) {
            index const token = c.tokens[place - begin];
            if constexpr (turns_rows<L>) rows.turn = c.turns[place - begin];
            token_kernel<L>(rows, where, state, how, token).run();
        }
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
