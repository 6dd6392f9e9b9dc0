/// @file
/// The two walks of a delta update's gradients, chunk by chunk: neither needs the other. A long one
/// is shared among blocks as one of outputs is (chunk_transition.cuh).
#pragma once

#include <rondo/cuda/adjoint/delta_shape.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// One block's walk, of S or, with `Back`, of dS, over a segment of it. A warp owns 16 columns,
/// which do not depend on each other; what it reads in the state and solves for stays in its
/// registers. By channel, a walk back is one of sums that are yet to be scaled.
template <class Shape, bool Back>
class delta_walker {
    using T = typename Shape::element_type;
    static constexpr int steps = Shape::rows / 16;
    static constexpr bool by_channel = Shape::weigh == weighing::channel;
    using found_sums = sum_tile[2 * steps];  // 16 columns by the tokens of a chunk
    using depth_tile = typename Shape::depth_tile;

public:
    __device__ delta_walker(delta_call const& what, chunk_plan const& plan,
                            chunk_block<Shape> const& block, char* shared, float* record)
        : w_(what),
          plan_(plan),
          record_(record),
          c_(block.c),
          b_(block),
          shared_(shared),
          tokens_(block),
          strengths_(block),
          order_(block.notes, c_.passes[0], 0, int(block.where.length), int(block.where.length),
                 0) {}

    __device__ void run(int segment) {
        begin();
        int const all = (int(b_.where.length) + Shape::rows - 1) / Shape::rows;
        int const share = plan_.segment_length / Shape::rows, first = segment * share;
        int const chunks = first + share < all ? share : all - first;
        auto const number = [&](int i) { return Back ? all - 1 - first - i : first + i; };
        if (chunks > 0) order_.note(number(0));
        if (chunks > 1) order_.note(number(1));
        __syncthreads();
        if (chunks > 0) {
            load(0, number(0));
            tokens_.weigh(0);
            strengths_.leave(0);
        }
        for (int i = 0; i < chunks; ++i) {
            int const stage = i % 2;
            wait_for_copies();
            __syncthreads();
            if (i + 1 < chunks) load(stage ^ 1, number(i + 1));
            if (i + 2 < chunks) order_.note(number(i + 2));
            advance(stage, number(i));
            if (i + 1 < chunks) {
                tokens_.weigh(stage ^ 1);
                strengths_.leave(stage ^ 1);
            }
        }
        if (plan_.leaves) return store_record(b_, record_, state_);
        if (segment + 1 == plan_.segments) end();
    }

private:
    __device__ void load(int stage, int number) {
        int const* const tokens = order_.tokens(number);
        int const count = order_.span(number).count, depth = int(c_.depth);
        constexpr index size = Shape::rows * Shape::rows;
        index const slot = w_.slot(b_.where, number);
        if constexpr (by_channel) {
            load_weighed(stage, slot);
        } else {
            if (Back) b_.load(b_.q(stage), b_.q_rows, depth, tokens, count);
            b_.load(b_.k(stage), b_.k_rows, depth, tokens, count);
        }
        b_.load(b_.v(stage), Back ? b_.o_rows : b_.v_rows, int(c_.width - b_.column), tokens,
                count);
        auto const* const solved = reinterpret_cast<T const*>(w_.solved.memory);
        b_.load_solved(stage, solved + slot * size);
        tokens_.load(tokens, count);
        strengths_.load(tokens, count);
    }
    __device__ void load_weighed(int stage, index slot) const {
        weighed_chunks const& from = w_.weighed;
        if (Back) b_.load_whole(b_.q(stage), from.queries + slot * Shape::depth_bytes);
        b_.load_whole(readers(stage), from.readers + slot * Shape::depth_bytes);
        b_.load_whole(writers(stage), from.writers + slot * Shape::depth_bytes);
        if (Back) b_.load_whole(pairs(stage), from.pairs + slot * Shape::score_bytes, true);
        float const* const carries = from.carries + slot * Shape::depth;
        for (int i = threadIdx.x; i < Shape::depth / 4; i += Shape::threads) {
            copy_ahead(shared_address(carry(stage) + 4 * i),
                       reinterpret_cast<std::byte const*>(carries + 4 * i), true);
        }
    }

