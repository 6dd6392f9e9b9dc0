/// @file
/// The chunkwise kernel's sizes and its shared memory.
#pragma once

#include <rondo/cuda/tile.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// How a decay weighs: not at all, once a token, or once a channel in one of two ways.
enum class weighing : unsigned char { none, token, channel, additive };

/// Sizes of one instantiation. A warp owns `Columns` columns of the state for all of its rows, in
/// registers, so that the state never meets memory. `Marks`: leaves what gradients of log decays
/// need (adjoint/marks.cuh).
template <class Element, weighing Weighing, int Depth, int Columns, int Warps, bool Delta = false,
          bool Marks = false>
struct chunk_shape {
    using element_type = Element;
    static constexpr weighing weigh = Weighing;
    static constexpr bool marks = Marks;
    static constexpr int rows = 64;  // tokens of a chunk
    static constexpr int depth = Depth, columns = Columns, warps = Warps;
    static constexpr int width = Columns * Warps;  // of a block
    static constexpr int threads = warp_size * Warps;
    static constexpr bool delta = Delta;
    static constexpr bool per_channel =
        Weighing == weighing::channel || Weighing == weighing::additive;

    // A delta update reads the state by keys that are weighed as queries are.
    static constexpr bool reads_keys = Delta && Weighing == weighing::channel;

    // What it writes is rounded to two parts.
    static constexpr int value_parts = Delta ? 2 : 1;

    // Keys and queries that are rounded after weighing leave no room for a rounded state: it is
    // read in two parts.
    static constexpr bool refined = per_channel;

    // Outputs of so many rows are computed at a time: fewer take fewer registers, but round the
    // state anew.
    static constexpr bool many_registers = refined || Delta || Marks;
    static constexpr int rows_at_a_time = Depth > 128 || (many_registers && Depth > 64) ? rows / 2
                                                                                        : rows;

    using depth_tile = tile<Element, Depth>;
    using width_tile = tile<Element, width>;
    using score_tile = tile<Element, rows>;

    // One stage of tiles, twice: one is computed on while the other arrives.
    static constexpr int depth_bytes = rows * Depth * 2, width_bytes = rows * width * 2;
    static constexpr int score_bytes = rows * rows * 2;
    static constexpr int stage_bytes =
        depth_bytes * (per_channel ? 3 : 2) + width_bytes + (Delta ? score_bytes : 0);
    /// Bytes of a stage: a key of ones needs no tile where its weights take its place.
    static __host__ __device__ constexpr int stage_bytes_of(bool ones) {
        return stage_bytes - (ones && weigh == weighing::additive ? depth_bytes : 0);
    }
    static __host__ __device__ constexpr int tile_bytes(bool ones) {
        return 2 * stage_bytes_of(ones) + score_bytes + (reads_keys ? depth_bytes : 0);
    }
};

/// The small arrays of a block, behind its tiles.
template <class Shape>
struct chunk_notes {
    // Arrays of other weighings than the shape's keep one element.
    static constexpr int rows = Shape::weigh == weighing::token ? Shape::rows : 1;
    static constexpr int depth = Shape::weigh == weighing::channel ? Shape::depth : 1;
    static constexpr int threads = Shape::per_channel ? Shape::threads : 1;

    /// Of a chunk's tokens; two chunks, as for the tiles.
    struct token_weights {
        float level[rows], read[rows], write[rows];
        float carry;
    };
    token_weights tokens[2];
    float strength[2][Shape::delta ? Shape::rows : 1];  // beta
    int token[3][Shape::rows];  // which tokens the chunk before, this and the next one hold
    float row_sums[Shape::rows][Shape::rows / 16];  // of scores, by block of columns
    float state_sums[Shape::rows];                  // of queries and the normaliser
    float normalizer[Shape::depth];
    // By channel: additive maximum, sum and carry, and the decay over all chunks so far.
    float max[Shape::depth], sum[Shape::depth], carry[Shape::depth], decay[Shape::depth];
    // Of pieces of 16 tokens, by channel.
    float piece_decay[Shape::rows / 16][depth], piece_growth[Shape::rows / 16][depth];
    // Of the pairs of channels, by part of the tokens: maxima and first logits, then sums.
    float2 part[threads][2];
};

template <class Shape>
constexpr int chunk_shared_bytes(bool ones) {
    return Shape::tile_bytes(ones) + int(sizeof(chunk_notes<Shape>));
}

/// Blocks that share a multiprocessor, whose shared memory is 227 KiB and 1 KiB for each of them.
template <class Shape>
inline constexpr int resident_blocks = 2 * (chunk_shared_bytes<Shape>(true) + 1024) <= 228 * 1024
                                           ? 2
                                           : 1;

}  // namespace rondo::inline RONDO_ISA::cuda
