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
        // Rows of a tile that this form has no use for: a key's sum, and the queries of a group.
        token_rows<L> const rows{c.k,          c.running, c.v,     c.partial,    c.raw_queries(),
                                 c.out_rows(), c.depth,   c.width, tile_rows - 1};
        for (index place = begin; place < begin + count; ++place) {
            token_kernel<L>(rows, where, state, how, how.token(place, where.length)).run();
        }
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
