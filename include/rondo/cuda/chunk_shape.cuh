/// @file
/// The chunkwise kernel's sizes and its shared memory.
#pragma once

#include <rondo/cuda/tile.cuh>
#include <rondo/cuda/tuning.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// How a decay weighs: not at all, once a token, or once a channel in one of two ways.
enum class weighing : unsigned char { none, token, channel, additive };

/// What a walk keeps of the states in front of its chunks (chunk_keep.cuh): nothing, all of them
/// beside its outputs, or them alone, reading nothing.
enum class keeping : unsigned char { nothing, beside, alone };

/// Sizes of one instantiation. A warp owns `Columns` columns of the state for all of its rows, in
/// registers, so that the state never meets memory. `Marks`: leaves what gradients of log decays
/// need (adjoint/marks.cuh).
template <class Element, weighing Weighing, int Depth, int Columns, int Warps, bool Delta = false,
          bool Marks = false, keeping Keeping = keeping::nothing>
struct chunk_shape {
    using element_type = Element;
    static constexpr weighing weigh = Weighing;
    static constexpr bool marks = Marks, keeps = Keeping != keeping::nothing;
    static constexpr bool reads = Keeping != keeping::alone;
    static constexpr bool both = false;  // reads what a walk back kept, too (chunk_both.cuh)
    using writing = chunk_shape;         // leaves the states of segments that this one starts from
    static constexpr int rows = 64;      // tokens of a chunk
    static constexpr int depth = Depth, columns = Columns, warps = Warps;
    static constexpr int carried = Depth;  // channels of what walks hand on beside the state
    static constexpr int width = Columns * Warps;  // of a block
    static constexpr int threads = warp_size * Warps;
    static constexpr bool delta = Delta;
    static constexpr bool per_channel =
        Weighing == weighing::channel || Weighing == weighing::additive;

    // A delta update reads the state by keys that are weighed as queries are.
    static constexpr bool reads_keys = Delta && Weighing == weighing::channel;
    static constexpr bool reads_state = true;  // but for blocks that only solve

    // What it writes is rounded to two parts.
    static constexpr int value_parts = Delta ? 2 : 1;

    // Keys and queries that are rounded after weighing leave no room for a rounded state: it is
    // read in two parts.
    static constexpr bool refined = per_channel;

    using depth_tile = tile<Element, Depth>;
    using width_tile = tile<Element, width>;
    using score_tile = tile<Element, rows>;

    // Stages of tiles: one is computed on while the other arrives. Where two would leave a
    // multiprocessor to one block, a second block computes while the one stage arrives.
    static constexpr int stages =
        reads && !Delta && Weighing == weighing::channel && Depth > 64 ? 1 : 2;
    static __device__ int after(int stage) { return stage + 1 == stages ? 0 : stage + 1; }
    static constexpr int depth_bytes = rows * Depth * 2, width_bytes = rows * width * 2;
    static constexpr int score_bytes = reads ? rows * rows * 2 : 0;
    static constexpr int query_bytes = reads ? depth_bytes : 0;
    static constexpr int stage_bytes =
        query_bytes + depth_bytes * (per_channel ? 2 : 1) + width_bytes + (Delta ? score_bytes : 0);

    // Outputs of so many rows are computed at a time: fewer take fewer registers, of which a block
    // that has a multiprocessor for itself has enough, but round the state anew.
    static constexpr processor_tuning tuned_for = tuning_of(90);
    static constexpr int least_stage_bytes =
        stage_bytes - (Weighing == weighing::additive ? depth_bytes : 0);  // with a key of ones
    static constexpr bool alone =
        2 * (stages * least_stage_bytes + score_bytes + tuned_for.block_shared_bytes) >
        tuned_for.shared_bytes;
    // With weights by token it is the spilled addresses that come from far away.
    static constexpr bool many_weights = Weighing == weighing::token && Warps > 4;
    static constexpr bool many_registers =
        (refined || Delta || Marks || many_weights) && Depth > 64 && !alone;
    static constexpr int rows_at_a_time = Depth > 128 || many_registers ? rows / 2 : rows;

    /// Bytes of a stage: a key of ones needs no tile where its weights take its place.
    static __host__ __device__ constexpr int stage_bytes_of(bool ones) {
        return ones ? least_stage_bytes : stage_bytes;
    }
    static __host__ __device__ constexpr int tile_bytes(bool ones) {
        return stages * stage_bytes_of(ones) + score_bytes + (reads_keys ? depth_bytes : 0);
    }
};

/// The rows of one head by token. 32-bit numbers make an address one instruction; calls with
/// longer sequences or wider steps go elsewhere.
struct head_rows {
    std::byte* first;
    int step;

    __device__ std::byte* operator[](int token) const {
        std::byte* row;
        asm("mad.wide.s32 %0, %1, %2, %3;" : "=l"(row) : "r"(token), "r"(step), "l"(first));
        return row;
    }
};

/// The small arrays of a block, behind its tiles.
template <class Shape>
struct chunk_notes {
    // Arrays of other weighings than the shape's keep one element.
    static constexpr int rows = Shape::weigh == weighing::token ? Shape::rows : 1;
    static constexpr int depth = Shape::weigh == weighing::channel ? Shape::depth : 1;
    static constexpr int threads = Shape::per_channel ? Shape::threads : 1;

    location where;
    head_rows q, k, v, gate, beta, o;
    head_rows kept;  // states by chunk, of shapes that read them

    /// Of a chunk's tokens; for as many chunks as there are stages of tiles.
    struct token_weights {
        alignas(16) float level[rows], read[rows], write[rows];
        // Of the decays back: less their sums, and what is left of the tokens behind the chunk.
        alignas(16) float level_back[Shape::both ? rows : 1], read_back[Shape::both ? rows : 1];
        float carry;
    };
    token_weights tokens[Shape::stages];
    float strength[2][Shape::delta ? Shape::rows : 1];  // beta
    int token[3][Shape::rows];  // which tokens the chunk before, this and the next one hold
    float row_sums[Shape::rows][Shape::rows / 16];  // of scores, by block of columns
    float state_sums[Shape::rows];                  // of queries and the normaliser
    alignas(16) float normalizer[Shape::carried];
    // By channel: additive maximum, sum and carry, and the decay over all chunks so far.
    float max[Shape::carried], sum[Shape::carried], carry[Shape::carried];
    float decay[Shape::carried];
    // Of pieces of 16 tokens, by channel.
    float piece_decay[Shape::rows / 16][depth], piece_growth[Shape::rows / 16][depth];
    bool one_piece;  // all of them share one reference
    // Of the pairs of channels, by part of the tokens: maxima and first logits, then sums.
    float2 part[threads][2];
};

template <class Shape>
constexpr int chunk_shared_bytes(bool ones) {
    return Shape::tile_bytes(ones) + int(sizeof(chunk_notes<Shape>));
}

/// Blocks that share a multiprocessor: as many as its shared memory and registers allow.
template <class Shape>
inline constexpr int resident_blocks = [] {
    constexpr processor_tuning has = this_processor;
    constexpr int by_memory =
        has.shared_bytes / (chunk_shared_bytes<Shape>(true) + has.block_shared_bytes);
    constexpr int by_registers = has.registers / (registers_of_chunk * Shape::threads);
    constexpr int both = by_memory < by_registers ? by_memory : by_registers;
    return both < 1 ? 1 : both < most_resident_blocks ? both : most_resident_blocks;
}();

}  // namespace rondo::inline RONDO_ISA::cuda
