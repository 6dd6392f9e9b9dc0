/// @file
/// The adjoint of decay::vector: a factor a token and key channel. Readers walk from left to right
/// over keys that are kept decayed to the tile's start, as in the forward pass; written tokens walk
/// from right to left over queries that are kept decayed to the tile's end.
#pragma once

#include <rondo/kernel/adjoint/weights.hpp>

namespace rondo::inline RONDO_ISA::detail {

template <class L>
struct adjoint_weights<L, per_channel<L>> : adjoint_weights<L, unweighted<L>> {
    using A = typename L::value;
    using P = typename L::pack;

    static void restart(chunk<L>& c) noexcept { fill<L>(c.running, A(1), c.depth); }

    static void weigh_written(chunk<L>& c, adjoint_chunk<L>& a,
                              [[maybe_unused]] bool gradients) noexcept {
        A const* const exit = c.call->what.on_write ? c.gate_rows().at(c.rows) : nullptr;
        for (index d = 0; d < c.depth; d += L::width) {
            P after = exit == nullptr ? L::broadcast(A(1)) : L::load(exit + d);
            for (index j = c.count - 1; j >= 0; --j) {
                L::store(a.written_keys().at(j, d), after * L::load(c.keys().at(j, d)));
                A* const gradient = a.key_gradients().at(j, d);
                if (gradients) L::store(gradient, after * L::load(gradient));
                after = after * L::load(c.gate_rows().at(j, d));
            }
            L::store(a.carry + d, after);
        }
    }
    static matrix<A> written_keys(chunk<L> const&, adjoint_chunk<L> const& a) noexcept {
        return a.written_keys();
    }
    static void weigh_readers(chunk<L> const& c, adjoint_chunk<L>& a, index tile, index) noexcept {
        std::copy_n(c.state_queries().data, tile_rows * c.depth, a.read_queries().at(tile));
    }
    static matrix<A> read_queries(adjoint_chunk<L> const& a) noexcept { return a.read_queries(); }

    static void read(chunk<L> const& c, adjoint_chunk<L>& a, index tile, index) noexcept {
        matrix<A> const to{a.query_gradients().at(tile), a.depth};
        matrix<A const> const weights{a.pair_gradients().at(tile), a.rows};
        for_panels<L>(c.depth, [&]<int Packs>(index d, std::integral_constant<int, Packs>) {
            P acc[tile_rows][Packs];
            RONDO_UNROLL
            for (auto& row : acc) {
                RONDO_UNROLL
                for (P& sum : row) sum = L::broadcast(A(0));
            }
            multiply_add<L>(acc, weights, {c.decayed + d, c.depth}, tile);
            RONDO_UNROLL
            for (int r = 0; r < tile_rows; ++r) {
                RONDO_UNROLL
                for (int p = 0; p < Packs; ++p) {
                    index const at = d + p * L::width;
                    P const tile_factor = L::load(c.prefix + r * c.depth + at);
                    P const chunk_factor = L::load(c.prefix + (tile_rows + r) * c.depth + at);
                    P const state = chunk_factor * L::load(to.at(r, at));
                    L::store(to.at(r, at), L::fma(tile_factor, acc[r][p], state));
                }
            }
        });
        read_within(c, a, tile);
    }

    /// Leaves read_queries decayed to the chunk's start but for its first factors.
    static void write(chunk<L> const& c, adjoint_chunk<L>& a) noexcept {
        index const rows = whole_tiles(c.count);
        for (index tile = rows - tile_rows; tile >= 0; tile -= tile_rows) {
            write_before(c, a, tile, rows);
            write_within(c, a, tile);
            P through;
            for (index d = 0; d < c.depth; d += L::width) {
                through = L::load(c.gate_rows().at(tile, d));
                for (index r = 1; r < tile_rows; ++r) {
                    through = through * L::load(c.gate_rows().at(tile + r, d));
                }
                for (index i = tile + tile_rows; i < rows; ++i) {
                    A* const query = a.read_queries().at(i, d);
                    L::store(query, through * L::load(query));
                }
            }
        }
    }

private:
    /// The tile's own tokens, which read() takes factor by factor.
    static void read_within(chunk<L> const& c, adjoint_chunk<L>& a, index tile) noexcept {
        P weights[tile_rows][tile_rows];
        load_weights(a, tile, weights);
        for (index d = 0; d < c.depth; d += L::width) {
            P key[tile_rows];
            for (index r = 0; r < tile_rows; ++r) {
                P const factor = L::load(c.gate_rows().at(tile + r, d));
                for (index j = 0; j < r; ++j) key[j] = key[j] * factor;
                key[r] = L::load(c.keys().at(tile + r, d));
                A* const to = a.query_gradients().at(tile + r, d);
                P sum = L::load(to);
                for (index j = 0; j <= r; ++j) sum = L::fma(weights[r][j], key[j], sum);
                L::store(to, sum);
            }
        }
    }

    /// The readers behind the tile, whose queries stand decayed to its end.
    static void write_before(chunk<L> const& c, adjoint_chunk<L>& a, index tile,
                             index rows) noexcept {
        index const behind = tile + tile_rows;
        matrix<A const> const weights{a.pair_gradients().at(behind, tile), 1, a.rows};
        for_panels<L>(c.depth, [&]<int Packs>(index d, std::integral_constant<int, Packs>) {
            P acc[tile_rows][Packs];
            RONDO_UNROLL
            for (auto& row : acc) {
                RONDO_UNROLL
                for (P& sum : row) sum = L::broadcast(A(0));
            }
            multiply_add<L>(acc, weights, {a.read_queries().at(behind, d), a.depth}, rows - behind);
            RONDO_UNROLL
            for (int p = 0; p < Packs; ++p) {
                index const at = d + p * L::width;
                P after = L::broadcast(A(1));
                RONDO_UNROLL
                for (int r = tile_rows - 1; r >= 0; --r) {
                    A* const to = a.key_gradients().at(tile + r, at);
                    L::store(to, L::fma(after, acc[r][p], L::load(to)));
                    after = after * L::load(c.gate_rows().at(tile + r, at));
                }
            }
        });
    }

    /// The tile's own readers; leaves their queries decayed to its start.
    static void write_within(chunk<L> const& c, adjoint_chunk<L>& a, index tile) noexcept {
        P weights[tile_rows][tile_rows];
        load_weights(a, tile, weights);
        for (index d = 0; d < c.depth; d += L::width) {
            P query[tile_rows];
            for (index r = tile_rows - 1; r >= 0; --r) {
                query[r] = L::load(a.queries().at(tile + r, d));
                A* const to = a.key_gradients().at(tile + r, d);
                P sum = L::load(to);
                P const factor = L::load(c.gate_rows().at(tile + r, d));
                for (index i = r; i < tile_rows; ++i) {
                    sum = L::fma(weights[i][r], query[i], sum);
                    query[i] = query[i] * factor;
                }
                L::store(to, sum);
            }
            for (index r = 0; r < tile_rows; ++r) {
                L::store(a.read_queries().at(tile + r, d), query[r]);
            }
        }
    }

    static void load_weights(adjoint_chunk<L> const& a, index tile,
                             P (&weights)[tile_rows][tile_rows]) noexcept {
        for (index i = 0; i < tile_rows; ++i) {
            for (index j = 0; j <= i; ++j) {
                weights[i][j] = L::broadcast(*a.pair_gradients().at(tile + i, tile + j));
            }
        }
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
