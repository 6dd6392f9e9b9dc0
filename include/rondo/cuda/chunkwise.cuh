/// @file
/// The chunkwise kernel: one pass over q, k, v and o with the state in registers and all products
/// on tensor cores (the form of Hua et al. 2022; Sun et al. 2023, section 2.1; Yang et al. 2023).
/// A block takes one query head and up to 128 value columns, and asks for a chunk ahead of its use.
#pragma once

#include <rondo/cuda/chunk_additive.cuh>
#include <rondo/cuda/chunk_both.cuh>
#include <rondo/cuda/chunk_channel.cuh>
#include <rondo/cuda/chunk_delta.cuh>
#include <rondo/cuda/chunk_leave.cuh>
#include <rondo/cuda/chunk_record.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// Walks the passes of one block.
template <class Shape>
class chunk_walker {
    using T = typename Shape::element_type;
    static constexpr int blocks = Shape::columns / 16;

public:
    __device__ chunk_walker(call<float> const& c, chunk_plan const& plan,
                            chunk_block<Shape> const& block)
        : c_(c),
          plan_(plan),
          b_(block),
          tokens_(block),
          strengths_(block),
          channels_(block),
          additive_(block),
          marker_(block, plan.marks) {}

    /// Where the solved chunks of the block's sequence are.
    __device__ void solved_at(T const* memory) { solved_ = memory; }

    /// The passes over the places [first, last), from and to the block's record where it has one.
    __device__ void run(float* record, int first, int last, bool final) {
        b_.fill_ones();
        for (int p = 0; p < c_.pass_count; ++p) {
            pass const& how = c_.passes[p];
            if (plan_.starts) {
                load_record(b_, record, state_);
            } else if (!how.keep) {
                begin(plan_.leaves);
            }
            if (!how.write) additive_.divide(state_);
            if constexpr (Shape::both) {
                walk_both(how, first, last);
            } else {
                walk(how, first, last);
            }
        }
        if (plan_.leaves) {
            store_record(b_, record, state_);
        } else if (final) {
            end();
        }
    }

    /// Tokens that the first chunk of a walk back lacks, so that its chunks are those of the walk
    /// forwards.
    __device__ int missing() const {
        bool const back =
            Shape::keeps ? plan_.keep.back : Shape::marks && plan_.marks.contractions != nullptr;
        if (!back) return 0;
        int const surplus = int(b_.where.length) % Shape::rows;
        return surplus == 0 ? 0 : Shape::rows - surplus;
    }

private:
    /// Hands the state on.
    __device__ void end() {
        if (b_.where.query_head % c_.group != 0 || c_.out.s == nullptr) return;
        index const head = b_.where.state(c_);
        state_.each(b_.lane, [&](float s, int d, int e) {
            index const column = b_.column + b_.warp * Shape::columns + e;
            if (d < c_.depth && column < c_.width) {
                c_.out.s[(head * c_.depth + d) * c_.width + column] = s;
            }
        });
        if (b_.column != 0) return;
        additive_.end();
        for (int d = threadIdx.x; c_.out.normalizer != nullptr && d < c_.depth;
             d += Shape::threads) {
            c_.out.normalizer[head * c_.depth + d] = b_.notes.normalizer[d];
        }
    }

    /// From the state handed in, or, for the part of a sequence, from nothing.
    __device__ void begin(bool part) {
        index const head = b_.where.state(c_);
        state_.each(b_.lane, [&](float& s, int d, int e) {
            index const column = b_.column + b_.warp * Shape::columns + e;
            bool const known = c_.in.s != nullptr && !part && d < c_.depth && column < c_.width;
            s = known ? c_.in.s[(head * c_.depth + d) * c_.width + column] : 0;
            if constexpr (Shape::delta) {
                bool const transition = part && b_.column >= c_.width;
                if (transition && b_.warp * Shape::columns + e == d) s = 1;
            }
        });
        for (int d = threadIdx.x; d < Shape::depth; d += Shape::threads) {
            bool const known = c_.in.normalizer != nullptr && !part && d < c_.depth;
            b_.notes.normalizer[d] = known ? c_.in.normalizer[head * c_.depth + d] : 0;
            b_.notes.decay[d] = 1;
        }
        additive_.begin(part);
    }

