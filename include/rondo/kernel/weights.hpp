/// @file
/// The weights of a decay inside one chunk, in four families with the same functions. With f_t the
/// factor between token t - 1 and token t of the chunk (f_0 in front of the first, f_n behind the
/// last) they are
///
///     pair(i, j) = f_(j+1) ... f_i     read(i) = f_0 ... f_i     write(j) = f_(j+1) ... f_n
///     carry = f_0 ... f_n
///
/// and on_read and on_write differ by one place only: f_t = a_t with f_n = 1, or f_t = a_(t-1) with
/// f_0 = 1. Products of factors stand where e^(G(i) - G(j)) is usually formed: one exponential a
/// gate entry, no exponent of a sum, nothing to overflow, and a hard reset is an exact zero.
///
/// A tile is `tile_rows` readers; `decayed` keys are kept as the tile's first reader meets them.
#pragma once

#include <rondo/kernel/chunk.hpp>

#include <algorithm>

namespace rondo::inline RONDO_ISA::detail {

/// values = exp(values)
template <class L>
inline void exp_in_place(typename L::value* values, index count) noexcept {
    for (index i = 0; i < count; i += L::width) {
        index const lanes = std::min<index>(L::width, count - i);
        L::store(values + i, L::exp(L::load(values + i, lanes)), lanes);
    }
}

/// Loads the gates of a chunk and turns them into the factors f_0 ... f_(n-1), ones up to the last
/// tile's end, and f_n in the row behind all others.
template <class L, class Rows>
inline void load_factors(chunk<L>& c, Rows const& gate_row, bool per_channel) noexcept {
    using A = typename L::value;
    bool const on_write = c.call->what.on_write;
    index const channels = per_channel ? c.call->depth : 1, step = per_channel ? c.gates : 1;
    matrix<A> const f{c.gate, step};
    index const first = on_write ? 1 : 0, rows = (c.count + tile_rows - 1) / tile_rows * tile_rows;
    A* const exit = f.at(c.rows);
    for (index t = 0; t < c.count; ++t) {
        bool const last = on_write && t + 1 == c.count;
        load_row<L>(last ? exit : f.at(t + first), gate_row(t), channels, step);
    }
    exp_in_place<L>(f.at(first), (c.count - first) * step);
    if (on_write) {
        exp_in_place<L>(exit, step);
        fill<L>(f.at(0), A(1), step);
    }
    fill<L>(f.at(c.count), A(1), (rows - c.count) * step);
}

/// decay::none: every weight is 1.
template <class L>
struct unweighted {
    using A = typename L::value;

    /// False when the chunk must be halved first.
    template <class Rows>
    static bool load_gates(chunk<L>&, head_state<A> const&, Rows const&, pass const&) noexcept {
        return true;
    }
    static void weigh_keys(chunk<L>&) noexcept {}
    static void enter_tile(chunk<L>&, index) noexcept {}
    /// Weighs the tile's queries, once they are loaded, for the pairs and for the state.
    static void weigh_queries(chunk<L>&, index) noexcept {}
    static matrix<A> state_queries(chunk<L> const& c) noexcept { return c.raw_queries(); }
    static void leave_tile(chunk<L>&, index) noexcept {}
    static matrix<A> finish(chunk<L>& c) noexcept { return c.keys(); }
    /// The factor of row d of the state over the whole chunk.
    static A carry(chunk<L> const&, index) noexcept { return A(1); }

    /// scores(r, j) of the 4 readers from row `tile` on and the keys j before and among them.
    static void pair(chunk<L>& c, index tile) noexcept {
        matrix<A> const x = c.raw_queries(), y = c.keys(), p = c.score_rows();
        for (index j = 0; j <= tile; j += tile_rows) {
            dot_tile<L>(constant<L>(x), {y.at(j), y.row_step}, c.depth, {p.at(0, j), p.row_step});
        }
        for (index r = 0; r < tile_rows; ++r) {
            for (index j = r + 1; j < tile_rows; ++j) *p.at(r, tile + j) = A(0);
        }
    }
};

/// decay::constant and decay::scalar: a factor a token.
template <class L>
struct per_token : unweighted<L> {
    using A = typename L::value;

    template <class Rows>
    static bool load_gates(chunk<L>& c, head_state<A> const&, Rows const& gate_row,
                           pass const&) noexcept {
        load_factors<L>(c, gate_row, false);
        c.running[0] = A(1);
        fill<L>(current(c), A(0), c.rows);
        return true;
    }

    /// Brings the weights of all earlier tokens up to each of the tile's readers in turn.
    static void enter_tile(chunk<L>& c, index tile) noexcept {
        for (index r = 0; r < tile_rows; ++r) {
            scale(current(c), c.gate[tile + r], tile + r);
            current(c)[tile + r] = A(1);
            std::copy_n(current(c), tile + tile_rows, c.weight_rows().at(r));
            c.running[0] *= c.gate[tile + r];
            c.prefix[r] = c.running[0];
        }
    }

    static void weigh_queries(chunk<L>& c, index) noexcept {
        for (index r = 0; r < tile_rows; ++r) {
            auto const factor = L::broadcast(c.prefix[r]);
            for (index d = 0; d < c.depth; d += L::width) {
                L::store(c.state_queries().at(r, d), L::load(c.raw_queries().at(r, d)) * factor);
            }
        }
    }
    static matrix<A> state_queries(chunk<L> const& c) noexcept { return c.state_queries(); }

