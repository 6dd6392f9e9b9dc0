/// @file
/// The weights of a chunk whose tokens have one log decay each: powers of 2 of differences of
/// cumulative sums.
#pragma once

#include <rondo/cuda/chunk_block.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// Computed by one warp, a chunk ahead of its use.
template <class Shape>
class token_weigher {
    static constexpr bool present = Shape::weigh == weighing::token;
    // 2 to the power of anything lower is 0 in float, so that a reset is exact; a lower number
    // would only cost the sums behind it their last bits.
    static constexpr float lowest = -160;
    static constexpr raw_element<float> nobody = ~0U;  // no log decay

public:
    __device__ explicit token_weigher(chunk_block<Shape> const& block) : b_(block) {}

    /// Asks for the log decays of a chunk: two tokens a lane.
    __device__ void load(int const* tokens, int count) {
        if (!present || !mine()) return;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            int const row = 2 * b_.lane + i;
            raw_[i] = Shape::both && row >= count ? nobody : 0;
            if (row >= count || !b_.c.gated) continue;
            raw_[i] = load_raw<float>(b_.gate_rows[tokens[row]], b_.c.gate.kind);
        }
    }

    /// Leaves the weights of the tokens asked for, the first to look at them.
    __device__ void weigh(int stage) const {
        if (!present || !mine()) return;
        int const lane = b_.lane;
        float const first = step(raw_[0]), second = step(raw_[1]);
        float sum = first + second;
#pragma unroll
        for (int step = 1; step < warp_size; step *= 2) {
            float const other = __shfl_up_sync(~0U, sum, step);
            if (lane >= step) sum += other;
        }
        float const end = __shfl_sync(~0U, sum, warp_size - 1);
        // A reader's decay counts for on_read, a written token's for on_write.
        float const middle = sum - second;
        float const level[2] = {b_.c.on_write ? middle - first : middle,
                                b_.c.on_write ? middle : sum};
        auto& to = b_.notes.tokens[stage];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            int const row = 2 * lane + i;
            to.level[row] = level[i];
            to.read[row] = power_of_2(level[i]);
            to.write[row] = power_of_2(end - level[i]);
            if constexpr (Shape::both) {
                // What does not count for the reader forwards does on the way back.
                float const first_back = b_.c.on_write ? middle : middle - first;
                float const back = i == 0 ? first_back : b_.c.on_write ? sum : middle;
                to.level_back[row] = raw_[i] == nobody ? -2 * lowest * Shape::rows : -back;
                to.read_back[row] = power_of_2(end - back);
            }
        }
        if (lane == 0) to.carry = power_of_2(end);
    }

private:
    /// The last warp has the fewest scores to compute.
    __device__ bool mine() const { return b_.warp == Shape::warps - 1; }

    __device__ float step(raw_element<float> raw) const {
        if (Shape::both && raw == nobody) return 0;
        return fmaxf(widen<float>(raw, b_.c.gate.kind) * log2_of_e, lowest);
    }

    chunk_block<Shape> const& b_;
    raw_element<float> raw_[2] = {0, 0};  // nothing waits for them but their use
};

}  // namespace rondo::inline RONDO_ISA::cuda