    __device__ void walk(pass const& how, int first, int last) {
        walk_order<Shape> order(b_.notes, how, first, last, int(b_.where.length),
                                first == 0 ? missing() : 0);
        if (first >= last) return;
        __syncthreads();
        order.note(0);
        order.note(1);
        __syncthreads();
        auto const ask = [&](int number, int stage) {
            int const count = order.span(number).count;
            if (count == 0) return;
            b_.load(stage, how, order.tokens(number), count);
            load_solved(stage, first, number);
        };
        ask(0, 0);
        tokens_.load(order.tokens(0), order.span(0).count);
        strengths_.load(order.tokens(0), order.span(0).count);
        tokens_.weigh(0);
        strengths_.leave(0);
        for (int number = 0, stage = 0; order.span(number).count > 0;
             ++number, stage = Shape::after(stage)) {
            int const next = order.span(number + 1).count;
            wait_for_copies();
            __syncthreads();
            if constexpr (Shape::stages > 1) ask(number + 1, Shape::after(stage));
            if (Shape::reads && how.accumulate && next > 0) {
                b_.expect_partial(order.tokens(number + 1), next);
            }
            tokens_.load(order.tokens(number + 1), next);
            strengths_.load(order.tokens(number + 1), next);
            order.note(number + 2);
            if constexpr (Shape::marks) {
                if (!plan_.leaves) {
                    marker_.ask(order.span(number + 1).begin, order.tokens(number + 1), next);
                }
                place_ = order.span(number).begin;
                if (!plan_.leaves) marker_.enter(place_, state_);
            }
            if constexpr (Shape::keeps) {
                if (!plan_.leaves) keep_state(b_, plan_.keep, order.span(number).begin, state_);
            }
            advance(how, order.tokens(number), order.span(number).count, stage);
            tokens_.weigh(Shape::after(stage));
            strengths_.leave(Shape::after(stage));
            if constexpr (Shape::stages > 1) continue;
            __syncthreads();
            ask(number + 1, 0);
        }
        __syncthreads();
    }

    /// A pass forwards that reads what was kept on the way back, too.
    __device__ void walk_both(pass const& how, int first, int last) {
        walk_order<Shape> order(b_.notes, how, first, last, int(b_.where.length), 0);
        if (first >= last) return;
        __syncthreads();
        order.note(0);
        order.note(1);
        if (threadIdx.x == 0) b_.notes.kept = held_state<Shape>::rows(b_, plan_.keep);
        __syncthreads();
        kept_state<Shape> const kept(b_);
        auto const ask = [&](int number) {
            auto const [begin, count] = order.span(number);
            if (count == 0) return;
            b_.load_first(number % 2, order.tokens(number), count);
            kept.load(b_.notes.kept[begin / Shape::rows]);
        };
        ask(0);
        tokens_.load(order.tokens(0), order.span(0).count);
        tokens_.weigh(0);
        for (int number = 0; order.span(number).count > 0; ++number) {
            int const stage = number % 2, count = order.span(number).count;
            int const* const tokens = order.tokens(number);
            wait_for_copies();
            __syncthreads();
            b_.load_values(stage, tokens, count);
            tokens_.load(order.tokens(number + 1), order.span(number + 1).count);
            order.note(number + 2);
            map(how, stage);
            compute_both(b_, stage);
            if (c_.normalized) {
                int const begin = order.span(number).begin;
                read_normalizer(b_, stage, kept_normalizer(b_, plan_.keep, begin));
            }
            wait_for_copies();
            __syncthreads();
            read_both(how, tokens, count, stage);
            __syncthreads();
            ask(number + 1);
            int const lane = anew(b_.lane);
            write(how, count, stage, [&](int m, int step, int) {
                return b_.v(stage).left_transposed(b_.warp * blocks + m, step, lane);
            });
            tokens_.weigh(stage ^ 1);
        }
        __syncthreads();
    }