    static void pair(chunk<L>& c, index tile) noexcept {
        unweighted<L>::pair(c, tile);
        for (index r = 0; r < tile_rows; ++r) {
            A *const p = c.score_rows().at(r), *const w = c.weight_rows().at(r);
            for (index j = 0; j < tile + tile_rows; ++j) p[j] *= w[j];
        }
    }

    static matrix<A> finish(chunk<L>& c) noexcept {
        A const last = exit(c);
        for (index j = 0; j < c.count; ++j) {
            auto const factor = L::broadcast(current(c)[j] * last);
            for (index d = 0; d < c.depth; d += L::width) {
                L::store(c.keys().at(j, d), L::load(c.keys().at(j, d)) * factor);
            }
        }
        c.running[0] *= last;
        return c.keys();
    }
    static A carry(chunk<L> const& c, index) noexcept { return c.running[0]; }

private:
    static A* current(chunk<L>& c) noexcept { return c.weight_rows().at(tile_rows); }
    static A exit(chunk<L> const& c) noexcept {
        return c.call->what.on_write ? c.gate[c.rows] : A(1);
    }
    static void scale(A* values, A factor, index count) noexcept {
        for (index j = 0; j < count; ++j) values[j] *= factor;
    }
};

/// decay::vector: a factor a token and key channel.
template <class L>
struct per_channel : unweighted<L> {
    using A = typename L::value;
    using P = typename L::pack;

    template <class Rows>
    static bool load_gates(chunk<L>& c, head_state<A> const&, Rows const& gate_row,
                           pass const&) noexcept {
        load_factors<L>(c, gate_row, true);
        fill<L>(c.running, A(1), c.depth);
        return true;
    }

    /// Products from the tile's start and from the chunk's start through each reader.
    static void enter_tile(chunk<L>& c, index tile) noexcept {
        matrix<A> const prefix{c.prefix, c.depth};
        for (index d = 0; d < c.depth; d += L::width) {
            P product = L::broadcast(A(1));
            P const before = L::load(c.running + d);
            RONDO_UNROLL
            for (index r = 0; r < tile_rows; ++r) {
                product = product * L::load(c.gate_rows().at(tile + r, d));
                L::store(prefix.at(r, d), product);
                L::store(prefix.at(tile_rows + r, d), before * product);
            }
        }
    }

    static void weigh_queries(chunk<L>& c, index) noexcept {
        multiply(c, c.prefix, c.pair_queries());
        multiply(c, c.prefix + tile_rows * c.depth, c.state_queries());
    }
    static matrix<A> state_queries(chunk<L> const& c) noexcept { return c.state_queries(); }

    /// Earlier tiles: both sides decayed to the tile's start. Within the tile: factor by factor.
    static void pair(chunk<L>& c, index tile) noexcept {
        matrix<A> const x = c.pair_queries(), y = c.decayed_keys(), p = c.score_rows();
        for (index j = 0; j < tile; j += tile_rows) {
            dot_tile<L>(constant<L>(x), {y.at(j), y.row_step}, c.depth, {p.at(0, j), p.row_step});
        }
        pair_within(c, tile);
    }

    static void leave_tile(chunk<L>& c, index tile) noexcept {
        A const* const through = c.prefix + (tile_rows - 1) * c.depth;
        for (index j = 0; j < tile; ++j) scale(c.decayed_keys().at(j), through, c.depth);
        std::copy_n(c.prefix + (2 * tile_rows - 1) * c.depth, c.depth, c.running);
    }

    static matrix<A> finish(chunk<L>& c) noexcept {
        if (c.call->what.on_write) {
            A const* const last = c.gate_rows().at(c.rows);
            for (index j = 0; j < c.count; ++j) scale(c.decayed_keys().at(j), last, c.depth);
            scale(c.running, last, c.depth);
        }
        return c.decayed_keys();
    }
    static A carry(chunk<L> const& c, index d) noexcept { return c.running[d]; }

private:
    static void scale(A* values, A const* factors, index count) noexcept {
        for (index d = 0; d < count; d += L::width) {
            L::store(values + d, L::load(values + d) * L::load(factors + d));
        }
    }

    static void multiply(chunk<L>& c, A const* factors, matrix<A> to) noexcept {
        for (index r = 0; r < tile_rows; ++r) {
            for (index d = 0; d < c.depth; d += L::width) {
                L::store(to.at(r, d),
                         L::load(c.raw_queries().at(r, d)) * L::load(factors + r * c.depth + d));
            }
        }
    }

    /// The pairs of a tile with itself; leaves its keys decayed to its end.
    static void pair_within(chunk<L>& c, index tile) noexcept {
        P sums[tile_rows][tile_rows];
        RONDO_UNROLL
        for (auto& row : sums) {
            RONDO_UNROLL
            for (P& sum : row) sum = L::broadcast(A(0));
        }
        for (index d = 0; d < c.depth; d += L::width) {
            P key[tile_rows];
            RONDO_UNROLL
            for (int r = 0; r < tile_rows; ++r) {
                P const factor = L::load(c.gate_rows().at(tile + r, d));
                P const x = L::load(c.raw_queries().at(r, d));
                key[r] = L::load(c.keys().at(tile + r, d));
                RONDO_UNROLL
                for (int j = 0; j < tile_rows; ++j) {
                    if (j < r) key[j] = key[j] * factor;
                    if (j <= r) sums[r][j] = L::fma(x, key[j], sums[r][j]);
                }
            }
            RONDO_UNROLL
            for (int j = 0; j < tile_rows; ++j) {
                L::store(c.decayed_keys().at(tile + j, d), key[j]);
            }
        }
        store_sums<L>(sums[0], {c.score_rows().at(0, tile), c.rows});
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
