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

/// Blocks that a multiprocessor works on at a time where nobody asks the device; sequences are
/// shared among blocks until there are as many.
inline constexpr int blocks_a_processor = 2;

/// What an architecture gives a multiprocessor.
struct processor_tuning {
    int shared_bytes;        // to all of its blocks
    int block_shared_bytes;  // of which each of them takes besides its own
    int registers;           // of 32 bits
};

/// By compute capability, 10 times.
constexpr processor_tuning tuning_of(int capability) noexcept {
    constexpr int kib = 1024, registers = 64 * kib;
    if (capability == 80 || capability == 87) return {164 * kib, kib, registers};
    if (capability >= 90 && capability < 120) return {228 * kib, kib, registers};
    return {100 * kib, kib, registers};
}

/// That of the code being compiled; the host's pass launches what the device's compiled.
#if defined(__CUDA_ARCH__)
inline constexpr processor_tuning this_processor = tuning_of(__CUDA_ARCH__ / 10);
#else
inline constexpr processor_tuning this_processor = tuning_of(90);
#endif

/// Registers that a thread of the chunkwise kernel should have: with fewer, sums go to memory.
inline constexpr int registers_of_chunk = 128;
/// Its blocks on a multiprocessor at most: beyond them registers are worth more.
inline constexpr int most_resident_blocks = 3;

/// Tokens that are worth a block of their own.
inline constexpr int least_segment = 256;
/// Segments of a delta update, which walks them twice more, that are faster than one: for each of
/// the blocks that a multiprocessor works on at a time.
inline constexpr int least_delta_segments = 2;

/// Value columns of a warp. 32 would read each tile of keys and queries from shared memory half as
/// often, but leave 2 warps to a scheduler, which then waits more than half of the time.
inline constexpr int warp_columns_of_chunk = 16;

}  // namespace rondo::inline RONDO_ISA::cuda