    __device__ void read_both(pass const& how, int const* tokens, int count, int stage) const {
        int const lane = anew(b_.lane);
#pragma unroll 1
        for (int origin = 0; origin < Shape::rows; origin += Shape::rows_at_a_time) {
            chunk_outputs<Shape> o = {};
            read_states(b_, stage, origin, state_, o);
            read_chunk(b_, origin, o, [&](right_operand(&to)[2], int m, int step, int) {
                b_.v(stage).right(to, b_.warp * blocks + m, step, lane);
            });
            output_rows<Shape>(b_, plan_.marks, how, tokens, 0, count, origin).leave(o);
        }
    }

    __device__ void load_solved(int stage, int first, int number) const {
        if constexpr (Shape::delta) {
            constexpr index size = Shape::rows * Shape::rows;
            b_.load_solved(stage, solved_ + (first / Shape::rows + number) * size);
        }
    }

    __device__ bool weigh(pass const& how, int first, int last, int stage) {
        return additive_.weigh(stage, how, first, last, state_) &&
               channels_.weigh(stage, how, first, last);
    }

    /// One chunk: whole, but where gates have too wide a range in windows that have not; of a delta
    /// update, which is solved for all of a chunk, token by token.
    __device__ void advance(pass const& how, int const* tokens, int count, int stage) {
        map(how, stage);
        int size = count;
        for (int first = 0; first < count;) {
            if (how.write && size == count && additive_.settled()) {
                if (!additive_.weigh_settled(stage, how, count)) {
                    reload(how, tokens, count, stage);
                    continue;
                }
            } else if (!weigh(how, first, first + size, stage)) {
                size = Shape::delta ? 1 : size / 2;
                continue;
            }
            take(how, tokens, count, first, first + size, stage);
            first += size;
            if (first == count) break;
            int const left = count - first;
            size = Shape::delta ? 1 : 2 * size < left ? 2 * size : left;
            reload(how, tokens, count, stage);
        }
    }

    /// Tiles hold products of the logits once they are weighed.
    __device__ void reload(pass const& how, int const* tokens, int count, int stage) {
        __syncthreads();
        b_.load(stage, how, tokens, count);
        wait_for_copies();
        __syncthreads();
        map(how, stage);
    }

    __device__ void map(pass const& how, int stage) const {
        if (c_.feature == feature_kind::identity) return;
        if (Shape::reads && how.read) b_.map(b_.q(stage));
        if (how.write) b_.map(b_.k(stage));
        __syncthreads();
    }

    /// Reads and writes rows [first, last) of `count`.
    __device__ void take(pass const& how, int const* tokens, int count, int first, int last,
                         int stage) {
        int const lane = anew(b_.lane);
        if constexpr (Shape::delta) {
            chunk_updates<Shape> updates;
            updates.solve(b_, stage, state_, first == 0 && last == count);
            auto const pair = [&](right_operand(&to)[2], int m, int step, int part) {
                updates.right(to, m, step, part == 1);
            };
            read(how, tokens, first, last, stage, pair);
            write(how, last, stage,
                  [&](int m, int step, int part) { return updates.left(m, step, part == 1); });
        } else {
            if constexpr (Shape::reads) {
                auto const pair = [&](right_operand(&to)[2], int m, int step, int) {
                    b_.v(stage).right(to, b_.warp * blocks + m, step, lane);
                };
                read(how, tokens, first, last, stage, pair);
            }
            write(how, last, stage, [&](int m, int step, int) {
                return b_.v(stage).left_transposed(b_.warp * blocks + m, step, lane);
            });
        }
    }