    // Keys as readers, and as they are written.
    __device__ depth_tile readers(int stage) const { return b_.k(stage); }
    __device__ depth_tile writers(int stage) const {
        return by_channel ? b_.gate(stage) : b_.k(stage);
    }
    __device__ typename Shape::score_tile pairs(int stage) const {
        if constexpr (by_channel) return {b_.solved(stage).base + Shape::score_bytes};
        return b_.scores();
    }
    __device__ float* carry(int stage) const {
        return reinterpret_cast<float*>(shared_ + 2 * Shape::stage_bytes) + stage * Shape::depth;
    }
    // Weights that rows do not have yet.
    __device__ float read_weight(int stage, int token) const {
        return by_channel ? 1 : b_.notes.tokens[stage].read[by_channel ? 0 : token];
    }
    __device__ float write_weight(int stage, int token) const {
        return by_channel ? 1 : b_.notes.tokens[stage].write[by_channel ? 0 : token];
    }
    __device__ float strength(int stage, int token) const {
        float const beta = b_.notes.strength[stage][token];
        return by_channel ? strength_of(beta) : beta;
    }
    __device__ float scale() const { return by_channel ? 1 : c_.scale; }

    __device__ void advance(int stage, int number) {
        int const count = order_.span(number).count;
        index const first = w_.slot(b_.where, number) * w_.columns + b_.column + 16 * b_.warp;
        if (!plan_.leaves) keep_state((Back ? w_.d_states : w_.states) + first * Shape::depth * 2);
        if constexpr (Back && !by_channel) {
            compute_scores(b_, stage, c_.passes[0], count);
            __syncthreads();
        }
        found_sums sums = {};
        read(stage, sums);
        Back ? add_readers(stage, count, sums) : subtract(stage, sums);
        solve(stage, sums);
        if (!plan_.leaves) keep_found(stage, number, first, sums);
        write(stage, sums);
    }

    /// sums = S^T K^T
    __device__ void read(int stage, found_sums& sums) const {
        int const lane = anew(b_.lane);
#pragma unroll
        for (int d = 0; d < Shape::depth / 16; ++d) {
            right_operand const low = state_.operand(0, 0, d), high = state_.operand(0, 1, d);
            left_operand const s{{low.x[0], high.x[0], low.x[1], high.x[1]}};
#pragma unroll
            for (int t = 0; t < steps; ++t) {
                right_operand keys[2];
                (Back ? writers(stage) : readers(stage)).right_transposed(keys, 16 * t, d, lane);
                multiply_add<T>(sums[2 * t], s, keys[0]);
                multiply_add<T>(sums[2 * t + 1], s, keys[1]);
            }
        }
    }

