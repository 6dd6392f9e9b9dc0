/// @file
/// Where what is kept of every chunk lies.
#pragma once

#include <rondo/cuda/call.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// A slot for each chunk of a head: [key head, slot], sequences one after the other.
struct chunk_slots {
    static index slots_of(index sequences, index length, bool packed, index rows) {
        return packed ? length / rows + sequences : sequences * ((length + rows - 1) / rows);
    }
    /// The first slot of a sequence; a packed one takes at most a slot more than whole chunks.
    template <class A>
    static __device__ index first(call<A> const& c, index sequence, int rows) {
        return c.offsets == nullptr ? sequence * ((c.length + rows - 1) / rows)
                                    : c.offsets[sequence] / rows + sequence;
    }
    /// The sequence of a slot, or the one behind whose last chunk it lies.
    template <class A>
    static __device__ index sequence_of(call<A> const& c, index slot, int rows) {
        if (c.offsets == nullptr) {
            return unsigned(slot) / unsigned((c.length + rows - 1) / rows);
        }
        index low = 0, high = c.sequences;  // first(low) <= slot
        while (high - low > 1) {
            index const middle = (low + high) / 2;
            (first(c, middle, rows) <= slot ? low : high) = middle;
        }
        return low;
    }
};

}  // namespace rondo::inline RONDO_ISA::cuda
