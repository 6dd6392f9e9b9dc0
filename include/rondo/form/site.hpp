/// @file
/// Where in the user's memory one head of one sequence lies, and how its outputs are left there.
#pragma once

#include <rondo/kernel/chunk.hpp>

namespace rondo::inline RONDO_ISA::detail {

template <class A>
struct site {
    problem<A> const* call;
    index sequence, head;
    index batch, first, length;
    // Sums that passes leave for later ones when the output itself cannot hold them.
    A* partial_rows = nullptr;  // [group, length, width]: 16-bit outputs
    A* partial_sums = nullptr;  // [group, length]: denominators

    site(problem<A> const& p, index s, index h)
        : call(&p),
          sequence(s),
          head(h),
          batch(p.batch_of(s)),
          first(p.first_of(s)),
          length(p.length_of(s)) {}

    row key_side(tensor const& from, index token) const noexcept {
        return from.at(batch, head, first + token);
    }
    row query_side(tensor const& from, index g, index token) const noexcept {
        return from.at(batch, head * call->group() + g, first + token);
    }

    row partial_row(index g, index token) const noexcept {
        if (partial_rows == nullptr) return query_side(call->o, g, token);
        A* const at = partial_rows + (g * length + token) * call->width;
        return {reinterpret_cast<std::byte*>(at), index(sizeof(A)), element_traits<A>::kind};
    }

    /// Takes the output of one reader, whose weights sum to `sum`: adds what earlier passes left,
    /// then leaves it for the next pass, or divides, scales and stores it. `buffer` holds one row.
    template <class L>
    void leave(pass const& how, index g, index token, A* values, A sum, A* buffer) const noexcept {
        if (how.accumulate) {
            load_row<L>(buffer, partial_row(g, token), call->width, call->width);
            for (index e = 0; e < call->width; ++e) values[e] += buffer[e];
            if (call->what.normalized) sum += partial_sums[g * length + token];
        }
        if (!how.finish) {
            store_row<L>(partial_row(g, token), values, call->width);
            if (call->what.normalized) partial_sums[g * length + token] = sum;
            return;
        }
        A const factor = call->what.normalized ? call->scale / (sum + call->eps) : call->scale;
        if (factor != A(1)) {
            for (index e = 0; e < call->width; ++e) values[e] *= factor;
        }
        store_row<L>(query_side(call->o, g, token), values, call->width);
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
