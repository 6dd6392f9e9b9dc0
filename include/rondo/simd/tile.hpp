/// @file
/// The micro-kernel: small products of matrices held in registers. Every matrix part of every form
/// is one of these, rows padded to `tile_rows` and channels to whole packs.
#pragma once

#include <rondo/error.hpp>
#include <rondo/simd/lanes.hpp>

#include <algorithm>
#include <type_traits>
#include <utility>

namespace rondo::inline RONDO_ISA::detail {

/// Rows come in multiples of this many, products in multiples of as many steps.
inline constexpr int tile_rows = 4;

template <class A>
struct turned_matrix;

/// A matrix in memory: element (row, column) at data[row * row_step + column].
template <class A>
struct matrix {
    A* data = nullptr;
    index row_step = 0;

    constexpr A* at(index row, index column = 0) const noexcept {
        return data + row * row_step + column;
    }
    constexpr matrix from(index row, index column = 0) const noexcept {
        return {at(row, column), row_step};
    }
    constexpr turned_matrix<A> turned() const noexcept { return {data, row_step}; }
};

/// Its transpose: element (row, column) at data[row + column * column_step].
template <class A>
struct turned_matrix {
    A* data;
    index column_step;

    constexpr turned_matrix from(index row) const noexcept { return {data + row, column_step}; }
};

struct nothing_between {
    void operator()() const noexcept {}
};

/// A block of Rows x (Packs packs) of a product, in registers.
template <class L, int Rows, int Packs>
class tile {
public:
    using A = typename L::value;
    using P = typename L::pack;
    static constexpr int rows = Rows, packs = Packs, lanes = Packs * L::width;

    [[gnu::always_inline]] void clear() noexcept {
        each([](P& sum, int, int) { sum = L::broadcast(A(0)); });
    }
    [[gnu::always_inline]] void store(matrix<A> to) noexcept {
        each([&](P& sum, int r, int p) { L::store(to.at(r, p * L::width), sum); });
    }
    /// The first `count` rows, or all; the others are zero, or left alone.
    [[gnu::always_inline]] void load(matrix<A> from, index count) noexcept {
        each([&](P& sum, int r, int p) {
            sum = r < count ? L::load(from.at(r, p * L::width)) : L::broadcast(A(0));
        });
    }
    [[gnu::always_inline]] void store(matrix<A> to, index count) noexcept {
        if (count >= Rows) return store(to);
        each([&](P& sum, int r, int p) {
            if (r < count) L::store(to.at(r, p * L::width), sum);
        });
    }
    /// Row r times factors[r].
    [[gnu::always_inline]] void scale(A const* factors) noexcept {
        each([&](P& sum, int r, int) { sum = L::broadcast(factors[r]) * sum; });
    }
    /// Adds sum_k a(r, k) b(k, pack p), k < depth, a multiple of tile_rows; calls `between` before
    /// every tile_rows steps.
    template <class Between = nothing_between>
    [[gnu::always_inline]] void add(matrix<A> a, matrix<A> b, index depth,
                                    Between const& between = {}) noexcept {
        // One pointer for four rows: a pointer for each would not stay in a register.
        A const* rows_of_a[Rows / tile_rows];
        RONDO_UNROLL
        for (int r = 0; r < Rows; r += tile_rows) rows_of_a[r / tile_rows] = a.at(r);
        add_steps(b, depth, between, [&](index k, int r) {
            return rows_of_a[r / tile_rows][k + (r % tile_rows) * a.row_step];
        });
    }
    template <class Between = nothing_between>
    [[gnu::always_inline]] void add(turned_matrix<A> a, matrix<A> b, index depth,
                                    Between const& between = {}) noexcept {
        add_steps(b, depth, between, [&](index k, int r) { return a.data[k * a.column_step + r]; });
    }
    /// Its transpose.
    [[gnu::always_inline]] auto turned() const noexcept {
        static_assert(Packs == 1 && Rows % L::width == 0);
        tile<L, L::width, Rows / L::width> result;
        RONDO_UNROLL
        for (int r = 0; r < Rows; r += L::width) {
            P block[L::width];
            RONDO_UNROLL
            for (int i = 0; i < L::width; ++i) block[i] = sums_[r + i][0];
            L::turn(block);
            result.each([&](P& sum, int i, int p) {
                if (p == r / L::width) sum = block[i];
            });
        }
        return result;
    }
    /// Calls body(sum, row, pack) for every pack. A body that stores has what it needs by value: a
    /// pack's store may be into anything, and what is behind a reference is loaded anew.
    template <class Body>
    [[gnu::always_inline]] void each(Body const& body) noexcept {
        RONDO_UNROLL
        for (int r = 0; r < Rows; ++r) {
            RONDO_UNROLL
            for (int p = 0; p < Packs; ++p) body(sums_[r][p], r, p);
        }
    }
    /// The same, the last row first.
    template <class Body>
    [[gnu::always_inline]] void each_back(Body const& body) noexcept {
        RONDO_UNROLL
        for (int r = Rows - 1; r >= 0; --r) {
            RONDO_UNROLL
            for (int p = 0; p < Packs; ++p) body(sums_[r][p], r, p);
        }
    }

private:
    template <class Between, class Element>
    [[gnu::always_inline]] void add_steps(matrix<A> b, index depth, Between const& between,
                                          Element const& element) noexcept {
        for (index k = 0; k < depth; k += tile_rows) {
            between();
            RONDO_UNROLL
            for (int step = 0; step < tile_rows; ++step) {
                P columns[Packs];
                RONDO_UNROLL
                for (int p = 0; p < Packs; ++p) columns[p] = L::load(b.at(k + step, p * L::width));
                RONDO_UNROLL
                for (int r = 0; r < Rows; ++r) {
                    P const factor = L::broadcast(element(k + step, r));
                    RONDO_UNROLL
                    for (int p = 0; p < Packs; ++p) {
                        sums_[r][p] = L::fma(factor, columns[p], sums_[r][p]);
                    }
                }
            }
        }
    }

