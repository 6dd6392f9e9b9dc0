/// @file
/// The gradients of the log decays of a chunk's tokens, from what each of them adds to those before
/// and behind it.
#pragma once

#include <rondo/cuda/rows.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// Two of a chunk's 64 tokens, a lane's. For on_read
///
///     d log f_t = over + sum_(s >= t) up_to_s + sum_(s < t) behind_s.
struct chunk_decays {
    float up_to[2], behind[2];
    float over;  // what reaches across the chunk
    index tokens[2];
    float gates[2];  // their log decays
    bool known[2];

    /// A warp stores the gradients or, where the gate is one of all tokens, the chunk's sum of
    /// them.
    __device__ void leave(call<float> const& c, location const& where, tensor const& d_gate,
                          float* constant) const {
        int const lane = threadIdx.x % warp_size;
        // The sums of later and of earlier lanes.
        float later = up_to[0] + up_to[1], earlier = behind[0] + behind[1];
#pragma unroll
        for (int step = 1; step < warp_size; step *= 2) {
            float const x = __shfl_down_sync(~0U, later, step);
            float const y = __shfl_up_sync(~0U, earlier, step);
            if (lane + step < warp_size) later += x;
            if (lane >= step) earlier += y;
        }
        later = __shfl_down_sync(~0U, later, 1);
        earlier = __shfl_up_sync(~0U, earlier, 1);
        if (lane == warp_size - 1) later = 0;
        if (lane == 0) earlier = 0;
        // Between lanes' tokens: before the first, between the two and behind the second.
        float const sums[3] = {over + earlier + (up_to[0] + up_to[1] + later),
                               over + (earlier + behind[0]) + (up_to[1] + later),
                               over + (earlier + behind[0] + behind[1]) + later};
        float total = 0;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            if (!known[i]) continue;
            float const value = expf(gates[i]) > 0 ? sums[c.on_write ? i + 1 : i] : 0;
            total += value;
            if (constant == nullptr) store(where.key_side(d_gate, tokens[i]), d_gate.kind, value);
        }
        if (constant == nullptr) return;
        total = sum_of_warp(total);
        if (lane == 0) *constant = total;
    }
};

}  // namespace rondo::inline RONDO_ISA::cuda
