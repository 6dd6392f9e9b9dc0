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
        token_rows<L> const rows{c.k, c.carry, c.q, c.v, c.out, c.partial, c.depth, c.width};
        for (index place = begin; place < begin + count; ++place) {
            token_kernel<L>(rows, where, state, how, how.token(place, where.length)).run();
        }
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
