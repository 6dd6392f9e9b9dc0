/// @file
/// The gradients of one chunk of a delta update from what the walks left of it. With
/// M_ij = scale w(i, j) (dO_i . u_j) for j <= i and N_ij = -beta_i w(i, j) (R_i . u_j) for j < i,
///
///     dQ = scale e^L dO S^T + M K
///     dK = -beta e^L R S^T + N K              as readers
///        + N^T K + M^T Q + e^(L_end - L) U dS'^T   as they are written
///
/// Four warps take 16 rows each of all that reads dO, four of all that reads R; what comes from dS'
/// waits until its tile fits in, so that two blocks find room on a multiprocessor.
#pragma once

#include <rondo/cuda/adjoint/decays.cuh>
#include <rondo/cuda/adjoint/delta_strip.cuh>

namespace rondo::inline RONDO_ISA::cuda {

template <class Shape>
class delta_products : delta_strip<Shape> {
    using T = typename Shape::element_type;
    using strip = delta_strip<Shape>;
    using typename strip::rows_tile;
    using token_tile = tile<T, Shape::rows>;
    using state_pieces = own_pieces<Shape::side, Shape::threads>;
    using strip::b_, strip::count_, strip::row_, strip::sums_, strip::tokens_;
    using strip::blocks, strip::groups, strip::for_sums, strip::leave_quads, strip::note;
    using strip::present, strip::row, strip::token;

public:
    __device__ delta_products(delta_call const& what, chunk_block<Shape> const& block, int number,
                              char* shared)
        : strip(block, number),
          w_(what),
          c_(block.c),
          weights_(block.notes.tokens[0]),
          slot_(what.slot(block.where, number)),
          handed_(reinterpret_cast<float4*>(shared + 4 * Shape::depth_bytes)),
          terms_(*reinterpret_cast<typename Shape::terms*>(shared + 4 * Shape::depth_bytes +
                                                           Shape::last_bytes)) {
        load(number);
    }

    __device__ void run() {
        bool const gates = w_.d_gate.data != nullptr, keys = b_.warp >= Shape::strips;
        keys ? read_by_keys() : read_by_queries();
        __syncthreads();
        load_rest();
        if (!keys) write_by_queries();
        __syncthreads();
        // What the two halves of the block have of dK, as their threads hold it.
        if (!keys) {
            for_sums([&](int n) {
                handed_[handed(n)] = {sums_[n][0], sums_[n][1], sums_[n][2], sums_[n][3]};
            });
        }
        __syncthreads();
        if (keys) {
            for_sums([&](int n) {
                float4 const x = handed_[handed(n)];
                sums_[n][0] += x.x, sums_[n][1] += x.y, sums_[n][2] += x.z, sums_[n][3] += x.w;
            });
            if (gates) note_keys(terms_.keys);
            this->leave(w_.d_k);
        }
        if (!gates) return;
        __syncthreads();
        if (b_.warp == 0) leave_gates();
    }

private:
    __device__ rows_tile k() const { return {b_.base}; }
    __device__ rows_tile d_o() const { return {k().base + Shape::depth_bytes}; }
    __device__ token_tile u() const { return {d_o().base + Shape::depth_bytes}; }
    __device__ token_tile d_u() const { return {u().base + Shape::depth_bytes}; }
    __device__ rows_tile s() const { return {d_u().base + Shape::depth_bytes}; }
    // In the places of others, later.
    __device__ rows_tile q() const { return {d_u().base}; }
    __device__ rows_tile d_s() const { return s(); }

    __device__ float strength(int row) const { return b_.notes.strength[0][row]; }
    /// A key that writes nothing reads all the same, for the gradient by beta.
    __device__ float factor(int half) const {
        float const beta = strength(row(half));
        return beta == 0 ? 1 : -beta;
    }
    // Weights of scores, of this thread's rows as readers or as tokens. Both are rounded the same
    // way: what they add to the gradients of log decays then cancels where it should.
    __device__ float decay(int half, int token) const {
        return power_of_2(level_[half] - weights_.level[token]);
    }
    __device__ float decay_to(int half, int reader) const {
        return power_of_2(weights_.level[reader] - level_[half]);
    }
    __device__ bool seen(int token, int reader) const {
        return c_.passes[0].strict ? token < reader : token <= reader;
    }

    __device__ void read_by_queries() {
        auto const gradients = [&](int s) { return d_o().left(row_, s, b_.lane); };
        this->read(s(), gradients, [&](int half) { return c_.scale * weights_.read[row(half)]; });
        this->add_pairs(
            0, row_ / 16, gradients,
            [&](right_operand(&to)[2], int j, int s) { u().right(to, j, s, b_.lane); },
            [&](int half, int j, float x) {
                return seen(j, row(half)) ? c_.scale * decay(half, j) * x : 0;
            },
            k());
        if (w_.d_gate.data != nullptr) {
            std::byte const* const rows[2] = {q_row(0), q_row(1)};
            note(terms_.queries, [&](int half, int pair) -> unsigned {
                bool const known = 2 * pair < c_.depth;
                return known ? reinterpret_cast<unsigned const*>(rows[half])[pair] : 0;
            });
        }
        this->leave(w_.d_q);
    }

