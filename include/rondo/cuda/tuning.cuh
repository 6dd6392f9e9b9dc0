/// @file
/// Numbers that were measured, in one place.
#pragma once

namespace rondo::inline RONDO_ISA::cuda {

/// Key channels up to which the chunkwise kernel keeps a state in registers, and those where a
/// third tile of a chunk, or what a delta update adds, finds room in shared memory.
inline constexpr int widest_chunk_depth = 256, widest_heavy_depth = 128;

/// Tokens of a chunk at most.
inline constexpr int most_chunk_rows = 64;

/// Tokens below which a call goes to the generic kernel: less than a chunk is no work for tensor
/// cores, and rounded scores would be most of its outputs.
inline constexpr int least_chunk_length = 32;

/// Blocks that a multiprocessor works on at a time; sequences are shared among blocks until there
/// are as many.
inline constexpr int blocks_a_processor = 2;

/// Tokens that are worth a block of their own.
inline constexpr int least_segment = 256;

/// Value columns of a warp. 32 would read each tile of keys and queries from shared memory half as
/// often, but leave 2 warps to a scheduler, which then waits more than half of the time.
inline constexpr int warp_columns_of_chunk = 16;

}  // namespace rondo::inline RONDO_ISA::cuda
