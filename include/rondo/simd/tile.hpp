/// @file
/// The micro-kernel: small products of matrices held in registers. Every matrix part of every form
/// is one of these two shapes, rows padded to whole tiles and channels to whole packs.
#pragma once

#include <rondo/error.hpp>
#include <rondo/simd/lanes.hpp>

#include <cstring>

namespace rondo::inline RONDO_ISA::detail {

/// Rows that a tile works on at once: with 4 packs they fill half of 32 registers while B streams
/// by.
inline constexpr int tile_rows = 4;

/// A matrix in memory: element (row, column) at data[row * row_step + column * column_step].
template <class A>
struct matrix {
    A* data;
    index row_step;
    index column_step = 1;

    constexpr A* at(index row, index column = 0) const noexcept {
        return data + row * row_step + column * column_step;
    }
};

struct nothing_between {
    void operator()() const noexcept {}
};

/// acc[r][p] += sum_k a(r, k) b(k, pack p), k < depth; calls `between` at each step.
template <class L, int Packs, class Between = nothing_between>
inline void multiply_add(typename L::pack (&acc)[tile_rows][Packs],
                         matrix<typename L::value const> a, matrix<typename L::value const> b,
                         index depth, Between const& between = {}) noexcept {
    using P = typename L::pack;
    auto const* a_k = a.data;
    auto const* b_k = b.data;
    for (index k = 0; k < depth; ++k, a_k += a.column_step, b_k += b.row_step) {
        P columns[Packs];
        between();
        RONDO_UNROLL
        for (int p = 0; p < Packs; ++p) columns[p] = L::load(b_k + p * L::width);
        RONDO_UNROLL
        for (int r = 0; r < tile_rows; ++r) {
            P const element = L::broadcast(a_k[r * a.row_step]);
            RONDO_UNROLL
            for (int p = 0; p < Packs; ++p) acc[r][p] = L::fma(element, columns[p], acc[r][p]);
        }
    }
}

/// Calls body(column, packs) for panels of at most L::packs packs over `columns` padded columns;
/// `packs` is an integral constant, so that a panel's accumulators stay in registers.
template <class L, class Body>
inline void for_panels(index columns, Body const& body) noexcept {
    index column = 0;
    constexpr index whole = index(L::packs) * L::width;
    for (; column + whole <= columns; column += whole) {
        body(column, std::integral_constant<int, L::packs>{});
    }
    for (; column < columns; column += L::width) body(column, std::integral_constant<int, 1>{});
}

/// out(r, j) = the sum of the lanes of pack r * tile_rows + j.
template <class L>
inline void store_sums(typename L::pack const* packs, matrix<typename L::value> out) noexcept {
    using A = typename L::value;
    A sums[tile_rows * tile_rows];
    RONDO_UNROLL
    for (int first = 0; first < tile_rows * tile_rows; first += L::width) {
        typename L::pack group[L::width];
        RONDO_UNROLL
        for (int i = 0; i < L::width; ++i) group[i] = packs[first + i];
        L::store(sums + first, L::sums(group));
    }
    RONDO_UNROLL
    for (int r = 0; r < tile_rows; ++r) {
        std::memcpy(out.at(r), sums + r * tile_rows, tile_rows * sizeof(A));
    }
}

/// out(r, j) = x_r . y_j for 4 rows of x and 4 of y; rows are contiguous, `depth` whole packs.
template <class L>
inline void dot_tile(matrix<typename L::value const> x, matrix<typename L::value const> y,
                     index depth, matrix<typename L::value> out) noexcept {
    using A = typename L::value;
    using P = typename L::pack;
    P acc[tile_rows * tile_rows];
    RONDO_UNROLL
    for (P& sum : acc) sum = L::broadcast(A(0));
    for (index d = 0; d < depth; d += L::width) {
        P columns[tile_rows];
        RONDO_UNROLL
        for (int j = 0; j < tile_rows; ++j) columns[j] = L::load(y.at(j, d));
        RONDO_UNROLL
        for (int r = 0; r < tile_rows; ++r) {
            P const row = L::load(x.at(r, d));
            RONDO_UNROLL
            for (int j = 0; j < tile_rows; ++j) {
                acc[r * tile_rows + j] = L::fma(row, columns[j], acc[r * tile_rows + j]);
            }
        }
    }
    store_sums<L>(acc, out);
}

}  // namespace rondo::inline RONDO_ISA::detail
