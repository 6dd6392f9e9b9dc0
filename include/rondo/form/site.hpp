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
    // When set, outputs are not left but read: their denominators, then their products with
    // call->o.
    A* readings = nullptr;  // [2, group, length]

    site(problem<A> const& p, index s, index h)
        : call(&p),
          sequence(s),
          head(h),
          batch(p.batch_of(s)),
          first(p.first_of(s)),
          length(p.length_of(s)) {}

    /// The rows of a tensor for this key/value head, by token.
    auto key_side(tensor const& from) const noexcept {
        return rows_by_token{from.at(batch, head, first), from.time};
    }
    /// The rows of a tensor for query head g of the group.
    auto query_side(tensor const& from, index g) const noexcept {
        return rows_by_token{from.at(batch, head * call->group() + g, first), from.time};
    }
    row key_side(tensor const& from, index token) const noexcept { return key_side(from)[token]; }
    row query_side(tensor const& from, index g, index token) const noexcept {
        return query_side(from, g)[token];
    }

    /// Where passes leave the unfinished rows of query head g.
    auto partial(index g) const noexcept {
        if (partial_rows == nullptr) return query_side(call->o, g);
        index const step = call->width * index(sizeof(A));
        auto* const data = reinterpret_cast<std::byte*>(partial_rows) + g * length * step;
        return rows_by_token{{data, index(sizeof(A)), element_traits<A>::kind}, step};
    }

    /// Whether outputs may be left as they are computed, pack by pack.
    template <class L>
    bool leaves_packs() const noexcept {
        bool const plain = is_plain<A>({nullptr, call->o.channel, call->o.kind});
        return plain && (L::masks || padded<L>(call->width) == call->width) &&
               !call->what.normalized && readings == nullptr;
    }

    /// Takes the outputs of `readers` query rows of head g, whose weights sum to `sums`: adds what
    /// earlier passes left, then leaves them for the next pass, or divides, scales and stores them.
    /// `buffer` holds one row.
    template <class L>
    void leave(pass const& how, index g, index const* tokens, index readers, matrix<A> values,
               A* sums, A* buffer) const noexcept {
        if (readings != nullptr) {
            return take_readings<L>(g, tokens, readers, values, sums, buffer);
        }
        bool const normalized = call->what.normalized;
        auto const unfinished = partial(g), to = how.finish ? query_side(call->o, g) : unfinished;
        for (index r = 0; r < readers; ++r) {
            index const token = tokens[r];
            A* const output = values.at(r);
            if (how.accumulate) {
                load_row<L>(buffer, unfinished[token], call->width, call->width);
                for (index e = 0; e < call->width; ++e) output[e] += buffer[e];
                if (normalized) sums[r] += partial_sums[g * length + token];
            }
            if (!how.finish && normalized) partial_sums[g * length + token] = sums[r];
            A const factor = !how.finish  ? A(1)
                             : normalized ? call->scale / (sums[r] + call->eps)
                                          : call->scale;
            store_row<L>(to[token], output, call->width, factor);
        }
    }

private:
    template <class L>
    void take_readings(index g, index const* tokens, index readers, matrix<A> values, A const* sums,
                       A* buffer) const noexcept {
        auto const other = query_side(call->o, g);
        for (index r = 0; r < readers; ++r) {
            load_row<L>(buffer, other[tokens[r]], call->width, call->width);
            A product = 0;
            for (index e = 0; e < call->width; ++e) product += buffer[e] * *values.at(r, e);
            readings[g * length + tokens[r]] += sums[r];
            readings[(call->group() + g) * length + tokens[r]] += product;
        }
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
