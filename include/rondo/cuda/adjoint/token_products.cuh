/// @file
/// The gradients of one chunk of an outer update whose tokens have one log decay each, from the
/// states in front of it and behind it. With P_ij = scale w(i, j) (q_i . k_j) and
/// A_ij = scale w(i, j) (dO_i . v_j) for j <= i
///
///     dQ = scale e^L dO S^T + A K
///     dK = e^(L_end - L) V dS^T + A^T Q
///     dV = e^(L_end - L) K dS + P^T dO
///
/// and what a pair of the chunk adds to the log decays between its tokens is
/// scale w(i, j) (q_i . k_j) (dO_i . v_j), the same number for both of them.
#pragma once

#include <rondo/cuda/adjoint/decays.cuh>
#include <rondo/cuda/adjoint/token_shape.cuh>
#include <rondo/cuda/chunk_keep.cuh>
#include <rondo/cuda/chunk_token.cuh>

namespace rondo::inline RONDO_ISA::cuda {

template <class Shape>
class token_products {
    using T = typename Shape::element_type;
    using rows_tile = tile<T, Shape::side>;
    static constexpr int steps = Shape::side / 16, groups = Shape::columns / 8;
    static constexpr int blocks = Shape::strips;
    using pieces = own_pieces<Shape::side, Shape::threads>;  // of a state

public:
    __device__ token_products(token_call const& what, chunk_block<Shape> const& block, int number,
                              char* shared)
        : w_(what),
          c_(block.c),
          b_(block),
          tokens_(block.notes.token[number % 3]),
          weights_(block.notes.tokens[0]),
          terms_(*reinterpret_cast<typename Shape::terms*>(shared + Shape::tile_bytes(false) -
                                                           int(sizeof(typename Shape::terms)))),
          strip_(block.warp / Shape::parts),
          part_(block.warp % Shape::parts) {}

    __device__ void run(int number, index slot) {
        uint4 behind[pieces::count];
        load(number, slot, behind);
        compute_pairs();
        __syncthreads();
        differentiate_queries();
        exchange_states(behind);
        differentiate_keys();
        differentiate_values();
        if (!gates()) return;
        __syncthreads();
        if (b_.warp == 0) leave_gates(slot);
    }

private:
    __device__ bool gates() const { return w_.d_gate.data != nullptr; }

    __device__ rows_tile q() const { return {b_.base}; }
    __device__ rows_tile k() const { return {q().base + Shape::depth_bytes}; }
    __device__ rows_tile v() const { return {k().base + Shape::depth_bytes}; }
    __device__ rows_tile d_o() const { return {v().base + Shape::depth_bytes}; }
    /// S, and later dS.
    __device__ rows_tile s() const { return {d_o().base + Shape::depth_bytes}; }
    __device__ square<T> of_values(int row, int block) const {
        int const number = triangle_block::number_of(row, block);
        return {s().base + unsigned(Shape::state_bytes + number * square<T>::bytes)};
    }
    __device__ square<T> of_keys(int row, int block) const {
        return {of_values(row, block).base + unsigned(Shape::squares * square<T>::bytes)};
    }

    __device__ int row(int half) const { return 16 * strip_ + b_.lane / 4 + 8 * half; }
    __device__ bool present(int half) const { return row(half) < count_; }