    __device__ void read_by_keys() {
        auto const gradients = [&](int s) { return d_u().left_transposed(row_ / 16, s, b_.lane); };
        float const factors[2] = {factor(0), factor(1)};
        this->read(s(), gradients,
                   [&](int half) { return factors[half] * weights_.read[row(half)]; });
        this->add_pairs(
            0, row_ / 16, gradients,
            [&](right_operand(&to)[2], int j, int s) { u().right(to, j, s, b_.lane); },
            [&](int half, int j, float x) {
                if (j == row(half)) terms_.own[j] = x;
                return j < row(half) ? factors[half] * decay(half, j) * x : 0;
            },
            k());
        note_keys(terms_.reading_keys);
        leave_by_values();
        this->add_pairs(
            row_ / 16, blocks - 1,
            [&](int s) { return u().left_transposed(row_ / 16, s, b_.lane); },
            [&](right_operand(&to)[2], int i, int s) { d_u().right(to, i, s, b_.lane); },
            [&](int half, int i, float x) {
                return row(half) < i ? -strength(i) * decay_to(half, i) * x : 0;
            },
            k());
    }

    __device__ void write_by_queries() {
        auto const updates = [&](int s) { return u().left_transposed(row_ / 16, s, b_.lane); };
        this->read(d_s(), updates, [&](int half) { return weights_.write[row(half)]; });
        if (w_.d_gate.data != nullptr) note_keys(terms_.behind);
        this->add_pairs(
            row_ / 16, blocks - 1, updates,
            [&](right_operand(&to)[2], int i, int s) {
                d_o().right_transposed(to, 16 * i, s, b_.lane);
            },
            [&](int half, int i, float x) {
                return seen(row(half), i) ? c_.scale * decay_to(half, i) * x : 0;
            },
            q());
    }

    __device__ void load(int number) {
        int const length = int(b_.where.length);
        walk_order<Shape> order(b_.notes, c_.passes[0], 0, length, length, 0);
        order.note(number);
        count_ = order.span(number).count;
        __syncthreads();
        token_weigher<Shape> weigher(b_);
        delta_strengths<Shape> strengths(b_);
        weigher.load(tokens_, count_);
        strengths.load(tokens_, count_);
        b_.load(d_o(), b_.o_rows, int(c_.width), tokens_, count_);
        copy(u(), w_.updates);
        copy(d_u(), w_.d_updates);
        b_.load(k(), b_.k_rows, int(c_.depth), tokens_, count_);
        copy(s(), w_.states);
        bool const gates = w_.d_gate.data != nullptr;
        uint4 behind[state_pieces::count];
        if (gates) {
            state_pieces::each(
                [&](int i, int row, int piece) { behind[i] = piece_behind(row, piece); });
        }
        weigher.weigh(0);
        strengths.leave(0);
        wait_for_copies();
        __syncthreads();
        if (gates) multiply_states(behind);
        level_[0] = weights_.level[row(0)], level_[1] = weights_.level[row(1)];
    }
    __device__ void load_rest() const {
        b_.load(q(), b_.q_rows, int(c_.depth), tokens_, count_);
        copy(d_s(), w_.d_states);
        wait_for_copies();
        __syncthreads();
    }

    /// Asks for what the walks left, one row after the other.
    template <int Columns>
    __device__ void copy(tile<T, Columns> const& to, std::byte const* from) const {
        constexpr int pieces = Columns / 8, step = Shape::threads / pieces;
        constexpr int row_bytes = tile<T, Columns>::row_bytes;
        static_assert(step % 8 == 0, "the permutation of pieces repeats every 8 rows");
        int const piece = threadIdx.x % pieces, first = threadIdx.x / pieces;
        unsigned const target = to.at(first, piece);
        auto const* const source = from + (slot_ * w_.columns + first) * row_bytes + 16 * piece;
#pragma unroll
        for (int i = 0; i < Shape::side / step; ++i) {
            bool const known = first + i * step < w_.columns;
            copy_ahead(target + unsigned(i * step * row_bytes),
                       known ? source + i * step * row_bytes : from, known);
        }
    }

    __device__ std::byte const* q_row(int half) const { return b_.q_rows[token(half)]; }