    P sums_[Rows][Packs];
};

/// Calls body(type_identity<Tile>, row, column) for tiles that cover rows x columns, panels of
/// columns outermost: 4 x 4 packs fill half of 32 registers while the right factor streams by,
/// 16 x 1 take what is left over, or 4 x 1 where rows must not be taken together (`Low`). `rows` is
/// a multiple of tile_rows, `columns` whole packs.
template <class L, bool Low = false, class Body>
inline void for_tiles(index rows, index columns, Body const& body) noexcept {
    constexpr index panel = index(L::packs) * L::width;
    [[maybe_unused]] constexpr int tall = tile_rows * L::packs;
    index column = 0;
    for (; column + panel <= columns; column += panel) {
        for (index row = 0; row < rows; row += tile_rows) {
            body(std::type_identity<tile<L, tile_rows, L::packs>>{}, row, column);
        }
    }
    if constexpr (L::packs > 1) {
        for (; column < columns; column += L::width) {
            index row = 0;
            if constexpr (!Low) {
                for (; row + tall <= rows; row += tall) {
                    body(std::type_identity<tile<L, tall, 1>>{}, row, column);
                }
            }
            for (; row < rows; row += tile_rows) {
                body(std::type_identity<tile<L, tile_rows, 1>>{}, row, column);
            }
        }
    }
}

/// to(c, r) = from(r, c) for r < rows and c < columns, which are whole packs. Whole packs are
/// written to every row of `to`, zeros behind the last. The packs at channel c of the rows from r
/// on are what calls of block_at(r, c) give in turn.
template <class L, class BlockAt>
inline void turn(index rows, index columns, matrix<typename L::value> to,
                 BlockAt const& block_at) noexcept {
    using P = typename L::pack;
    for (index r = 0; r < rows; r += L::width) {
        for (index c = 0; c < columns; c += L::width) {
            P block[L::width];
            auto next = block_at(r, c);
            if (r + L::width <= rows) {
                RONDO_UNROLL
                for (int i = 0; i < L::width; ++i) block[i] = next();
            } else {
                RONDO_UNROLL
                for (int i = 0; i < L::width; ++i) {
                    block[i] = r + i < rows ? next() : L::broadcast(typename L::value(0));
                }
            }
            L::turn(block);
            RONDO_UNROLL
            for (int i = 0; i < L::width; ++i) L::store(to.at(c + i, r), block[i]);
        }
    }
}
template <class L>
inline void turn(matrix<typename L::value> from, index rows, index columns,
                 matrix<typename L::value> to) noexcept {
    turn<L>(rows, columns, to, [from](index r, index c) {
        return [at = from.at(r, c), step = from.row_step]() mutable {
            return L::load(std::exchange(at, at + step));
        };
    });
}

/// Writes the packs of a row, pack_at(c): a few are computed before the first is stored, since a
/// load behind a store may have to wait for it.
template <class L, class PackAt>
inline void write_row(typename L::value* to, index count, PackAt const& pack_at) noexcept {
    constexpr index step = index(L::packs) * L::width;
    index c = 0;
    for (; c + step <= count; c += step) {
        typename L::pack block[L::packs];
        RONDO_UNROLL
        for (int i = 0; i < L::packs; ++i) block[i] = pack_at(c + i * L::width);
        RONDO_UNROLL
        for (int i = 0; i < L::packs; ++i) L::store(to + c + i * L::width, block[i]);
    }
    for (; c < count; c += L::width) L::store(to + c, pack_at(c));
}

}  // namespace rondo::inline RONDO_ISA::detail