    template <class Values>
    __device__ void read(pass const& how, int const* tokens, int first, int last, int stage,
                         Values const& values) {
        if (!how.read) return;
        if (how.write) compute_scores(b_, stage, how, last);
        if (c_.normalized) read_normalizer(b_, stage);
#pragma unroll 1
        for (int origin = 0; origin < Shape::rows; origin += Shape::rows_at_a_time) {
            chunk_outputs<Shape> o = {};
            output_rows<Shape> const rows(b_, plan_.marks, how, tokens, first, last, origin);
            read_alone(how, stage, origin, o);
            // Until here, what other warps score and sum is not needed.
            if (origin == 0 && (how.write || c_.normalized)) __syncthreads();
            if constexpr (Shape::marks) {
                auto const products = rows.mark(o);
                if (how.write) read_chunk(b_, origin, o, values);
                rows.leave_marks(products, o);
            } else {
                if (how.write) read_chunk(b_, origin, o, values);
            }
            rows.leave(o);
        }
    }

    /// Queries that no weight was rounded into leave room for a rounded state.
    __device__ void read_alone(pass const& how, int stage, int origin,
                               chunk_outputs<Shape>& o) const {
        if constexpr (Shape::weigh == weighing::additive) {
            if (!how.write) return read_state<false>(b_, stage, origin, state_, o);
        }
        read_state<Shape::refined>(b_, stage, origin, state_, o);
    }

    template <class Values>
    __device__ void write(pass const& how, int last, int stage, Values const& values) {
        if (!how.write) return;
        if constexpr (Shape::weigh == weighing::token) {
            float const carry = b_.notes.tokens[stage].carry;
            state_.scale(carry);
            for (int d = threadIdx.x; d < Shape::depth; d += Shape::threads) {
                b_.notes.decay[d] *= carry;
            }
        }
        channels_.count_decay();
        if constexpr (Shape::marks) {
            if (!plan_.leaves) marker_.leave(place_, state_);
        }
        write_state(b_, stage, last, state_, values);
        if (c_.normalized) write_normalizer(b_, stage, last);
    }

    call<float> const& c_;
    chunk_plan const& plan_;
    chunk_block<Shape> const& b_;
    token_weigher<Shape> tokens_;
    delta_strengths<Shape> strengths_;
    channel_weigher<Shape> channels_;
    additive_weigher<Shape> additive_;
    state_marker<Shape> marker_;
    int place_ = 0;  // of the chunk's first token, for marks
    chunk_state<Shape> state_;
    T const* solved_ = nullptr;
};

/// Block `number` of a launch.
template <class Shape>
__device__ inline void walk_chunks(call<float> const& c, chunk_plan const& plan, unsigned number,
                                   char* shared) {
    index const segment = number % plan.segments, part = number / plan.segments;
    index const tile = part % plan.tiles, unit = part / plan.tiles;
    // No segment starts from what the last one leaves.
    if (plan.leaves && !plan.total && segment + 1 == plan.segments) return;
    location const where(c, unit / c.query_heads, unit % c.query_heads);
    chunk_block<Shape> const block(c, where, tile * Shape::width, plan.tiles, shared);
    chunk_walker<Shape> walker(c, plan, block);
    if constexpr (Shape::delta) {
        using T = typename Shape::element_type;
        constexpr index size = Shape::rows * Shape::rows;
        index const slot =
            where.head * plan.solved.slots + chunk_slots::first(c, where.sequence, Shape::rows);
        walker.solved_at(reinterpret_cast<T const*>(plan.solved.memory) + slot * size);
    }
    float* const record = plan.records == nullptr
                              ? nullptr
                              : plan.records + index(number) * chunk_record<Shape>::size;
    int const length = int(where.length), step = plan.segment_length;
    int const begin = int(segment) * step - walker.missing(), end = begin + step;
    int const first = begin < 0 ? 0 : begin < length ? begin : length;
    int const last = end < length ? end : length;
    walker.run(record, first, last, segment + 1 == plan.segments);
}

template <class Shape>
__global__ void __launch_bounds__(Shape::threads, resident_blocks<Shape>)
    chunkwise(call<float> const __grid_constant__ c, chunk_plan const __grid_constant__ plan) {
    extern __shared__ __align__(1024) char chunk_shared[];
    walk_chunks<Shape>(c, plan, blockIdx.x, chunk_shared);
}

}  // namespace rondo::inline RONDO_ISA::cuda
