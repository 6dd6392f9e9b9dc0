/// @file
/// The scratch of one chunk of one head, and of the heads that walk together. Rows are padded to
/// whole packs.
#pragma once

#include <rondo/detail/arena.hpp>
#include <rondo/detail/problem.hpp>
#include <rondo/kernel/ahead.hpp>
#include <rondo/kernel/row_turns.hpp>
#include <rondo/simd/tile.hpp>

#include <algorithm>
#include <limits>

namespace rondo::inline RONDO_ISA::detail {

/// Rows for `count` tokens, in whole tiles.
constexpr index whole_tiles(index count) noexcept {
    return (count + tile_rows - 1) / tile_rows * tile_rows;
}

/// The state of one head as the walk keeps it.
template <class A>
struct head_state {
    A* s;            // [depth, width], padded
    A* normalizer;   // [depth]
    A* max;          // [gate width]
    A* sum;          // [gate width]
    index row_step;  // between the rows of s: padded in a walk, dense in a step

    matrix<A> rows() const noexcept { return {s, row_step}; }
};

/// What a chunk is computed in. `rows` is the chunk's capacity, a multiple of tile_rows.
///
/// Keys and queries carry their weights: with k' and q' the rows of k and q, and w the weights that
/// are left, a reader sees the pairs w(i, j) (q'_i . k'_j) and q' S of the state in front.
template <class L>
struct chunk {
    using A = typename L::value;
    static constexpr index most_readers = 64;

    problem<A> const* call;
    index depth, width;  // padded
    index steps;         // of products over the depth: whole tiles, fewer than whole packs
    index gates;         // channels of a gate row: depth, or one pack
    index rows;
    index readers;            // rows of q, scores and out: longer chunks are read in blocks
    index columns;            // of scores: rows in whole packs
    index count = 0;          // tokens in this chunk
    bool one_window = false;  // additive: every reader has the whole sequence as its window,
    bool divided = false;     // by whose sums the state is divided already

    index* tokens;      // [rows]   where each row lies in time
    A* k;               // [rows, depth]
    A* turned;          // [depth, columns]  k transposed
    A* v;               // [rows, width]     values; with the delta rule what is written
    A* written;         // [rows, width]     the same as the state behind the chunk has it
    A* gate;            // [rows + 1, gates]  factors or weights made of the gates
    A* inverse;         // [rows, gates]      their inverses, or those of the windows' sums
    A* write_factors;   // [columns]  what the state behind the chunk has of each key
    A* beta;            // [rows]
    A* pair_weights;    // [columns]  of one reader
    A* entry;           // [depth]    factors that the state was brought to before the chunk
    A* carry;           // [depth]    its factors over the chunk
    A* q;               // [readers, depth]
    A* scores;          // [readers, columns]
    A* out;             // [readers, width]
    A* sums;            // [readers]  denominators
    A* partial;         // [width]    what earlier passes left
    A* rest = nullptr;  // [rows, width]  delta: what is written, before the factor beta
    // Where it is left and, on the way back, found; nobody asks for it but the adjoint.
    tensor rest_to{}, rest_from{};
    matrix<A> key_rows, value_rows, reader_rows;  // k, v and q, or the user's own
    // The user's own that are weighed while their factors are made; null: none are.
    matrix<A> unweighed_keys{}, unweighed_queries{};
    bool keeps_factors = false;  // of these, too
    row_turns<L> turns;          // of the tokens, with positions fused into the operator

    index* next_tokens;     // those of the chunk after this one,
    lines_ahead ahead;      // whose rows are asked for,
    heads_ahead ask{};      // of these heads,
    index next_place = -1;  // from this place on; or of the same head, behind its chunk, when -1

    static chunk carve(arena& memory, problem<A> const& call, index rows) {
        chunk c{};
        c.call = &call;
        c.depth = padded<L>(call.depth);
        c.width = padded<L>(call.width);
        c.steps = whole_tiles(call.depth);
        c.gates = call.what.per_channel() ? c.depth : padded<L>(1);
        c.rows = whole_tiles(rows);
        c.readers = std::min(c.rows, most_readers);
        c.columns = padded<L>(c.rows);
        c.tokens = memory.template take<index>(c.rows);
        c.next_tokens = memory.template take<index>(c.rows);
        c.k = memory.template take<A>(c.rows * c.depth);
        c.turned = memory.template take<A>(c.depth * c.columns);
        c.v = memory.template take<A>(c.rows * c.width);
        c.value_rows = {c.v, c.width};
        c.gate = memory.template take<A>((c.rows + 1) * c.gates);
        c.inverse = memory.template take<A>(c.rows * c.gates);
        bool const per_token = call.what.per_token();
        c.written = memory.template take<A>(per_token ? c.rows * c.width : 0);
        c.write_factors = memory.template take<A>(per_token ? c.columns : 0);
        c.beta = memory.template take<A>(c.rows);
        c.pair_weights = memory.template take<A>(c.columns);
        c.entry = memory.template take<A>(c.depth);
        c.carry = memory.template take<A>(c.depth);
        c.q = memory.template take<A>(c.readers * c.depth);
        c.scores = memory.template take<A>(c.readers * c.columns);
        c.out = memory.template take<A>(c.readers * c.width);
        c.sums = memory.template take<A>(c.readers);
        c.partial = memory.template take<A>(c.width);
        if constexpr (turns_rows<L>) c.turns = row_turns<L>(memory, call, c.rows);
        return c;
    }

    /// Room for the rows that the next chunk reads, `rows_each` for a token and `more`.
    lines_ahead carve_ahead(arena& memory, index rows_each, index more) const noexcept {
        index const channels = std::max(depth, width);
        return lines_ahead(memory, rows * rows_each + more, channels * index(sizeof(A)),
                           std::max(rows, channels) / tile_rows);
    }

    /// The user's rows of the tokens from `first` on as one matrix; null where they are none.
    matrix<A> rows_in_place(rows_by_token const& from, pass const& how,
                            index first) const noexcept {
        if (!is_plain<A>(from.first) || how.order != nullptr) return {};
        index const step = from.time / index(sizeof(A));
        auto* const data = reinterpret_cast<A*>(from[tokens[first]].data);
        return {data, how.reversed ? -step : step};
    }

    /// The same of [first, first + n), to be read in whole tiles.
    matrix<A> in_place(rows_by_token const& from, pass const& how, index first,
                       index n) const noexcept {
        return n % tile_rows == 0 ? rows_in_place(from, how, first) : matrix<A>{};
    }

    /// The same of rows without a gap, or null. A right factor is read once for four rows of the
    /// left one, and rows that lie a power of two apart share few sets of the first cache.
    matrix<A> dense_in_place(rows_by_token const& from, pass const& how, index first, index n,
                             index channels) const noexcept {
        matrix<A> const own = in_place(from, how, first, n);
        return own.row_step == channels || own.row_step == -channels ? own : matrix<A>{};
    }

    matrix<A> keys() const noexcept { return key_rows; }
    matrix<A> turned_keys() const noexcept { return {turned, columns}; }
    matrix<A> values() const noexcept { return value_rows; }
    matrix<A> gate_rows() const noexcept { return {gate, gates}; }
    matrix<A> inverse_rows() const noexcept { return {inverse, gates}; }
    matrix<A> queries() const noexcept { return {q, depth}; }
    matrix<A> score_rows() const noexcept { return {scores, columns}; }
    matrix<A> out_rows() const noexcept { return {out, width}; }
    matrix<A> rest_rows() const noexcept { return {rest, width}; }
};

}  // namespace rondo::inline RONDO_ISA::detail
