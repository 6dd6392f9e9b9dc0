/// @file
/// The scratch of one chunk of one head, and of the heads that walk together. Rows are padded to
/// whole packs.
#pragma once

#include <rondo/detail/arena.hpp>
#include <rondo/detail/problem.hpp>
#include <rondo/kernel/ahead.hpp>
#include <rondo/simd/tile.hpp>

#include <limits>

namespace rondo::inline RONDO_ISA::detail {

/// The state of one head as the walk keeps it.
template <class A>
struct head_state {
    A* s;            // [depth, width], padded
    A* normalizer;   // [depth]
    A* max;          // [gate width]
    A* sum;          // [gate width]
    index row_step;  // between the rows of s: padded in a walk, dense in a step
};

/// What a chunk is computed in. `rows` is the chunk's capacity, a multiple of tile_rows.
template <class L>
struct chunk {
    using A = typename L::value;

    problem<A> const* call;
    index depth, width;  // padded
    index gates;         // channels of a gate row: depth, or one pack
    index rows;
    index count = 0;          // tokens in this chunk
    bool one_window = false;  // additive: every reader has the whole sequence as its window

    index* tokens;  // [rows]   where each row lies in time
    A* k;           // [rows, depth]   keys after the feature map
    A* v;           // [rows, width]   values; with the delta rule what is written
    A* gate;        // [rows + 1, gates] factors or weights made of the gates
    A* beta;        // [rows]
    A* decayed;     // [rows, depth]   keys decayed up to the current tile
    A* weights;     // [tile_rows + 1, rows] pair weights of a tile's readers
    A* running;     // [depth]         the product of all factors so far
    A* prefix;      // [2 tile_rows, depth] products from the tile's start, and from the chunk's
    A* query;       // [3, tile_rows, depth] raw, for the pairs, for the state
    A* scores;      // [tile_rows, rows]
    A* out;         // [tile_rows, width]
    A* partial;     // [width]         what earlier passes left

    lines_ahead ahead;      // rows of the chunk after this one,
    index next_head = -1;   // of this head (or the same when -1)
    index next_place = -1;  // from this place on

    static chunk carve(arena& memory, problem<A> const& call, index rows) {
        chunk c{};
        c.call = &call;
        c.depth = padded<L>(call.depth);
        c.width = padded<L>(call.width);
        c.gates = call.what.per_channel() ? c.depth : padded<L>(1);
        c.rows = (rows + tile_rows - 1) / tile_rows * tile_rows;
        c.tokens = memory.template take<index>(c.rows);
        c.k = memory.template take<A>(c.rows * c.depth);
        c.v = memory.template take<A>(c.rows * c.width);
        c.gate = memory.template take<A>((c.rows + 1) * c.gates);
        c.beta = memory.template take<A>(c.rows);
        c.decayed = memory.template take<A>(c.rows * c.depth);
        c.weights = memory.template take<A>((tile_rows + 1) * c.rows);
        c.running = memory.template take<A>(c.depth);
        c.prefix = memory.template take<A>(2 * tile_rows * c.depth);
        c.query = memory.template take<A>(3 * tile_rows * c.depth);
        c.scores = memory.template take<A>(tile_rows * c.rows);
        c.out = memory.template take<A>(tile_rows * c.width);
        c.partial = memory.template take<A>(c.width);
        c.ahead = lines_ahead(memory, tile_rows * (3 + 2 * call.group()));
        return c;
    }

    matrix<A> keys() const noexcept { return {k, depth}; }
    matrix<A> values() const noexcept { return {v, width}; }
    matrix<A> gate_rows() const noexcept { return {gate, gates}; }
    matrix<A> decayed_keys() const noexcept { return {decayed, depth}; }
    matrix<A> raw_queries() const noexcept { return {query, depth}; }
    matrix<A> pair_queries() const noexcept { return {query + tile_rows * depth, depth}; }
    matrix<A> state_queries() const noexcept { return {query + 2 * tile_rows * depth, depth}; }
    matrix<A> score_rows() const noexcept { return {scores, rows}; }
    matrix<A> weight_rows() const noexcept { return {weights, rows}; }
    matrix<A> out_rows() const noexcept { return {out, width}; }
};

template <class L, class A>
inline matrix<A const> constant(matrix<A> m) noexcept {
    return {m.data, m.row_step, m.column_step};
}

}  // namespace rondo::inline RONDO_ISA::detail