    __device__ void note_keys(float* to) {
        note(to, [&](int half, int pair) { return k().get(row(half), pair); });
    }
    /// dv and dbeta. What a key read that wrote nothing counts no more.
    __device__ void leave_by_values() {
        float const beta[2] = {strength(row(0)), strength(row(1))};
#pragma unroll
        for (int n = 0; n < groups; n += 4) {
            left_operand const low = d_u().left_transposed(row_ / 16, n / 2, b_.lane);
            left_operand const high = d_u().left_transposed(row_ / 16, n / 2 + 1, b_.lane);
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                unsigned x[4] = {low.x[half], low.x[half + 2], high.x[half], high.x[half + 2]};
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    float2 const pair = unpack<T>(x[i]);
                    x[i] = pack<T>(beta[half] * pair.x, beta[half] * pair.y);
                }
                leave_quads(w_.d_v, half, n, int(c_.width), x);
            }
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            if (w_.d_beta.data != nullptr) leave_beta(half, beta[half]);
            __syncwarp();
            if (beta[half] != 0) continue;
            for_sums([&](int n) { sums_[n][2 * half] = sums_[n][2 * half + 1] = 0; });
            if (b_.lane % 4 == 0) terms_.reading_keys[row(half)] = 0;
        }
    }
    __device__ int handed(int n) const { return (row_ / 16 * groups + n) * warp_size + b_.lane; }

    /// R . u / beta, or where nothing was written R . v - Z . k, which cancels more.
    __device__ void leave_beta(int half, float beta) const {
        float product = 0;
        bool const asks = beta == 0 && present(half);
        if (__any_sync(~0U, asks)) {
            auto const* const v = b_.v_rows[token(half)];
#pragma unroll 1
            for (int n = 0; n < groups; ++n) {
                int const column = 8 * n + 2 * (b_.lane % 4);
                auto const both = d_u().left_transposed(row_ / 16, n / 2, b_.lane);
                float2 const x = unpack<T>(both.x[n % 2 * 2 + half]);
                bool const known = column < c_.width;
                float2 const y =
                    unpack<T>(known ? *reinterpret_cast<unsigned const*>(v + column * 2) : 0);
                product += x.x * y.x + x.y * y.y;
            }
            product = sum_of_quad(product) - terms_.reading_keys[row(half)];
        }
        if (!present(half) || b_.lane % 4 != 0) return;
        store(b_.where.key_side(w_.d_beta, token(half)), w_.d_beta.kind,
              asks ? product : terms_.own[row(half)] / beta);
    }

    /// Of dS', straight from memory: its tile comes later, and from a cache then.
    __device__ uint4 piece_behind(int row, int piece) const {
        index const at = (slot_ * w_.columns + row) * rows_tile::row_bytes + 16 * piece;
        return row < w_.columns ? *reinterpret_cast<uint4 const*>(w_.d_states + at) : uint4{};
    }
    /// <S, dS'> over the chunk.
    __device__ void multiply_states(uint4 const (&behind)[state_pieces::count]) const {
        float sum = 0;
        state_pieces::each([&](int i, int row, int piece) {
            uint4 const x = behind[i], y = s().get_piece(row, piece);
            sum += product(x.x, y.x) + product(x.y, y.y) + (product(x.z, y.z) + product(x.w, y.w));
        });
        sum = sum_of_warp(sum) * weights_.carry;
        if (b_.lane == 0) terms_.over[b_.warp] = sum;
    }
    static __device__ float product(unsigned a, unsigned b) {
        float2 const x = unpack<T>(a), y = unpack<T>(b);
        return x.x * y.x + x.y * y.y;
    }

    __device__ void leave_gates() const {
        chunk_decays decays{};
        for (int i = 0; i < 2; ++i) {
            int const row = 2 * b_.lane + i;
            decays.known[i] = row < count_;
            if (!decays.known[i]) continue;
            decays.tokens[i] = tokens_[row];
            decays.gates[i] = cuda::load<float>(b_.gate_rows[tokens_[row]], c_.gate.kind);
            // As written for readers in the chunk: all but as readers and from dS'.
            float const written = terms_.keys[row] - terms_.reading_keys[row] - terms_.behind[row];
            decays.up_to[i] = terms_.queries[row] + terms_.reading_keys[row] - written;
            decays.behind[i] = terms_.behind[row];
        }
        for (int i = 0; i < Shape::warps; ++i) decays.over += terms_.over[i];
        float* const constant = w_.constant == nullptr ? nullptr : w_.constant + slot_;
        decays.leave(c_, b_.where, w_.d_gate, constant);
    }

    delta_call const& w_;
    call<float> const& c_;
    typename chunk_notes<Shape>::token_weights const& weights_;
    index slot_;
    float4* handed_;
    typename Shape::terms& terms_;
    float level_[2];
};

template <class Shape>
__global__ void __launch_bounds__(Shape::threads, Shape::resident)
    multiply_delta(delta_call const __grid_constant__ w) {
    extern __shared__ __align__(1024) char delta_shared[];
    call<float> const& c = w.c;
    index const head = blockIdx.x / w.solved.slots, slot = blockIdx.x % w.solved.slots;
    index const sequence = chunk_slots::sequence_of(c, slot, Shape::rows);
    location const where(c, sequence, head);
    int const number = int(slot - chunk_slots::first(c, sequence, Shape::rows));
    if (number * Shape::rows >= where.length) {
        if (w.constant != nullptr && threadIdx.x == 0) w.constant[blockIdx.x] = 0;
        return;
    }
    chunk_block<Shape> const block(c, where, 0, 1, delta_shared);
    delta_products<Shape>(w, block, number, delta_shared).run();
}

}  // namespace rondo::inline RONDO_ISA::cuda
