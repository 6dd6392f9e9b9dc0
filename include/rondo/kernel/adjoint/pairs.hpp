/// @file
/// The adjoint of the pairs within a chunk, P = w (Q K^T) and O = P V with w unfolded by the
/// families of weights:
///
///     dP = dO V^T,   dV = P^T dO,   dQ = (w dP) K,   dK = (w dP)^T Q
#pragma once

#include <rondo/kernel/adjoint/chunk.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// d_pairs of all readers, zero where a reader does not see the token.
template <class L>
inline void differentiate_pairs(chunk<L> const& c, adjoint_chunk<L>& a, bool strict) noexcept {
    using A = typename L::value;
    matrix<A> const to = a.pair_gradients();
    for (index i = 0; i < c.count; i += tile_rows) {
        for (index j = 0; j <= i; j += tile_rows) {
            dot_tile<L>({a.output_gradients().at(i), a.width}, {c.values().at(j), c.width}, a.width,
                        {to.at(i, j), to.row_step});
        }
        for (index r = i; r < i + tile_rows; ++r) {
            if (c.call->what.normalized) {
                for (index j = 0; j <= r; ++j) *to.at(r, j) += a.d_den[r];
            }
            for (index j = strict ? r : r + 1; j < i + tile_rows; ++j) *to.at(r, j) = A(0);
        }
    }
}

/// to(j) += sum_(i >= j) scores(i, j) from(i), the tiles of a lower triangle
template <class L>
inline void add_transposed(matrix<typename L::value> to, matrix<typename L::value> scores,
                           matrix<typename L::value> from, index count, index columns) noexcept {
    using A = typename L::value;
    index const rows = whole_tiles(count);
    for (index j = 0; j < rows; j += tile_rows) {
        for_panels<L>(columns, [&]<int Packs>(index e, std::integral_constant<int, Packs>) {
            typename L::pack acc[tile_rows][Packs];
            RONDO_UNROLL
            for (int r = 0; r < tile_rows; ++r) {
                RONDO_UNROLL
                for (int p = 0; p < Packs; ++p) acc[r][p] = L::load(to.at(j + r, e + p * L::width));
            }
            matrix<A const> const weights{scores.at(j, j), 1, scores.row_step};
            multiply_add<L>(acc, weights, {from.at(j, e), from.row_step}, rows - j);
            RONDO_UNROLL
            for (int r = 0; r < tile_rows; ++r) {
                RONDO_UNROLL
                for (int p = 0; p < Packs; ++p) L::store(to.at(j + r, e + p * L::width), acc[r][p]);
            }
        });
    }
}

/// to(r) = factor(r) to(r) + sum_(j < keys) weights(r, j) from(j), one tile
template <class L>
inline void add_rows(matrix<typename L::value> to, typename L::value const* factors,
                     matrix<typename L::value> weights, matrix<typename L::value> from, index keys,
                     index columns) noexcept {
    for_panels<L>(columns, [&]<int Packs>(index e, std::integral_constant<int, Packs>) {
        typename L::pack acc[tile_rows][Packs];
        RONDO_UNROLL
        for (int r = 0; r < tile_rows; ++r) {
            auto const factor = L::broadcast(factors[r]);
            RONDO_UNROLL
            for (int p = 0; p < Packs; ++p)
                acc[r][p] = factor * L::load(to.at(r, e + p * L::width));
        }
        multiply_add<L>(acc, constant<L>(weights), {from.data + e, from.row_step}, keys);
        RONDO_UNROLL
        for (int r = 0; r < tile_rows; ++r) {
            RONDO_UNROLL
            for (int p = 0; p < Packs; ++p) L::store(to.at(r, e + p * L::width), acc[r][p]);
        }
    });
}

}  // namespace rondo::inline RONDO_ISA::detail
