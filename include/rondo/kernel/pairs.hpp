/// @file
/// What the readers of one tile see: the pairs within the chunk and the state in front of it.
#pragma once

#include <rondo/kernel/weights.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// to(r) = sum_d x(r, d) S(d) + sum_(j < keys) scores(r, j) v(j)
template <class L>
inline void read_tile(chunk<L>& c, matrix<typename L::value> x, typename L::value* state,
                      index keys, matrix<typename L::value> to) noexcept {
    using A = typename L::value;
    for_panels<L>(c.width, [&]<int Packs>(index e, std::integral_constant<int, Packs>) {
        typename L::pack acc[tile_rows][Packs];
        RONDO_UNROLL
        for (auto& row : acc) {
            RONDO_UNROLL
            for (auto& sum : row) sum = L::broadcast(A(0));
        }
        multiply_add<L>(acc, constant<L>(x), {state + e, c.width}, c.depth, [&] { c.ahead.ask(); });
        multiply_add<L>(acc, constant<L>(c.score_rows()), {c.v + e, c.width}, keys);
        RONDO_UNROLL
        for (int r = 0; r < tile_rows; ++r) {
            RONDO_UNROLL
            for (int p = 0; p < Packs; ++p) L::store(to.at(r, e + p * L::width), acc[r][p]);
        }
    });
}

/// The denominators of the tile's readers: the same sum with every value 1.
template <class L>
inline void sum_tile(chunk<L> const& c, matrix<typename L::value> x,
                     typename L::value const* normalizer, index keys,
                     typename L::value* sums) noexcept {
    using A = typename L::value;
    for (index r = 0; r < tile_rows; ++r) {
        auto total = L::broadcast(A(0));
        for (index d = 0; d < c.depth; d += L::width) {
            total = L::fma(L::load(x.at(r, d)), L::load(normalizer + d), total);
        }
        A sum = L::sum(total);
        for (index j = 0; j < keys; ++j) sum += *c.score_rows().at(r, j);
        sums[r] = sum;
    }
}

}  // namespace rondo::inline RONDO_ISA::detail