    /// Loads what the chunk reads: dS to registers, until S has made room for it.
    __device__ void load(int number, index slot, uint4 (&behind)[pieces::count]) {
        int const length = int(b_.where.length);
        walk_order<Shape> order(b_.notes, c_.passes[0], 0, length, length, 0);
        order.note(number);
        count_ = order.span(number).count;
        __syncthreads();
        token_weigher<Shape> weigher(b_);
        weigher.load(tokens_, count_);
        // Asked for now: in the end the block would wait for them.
        if (gates() && b_.warp == 0) {
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                gates_[i] = load_raw<float>(b_.gate_rows[tokens_[2 * b_.lane + i]], c_.gate.kind);
            }
        }
        b_.load(d_o(), b_.o_rows, int(c_.width), tokens_, count_);
        b_.load(v(), b_.v_rows, int(c_.width), tokens_, count_);
        b_.load(q(), b_.q_rows, int(c_.depth), tokens_, count_);
        b_.load(k(), b_.k_rows, int(c_.depth), tokens_, count_);
        index const first = slot * w_.columns * w_.depth * 2;
        auto const place = [&](int row, int piece) {
            return (row * int(w_.depth) + 8 * piece) * 2;
        };
        auto const known = [&](int row, int piece) {
            return row < w_.columns && 8 * piece < w_.depth;
        };
        pieces::each([&](int, int row, int piece) {
            bool const inside = known(row, piece);
            copy_ahead(s().at(row, piece), w_.states + first + (inside ? place(row, piece) : 0),
                       inside);
        });
        pieces::each([&](int i, int row, int piece) {
            auto const* const from =
                reinterpret_cast<uint4 const*>(w_.d_states + first + place(row, piece));
            behind[i] = known(row, piece) ? *from : uint4{};
        });
        weigher.weigh(0);
        wait_for_copies();
        __syncthreads();
    }

    /// Makes room for dS, and leaves <S, dS> over the chunk: the diagonal of a product.
    __device__ void exchange_states(uint4 const (&behind)[pieces::count]) const {
        constexpr int own = steps * steps / Shape::warps;
        int const lane = anew(b_.lane), first = b_.warp * own;
        left_operand before[own];
        if (gates()) {
#pragma unroll
            for (int i = 0; i < own; ++i) {
                before[i] = s().left((first + i) / steps * 16, (first + i) % steps, lane);
            }
        }
        __syncthreads();
        pieces::each([&](int i, int row, int piece) { s().set_piece(row, piece, behind[i]); });
        __syncthreads();
        if (!gates()) return;
        sum_tile sums[2] = {};
#pragma unroll
        for (int i = 0; i < own; ++i) {
            right_operand right[2];
            s().right_transposed(right, (first + i) / steps * 16, (first + i) % steps, lane);
            multiply_add<T>(sums[0], before[i], right[0]);
            multiply_add<T>(sums[1], before[i], right[1]);
        }
        int const mine = lane / 4 - 2 * (lane % 4);
        float sum = mine == 0 ? sums[0][0] + sums[1][2] : 0;
        if (mine == 1) sum = sums[0][1] + sums[1][3];
        sum = sum_of_warp(sum) * weights_.carry;
        if (lane == 0) terms_.over[b_.warp] = sum;
    }

    /// The weighted products of readers and tokens, in blocks of 16 x 16 dealt to the warps.
    __device__ void compute_pairs() const {
        int const lane = anew(b_.lane);
        score_mask const mask{c_.passes[0].strict};
        for (int at = b_.warp; at < Shape::squares; at += Shape::warps) {
            auto const [row, block] = triangle_block::of<blocks>(at);
            sum_tile keys[2] = {}, values[2] = {};
#pragma unroll
            for (int step = 0; step < steps; ++step) {
                right_operand right[2];
                auto const queries = q().left(16 * row, step, lane);
                k().right_transposed(right, 16 * block, step, lane);
                multiply_add<T>(keys[0], queries, right[0]);
                multiply_add<T>(keys[1], queries, right[1]);
                auto const gradients = d_o().left(16 * row, step, lane);
                v().right_transposed(right, 16 * block, step, lane);
                multiply_add<T>(values[0], gradients, right[0]);
                multiply_add<T>(values[1], gradients, right[1]);
            }
            sum_tile both[2];
            int const first = 16 * row + lane / 4, second = 16 * block + 2 * (lane % 4);
#pragma unroll
            for (int x = 0; x < 8; ++x) {
                int const i = first + x % 4 / 2 * 8, j = second + x / 4 * 8 + x % 2;
                float const decay = power_of_2(weights_.level[i] - weights_.level[j]);
                float const w = row > block || mask(i, j) ? c_.scale * decay : 0;
                float &a = keys[x / 4][x % 4], &b = values[x / 4][x % 4];
                a = w * a;
                both[x / 4][x % 4] = i == j ? 0 : a * b;
                b = w * b;
            }
            of_keys(row, block).set_sums(lane, keys);
            of_values(row, block).set_sums(lane, values);
            if (gates()) note_pairs(both, row, block, lane);
        }
    }