    /// What is to be written before the solve: strength (v - read S^T k).
    __device__ void subtract(int stage, found_sums& sums) const {
#pragma unroll
        for (int t = 0; t < steps; ++t) {
            auto const values = b_.v(stage).left_transposed(b_.warp, t, b_.lane);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                int const token = 16 * t + i / 2 * 8 + 2 * (b_.lane % 4);
                float2 const v = unpack<T>(values.x[i]);
                float* const r = sums[2 * t + i / 2] + i % 2 * 2;
                r[0] = strength(stage, token) * (v.x - read_weight(stage, token) * r[0]);
                r[1] = strength(stage, token + 1) * (v.y - read_weight(stage, token + 1) * r[1]);
            }
        }
    }

    /// The gradient by what was written: write dS^T k + scale dO^T P.
    __device__ void add_readers(int stage, int count, found_sums& sums) const {
        int const lane = anew(b_.lane);
#pragma unroll
        for (int t = 0; t < steps; ++t) {
            sum_tile read[2] = {};
#pragma unroll
            for (int i = t; i < steps; ++i) {
                if (16 * i >= count) break;
                auto const gradients = b_.v(stage).left_transposed(b_.warp, i, lane);
                right_operand scores[2];
                pairs(stage).right(scores, t, i, lane);
                multiply_add<T>(read[0], gradients, scores[0]);
                multiply_add<T>(read[1], gradients, scores[1]);
            }
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                int const token = 16 * t + i / 4 * 8 + 2 * (lane % 4) + i % 2;
                float& x = sums[2 * t + i / 4][i % 4];
                x = write_weight(stage, token) * x + scale() * read[i / 4][i % 4];
            }
        }
    }

    /// Adds (T - 1) or its transpose times the sums: only that meets rounded factors, the sums as
    /// two.
    __device__ void solve(int stage, found_sums& sums) const {
        int const lane = anew(b_.lane);
        left_operand high[steps], low[steps];
#pragma unroll
        for (int t = 0; t < steps; ++t) {
            split(
                t, [&](int i) { return pair(sums, t, i); }, [](int) { return 1.F; }, high[t],
                low[t]);
        }
#pragma unroll
        for (int t = 0; t < steps; ++t) {
#pragma unroll
            for (int j = 0; j < steps; ++j) {
                if (Back ? j < t : j > t) continue;
                right_operand inverse[2];
                if constexpr (Back) {
                    b_.solved(stage).right_transposed(inverse, 16 * t, j, lane);
                } else {
                    b_.solved(stage).right(inverse, t, j, lane);
                }
#pragma unroll
                for (int n = 0; n < 2; ++n) {
                    multiply_add<T>(sums[2 * t + n], low[j], inverse[n]);
                    multiply_add<T>(sums[2 * t + n], high[j], inverse[n]);
                }
            }
        }
    }

    /// The state behind the chunk.
    __device__ void write(int stage, found_sums const& sums) {
        int const lane = anew(b_.lane);
        if constexpr (by_channel) {
            state_.scale(carry(stage), lane);
        } else {
            state_.scale(b_.notes.tokens[stage].carry);
        }
#pragma unroll
        for (int t = 0; t < steps; ++t) {
            left_operand high, low;
            if constexpr (Back) {
                auto const gradients = b_.v(stage).left_transposed(b_.warp, t, lane);
                if constexpr (by_channel) {
                    add(b_.q(stage), t, gradients);
                } else {
                    split(
                        t, [&](int i) { return unpack<T>(gradients.x[i]); },
                        [&](int token) { return c_.scale * read_weight(stage, token); }, high, low);
                    add(b_.q(stage), t, high);
                    add(b_.q(stage), t, low);
                }
            }
            split(
                t, [&](int i) { return pair(sums, t, i); },
                [&](int token) {
                    return Back ? -strength(stage, token) * read_weight(stage, token)
                                : write_weight(stage, token);
                },
                high, low);
            auto const keys = Back ? readers(stage) : writers(stage);
            add(keys, t, high);
            add(keys, t, low);
        }
    }

    /// state += tokens of step t, weighed, times their rows
    __device__ void add(typename Shape::depth_tile const& rows, int t, left_operand const& x) {
#pragma unroll
        for (int block = 0; block < Shape::depth / 16; ++block) {
            right_operand right[2];
            rows.right(right, block, t, b_.lane);
            multiply_add<T>(state_.s[0][2 * block], x, right[0]);
            multiply_add<T>(state_.s[0][2 * block + 1], x, right[1]);
        }
    }

    /// Two neighbouring tokens of step t, as register i of an operand.
    static __device__ float2 pair(found_sums const& sums, int t, int i) {
        float const* const both = sums[2 * t + i / 2] + i % 2 * 2;
        return {both[0], both[1]};
    }
    /// 16 tokens, each with its weight, as the sum of two rounded operands: what a state is given
    /// it keeps.
    template <class Pair, class Weight>
    __device__ void split(int t, Pair const& pair_of, Weight const& weight, left_operand& high,
                          left_operand& low) const {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            int const token = 16 * t + i / 2 * 8 + 2 * (b_.lane % 4);
            float2 const x = pair_of(i);
            split_pair const parts(weight(token) * x.x, weight(token + 1) * x.y);
            high.x[i] = parts.high;
            low.x[i] = parts.low;
        }
    }

    __device__ void keep_state(std::byte* to) const { store_rows<T>(to, state_.s[0], b_.lane); }
    __device__ void keep_found(int stage, int number, index first, found_sums const& x) const {
        if constexpr (by_channel) {
            int const* const tokens = order_.tokens(number);
            int const count = order_.span(number).count;
            if (!Back && w_.u_rest.data != nullptr) {
                leave_found<true>(w_.u_rest, tokens, count, x, [](int) { return 1.F; });
            }
            leave_found(Back ? w_.d_v : w_.u, tokens, count, x,
                        [&](int token) { return Back ? c_.scale * strength(stage, token) : 1; });
        } else {
            store_rows<T>((Back ? w_.d_updates : w_.updates) + first * Shape::rows * 2, x, b_.lane);
        }
    }

    /// Rows by token, each with its weight, or what rounding leaves out of them.
    template <bool Rest = false, class Weight>
    __device__ void leave_found(tensor const& to, int const* tokens, int count, found_sums const& x,
                                Weight const& weight) const {
        int const quarter = b_.lane % 4;
        int const e = 16 * b_.warp + 8 * (quarter % 2) + 4 * (quarter / 2);
        head_rows const rows{b_.where.key_side(to, 0) + (b_.column + e) * 2, int(to.time)};
        bool const inside = b_.column + e < c_.width;
#pragma unroll
        for (int n = 0; n < 2 * steps; ++n) {
            int const token = 8 * n + 2 * quarter, row = 8 * n + b_.lane / 4;
            float const first = weight(token), second = weight(token + 1);
            unsigned both[2];
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float const* const pair = x[n] + 2 * half;
                split_pair const parts(first * pair[0], second * pair[1]);
                both[half] = transposed(Rest ? parts.low : parts.high);
            }
            gather_neighbours(both, b_.lane);
            store_if(inside && row < count, rows[tokens[row]], both);
        }
    }

    __device__ void begin() {
        if (plan_.starts) return load_record(b_, record_, state_);
        if (plan_.leaves) {
            // A column beyond the values is one of the transition.
            index const column = b_.column - w_.columns + b_.warp * Shape::columns;
            return state_.each(b_.lane, [&](float& s, int d, int e) { s = column + e == d; });
        }
        float const* const from = Back ? w_.d_out.s : c_.in.s;
        float const factor = by_channel && Back ? 1 / c_.scale : 1;
        each([&](float& s, index at, bool inside) {
            s = inside && from != nullptr ? factor * from[at] : 0;
        });
    }
    __device__ void end() {
        float* const to = Back ? w_.d_in.s : nullptr;
        if (to == nullptr) return;
        float const factor = by_channel ? c_.scale : 1;
        each([&](float& s, index at, bool inside) {
            if (inside) to[at] = factor * s;
        });
    }
    /// visit(entry, its place among the user's states, whether it is one of them)
    template <class Visit>
    __device__ void each(Visit const& visit) {
        index const head = b_.where.state(c_);
        state_.each(b_.lane, [&](float& s, int d, int e) {
            index const column = b_.column + b_.warp * Shape::columns + e;
            visit(s, (head * c_.depth + d) * c_.width + column, d < c_.depth && column < c_.width);
        });
    }

    delta_call const& w_;
    chunk_plan const& plan_;
    float* record_;
    call<float> const& c_;
    chunk_block<Shape> const& b_;
    char* shared_;
    token_weigher<Shape> tokens_;
    delta_strengths<Shape> strengths_;
    walk_order<Shape> order_;
    chunk_state<Shape> state_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