    /// Readers gain what their tokens lose.
    __device__ void note_pairs(sum_tile const (&both)[2], int row, int block, int lane) const {
        float readers[2], tokens[4];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            float const* const x = both[0] + 2 * i;
            float const* const y = both[1] + 2 * i;
            readers[i] = sum_of_quad((x[0] + x[1]) + (y[0] + y[1]));
        }
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            float& sum = tokens[j];
            sum = both[j / 2][j % 2] + both[j / 2][j % 2 + 2];
#pragma unroll
            for (int step = 4; step < warp_size; step *= 2) {
                sum += __shfl_xor_sync(~0U, sum, step);
            }
        }
        if (lane < 4) {
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                terms_.pairs[16 * block + 2 * lane + j / 2 * 8 + j % 2][row] = -tokens[j];
            }
        }
        __syncwarp();
        if (lane % 4 != 0) return;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            float& to = terms_.pairs[16 * row + lane / 4 + 8 * i][block];
            to = row == block ? to + readers[i] : readers[i];
        }
    }

    __device__ void differentiate_queries() {
        read<false>(d_o(), [&](int half) { return c_.scale * weights_.read[row(half)]; });
        if (gates()) note(terms_.queries[part_], q());
        for (int block = 0; block <= strip_; ++block) {
            add(of_values(strip_, block).left(b_.lane), k(), block);
        }
        leave(w_.d_q, int(c_.depth));
    }
    __device__ void differentiate_keys() {
        read<false>(v(), [&](int half) { return weights_.write[row(half)]; });
        if (gates()) note(terms_.keys[part_], k());
        for (int block = strip_; block < blocks; ++block) {
            add(of_values(block, strip_).left_transposed(b_.lane), q(), block);
        }
        leave(w_.d_k, int(c_.depth));
    }
    __device__ void differentiate_values() {
        read<true>(k(), [&](int half) { return weights_.write[row(half)]; });
        for (int block = strip_; block < blocks; ++block) {
            add(of_keys(block, strip_).left_transposed(b_.lane), d_o(), block);
        }
        leave(w_.d_v, int(c_.width));
    }

    /// sums = the warp's rows times the state, each row with its weight
    template <bool Transposed, class Weight>
    __device__ void read(rows_tile const& rows, Weight const& weight) {
        int const lane = anew(b_.lane);
#pragma unroll
        for (int n = 0; n < groups; ++n) sums_[n][0] = sums_[n][1] = sums_[n][2] = sums_[n][3] = 0;
#pragma unroll
        for (int step = 0; step < steps; ++step) {
            auto const x = rows.left(16 * strip_, step, lane);
#pragma unroll
            for (int n = 0; n < groups; n += 2) {
                right_operand right[2];
                int const block = (part_ * groups + n) / 2;
                if constexpr (Transposed) {
                    s().right_transposed(right, 16 * block, step, lane);
                } else {
                    s().right(right, block, step, lane);
                }
                multiply_add<T>(sums_[n], x, right[0]);
                multiply_add<T>(sums_[n + 1], x, right[1]);
            }
        }
        float const upper = weight(0), lower = weight(1);
#pragma unroll
        for (int n = 0; n < groups; ++n) {
            sums_[n][0] *= upper, sums_[n][1] *= upper, sums_[n][2] *= lower, sums_[n][3] *= lower;
        }
    }

    /// sums += pairs times the rows of a block
    __device__ void add(left_operand const& pairs, rows_tile const& rows, int block) {
        int const lane = anew(b_.lane);
#pragma unroll
        for (int n = 0; n < groups; n += 2) {
            right_operand right[2];
            rows.right(right, (part_ * groups + n) / 2, block, lane);
            multiply_add<T>(sums_[n], pairs, right[0]);
            multiply_add<T>(sums_[n + 1], pairs, right[1]);
        }
    }

    /// Notes the product of each row of sums with the row of a tile.
    __device__ void note(float* to, rows_tile const& beside) const {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float product = 0;
#pragma unroll
            for (int n = 0; n < groups; ++n) {
                int const pair = (part_ * groups + n) * 4 + b_.lane % 4;
                float2 const x = unpack<T>(beside.get(row(half), pair));
                product += sums_[n][2 * half] * x.x + sums_[n][2 * half + 1] * x.y;
            }
            product = sum_of_quad(product);
            if (b_.lane % 4 == 0) to[row(half)] = product;
        }
    }

    __device__ void leave(tensor const& to, int columns) const {
        if (to.data == nullptr) return;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            auto* const at = b_.where.key_side(to, tokens_[present(half) ? row(half) : 0]);
#pragma unroll
            for (int n = 0; n < groups; n += 4) {
                unsigned x[4];
                pack_quads<T>(x, sums_, n, half);
                store_quads(at, x, b_.lane, (part_ * groups + n) * 8, present(half) ? columns : 0);
            }
        }
    }

    __device__ void leave_gates(index slot) const {
        chunk_decays decays{};
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            int const row = 2 * b_.lane + i;
            decays.known[i] = row < count_;
            if (!decays.known[i]) continue;
            decays.tokens[i] = tokens_[row];
            decays.gates[i] = widen<float>(gates_[i], c_.gate.kind);
            for (int half = 0; half < Shape::parts; ++half) {
                decays.up_to[i] += terms_.queries[half][row];
                decays.behind[i] += terms_.keys[half][row];
            }
            for (int block = 0; block < blocks; ++block) {
                decays.up_to[i] += terms_.pairs[row][block];
            }
        }
        for (int i = 0; i < Shape::warps; ++i) decays.over += terms_.over[i];
        decays.leave(c_, b_.where, w_.d_gate,
                     w_.constant == nullptr ? nullptr : w_.constant + slot);
    }

    token_call const& w_;
    call<float> const& c_;
    chunk_block<Shape> const& b_;
    int const* tokens_;
    typename chunk_notes<Shape>::token_weights const& weights_;
    typename Shape::terms& terms_;
    int strip_, part_, count_ = 0;  // the warp's rows and columns; tokens of the chunk
    sum_tile sums_[groups];
    raw_element<float> gates_[2];  // of the first warp
};

template <class Shape>
__global__ void __launch_bounds__(Shape::threads, Shape::resident)
    multiply_tokens(token_call const __grid_constant__ w) {
    extern __shared__ __align__(1024) char chunk_shared[];
    // The heads of a token are neighbours in memory.
    unsigned const heads = unsigned(w.c.heads), head = blockIdx.x % heads;
    index const slot = blockIdx.x / heads, at = head * w.slots + slot;
    index const sequence = chunk_slots::sequence_of(w.c, slot, Shape::rows);
    location const where(w.c, sequence, head);
    int const number = int(slot - chunk_slots::first(w.c, sequence, Shape::rows));
    if (number * Shape::rows >= where.length) {
        if (w.constant != nullptr && threadIdx.x == 0) w.constant[at] = 0;
        return;
    }
    chunk_block<Shape> const block(w.c, where, 0, 1, chunk_shared);
    token_products<Shape>(w, block, number, chunk_shared).run(number, at);
}

}  // namespace rondo::inline RONDO_ISA::cuda
