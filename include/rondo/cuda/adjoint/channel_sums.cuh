/// @file
/// What the queries of a piece of 16 tokens meet before it, or its keys behind it, as a sum on
/// tensor cores whose rows are weighed to their piece's edge and which decays from piece to piece:
/// no exponent is ever positive.
#pragma once

#include <rondo/cuda/adjoint/channel_block.cuh>
#include <rondo/cuda/chunk_solve.cuh>

namespace rondo::inline RONDO_ISA::cuda {

template <class Shape>
class channel_sums : protected channel_block<Shape> {
    using base = channel_block<Shape>;
    using typename base::slice_tile, typename base::width_tile;
    static constexpr int groups = Shape::slice / 8;

public:
    using base::base;

protected:
    using base::c_, base::channel_, base::count_, base::gate, base::k, base::keys_, base::lane_,
        base::notes_, base::piece_;
    using base::d_o, base::d_s, base::q, base::s, base::v, base::w_, base::warp_, base::weighed;
    using base::piece, base::pieces;
    using typename base::T;

    /// Leaves the piece's rows weighed to the edge where the warp looks over, and its decay.
    /// Between two of them is the decay of the later one.
    __device__ void weigh_piece() const {
        bool const met = keys_ || piece_ > 0;
        auto const gates = base::looked(gate(), piece * piece_);
        auto const from = base::looked(keys_ ? k() : q(), piece * piece_);
        auto const to = base::looked(weighed(keys_, met ? piece_ : 1), 0);
        float2 weight{1, 1}, behind{1, 1};
#pragma unroll
        for (int m = 0; m < piece; ++m) {
            float2 const own = base::decays(gates.get(m)), f = keys_ ? behind : own;
            behind = own;
            weight = {weight.x * f.x, weight.y * f.y};
            if (met) to.set(m, base::weigh(from.get(m), weight));
        }
        if (!keys_) notes_.decay[piece_][lane_] = weight;
    }

    /// The columns of S and dS together, by the warps of queries: those of keys have more to note.
    __device__ void multiply_states() const {
        float2 sum{0, 0};
#pragma unroll 8
        for (int i = 0; i < Shape::width / pieces; ++i) {
            int const row = i * pieces + warp_;
            float2 const x = unpack<T>(s().get(row, lane_)), y = unpack<T>(d_s().get(row, lane_));
            sum = {sum.x + x.x * y.x, sum.y + x.y * y.y};
        }
        notes_.over[warp_][lane_] = sum;
    }

    /// The sums of the piece, and its own A.
    __device__ void multiply() {
        width_tile const own = keys_ ? v() : d_o(), other = keys_ ? d_o() : v();
        slice_tile const state = keys_ ? d_s() : s();
        int const lane = anew(lane_);
        for_sums([](sum_tile& x, int) { x[0] = x[1] = x[2] = x[3] = 0; });
#pragma unroll
        for (int e = 0; e < Shape::width / 16; ++e) {
            if (keys_ && !base::behind()) break;
            auto const rows = own.left(piece * piece_, e, lane);
#pragma unroll
            for (int block = 0; block < groups / 2; ++block) {
                right_operand right[2];
                state.right(right, block, e, lane);
                multiply_add<T>(sums_[2 * block], rows, right[0]);
                multiply_add<T>(sums_[2 * block + 1], rows, right[1]);
            }
        }
        if (keys_ && base::behind()) {
            scale([&](int pair) { return base::decays(notes_.last[pair]); });
            if (w_.x[to_gate].data != nullptr && w_.behind == nullptr) note_behind();
        }
        int const others = keys_ ? pieces - 1 - piece_ : piece_;
#pragma unroll 1
        for (int n = 0; n < others; ++n) {
            int const number = keys_ ? pieces - 1 - n : n;
            sum_tile pairs[2] = {};
            score(pairs, own, other, number);
            left_operand high, low;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                float const* const both = pairs[i / 2] + i % 2 * 2;
                split_pair const parts(both[0], both[1]);
                high.x[i] = parts.high, low.x[i] = parts.low;
            }
            scale([&](int pair) { return notes_.decay[number][pair]; });
            slice_tile const rows = weighed(!keys_, number);
#pragma unroll
            for (int block = 0; block < groups / 2; ++block) {
                right_operand right[2];
                rows.right(right, block, 0, lane);
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    multiply_add<T>(sums_[2 * block + i], low, right[i]);
                    multiply_add<T>(sums_[2 * block + i], high, right[i]);
                }
            }
        }
#pragma unroll
        for (int i = 0; i < 8; ++i) own_[i / 4][i % 4] = 0;
        score(own_, own, other, piece_);
        if (Shape::delta && !keys_ && base::leaves_beta()) leave_beta();
    }

    /// From a product's order to one pair of channels a lane.
    __device__ void hand_over() {
        float2* const to = base::sums_of(warp_);
        for_sums([&](sum_tile const& x, int n) {
            int const pair = 4 * n + lane_ % 4, upper = lane_ / 4;
            to[base::place(upper, pair)] = {x[0], x[1]};
            to[base::place(upper + 8, pair)] = {x[2], x[3]};
        });
        bool const strict = c_.passes[0].strict;
#pragma unroll
        for (int x = 0; x < 8; ++x) {
            int const i = lane_ / 4 + x % 4 / 2 * 8, j = 2 * (lane_ % 4) + x / 4 * 8 + x % 2;
            int const m = keys_ ? piece - 1 - i : i, n = keys_ ? piece - 1 - j : j;
            base::own_scores()[m * piece + n] =
                n < m || (n == m && !strict) ? own_[x / 4][x % 4] : 0;
        }
    }

private:
    /// From the products of what the piece's tokens write and the gradients of that times the
    /// strength.
    __device__ void leave_beta() const {
        sum_tile products[2];
#pragma unroll
        for (int x = 0; x < 8; ++x) products[x / 4][x % 4] = own_[x / 4][x % 4];
        score(products, base::d_o(), base::rests(), piece_);
        tensor const &from = w_.x[of_beta], &to = w_.x[to_beta];
#pragma unroll
        for (int x = 0; x < 8; ++x) {
            int const i = lane_ / 4 + x % 4 / 2 * 8, j = 2 * (lane_ % 4) + x / 4 * 8 + x % 2;
            int const row = piece * piece_ + i;
            if (i != j || row >= count_) continue;
            float const beta =
                strength_of(cuda::load<float>(base::rows_of(of_beta, 0)[row], from.kind));
            store(base::rows_of(to_beta, 0)[row], to.kind, products[x / 4][x % 4] / beta / beta);
        }
    }

    /// visit(sums of 8 channels, their number)
    template <class Visit>
    __device__ void for_sums(Visit const& visit) {
#pragma unroll
        for (int n = 0; n < groups; ++n) visit(sums_[n], n);
    }
    /// factors(pair of channels)
    template <class Factors>
    __device__ void scale(Factors const& factors) {
        for_sums([&](sum_tile& x, int n) {
            float2 const f = factors(4 * n + lane_ % 4);
            x[0] *= f.x, x[1] *= f.y, x[2] *= f.x, x[3] *= f.y;
        });
    }

    /// The products of the piece's rows and those of another.
    __device__ void score(sum_tile (&pairs)[2], width_tile const& own, width_tile const& other,
                          int number) const {
        int const lane = anew(lane_);
#pragma unroll
        for (int e = 0; e < Shape::width / 16; ++e) {
            auto const rows = own.left(piece * piece_, e, lane);
            right_operand right[2];
            other.right_transposed(right, piece * number, e, lane);
            multiply_add<T>(pairs[0], rows, right[0]);
            multiply_add<T>(pairs[1], rows, right[1]);
        }
    }

    /// What the piece's keys add to the gradients of all log decays of the chunk, from dS.
    __device__ void note_behind() {
        slice_tile const rows = weighed(true, piece_);
        float2 mine{0, 0};
        for_sums([&](sum_tile const& x, int n) {
            int const pair = 4 * n + lane_ % 4;
            float2 const upper = unpack<T>(rows.get(lane_ / 4, pair));
            float2 const lower = unpack<T>(rows.get(lane_ / 4 + 8, pair));
            float2 sum{upper.x * x[0] + lower.x * x[2], upper.y * x[1] + lower.y * x[3]};
#pragma unroll
            for (int step = 4; step < warp_size; step *= 2) {
                sum.x += __shfl_xor_sync(~0U, sum.x, step);
                sum.y += __shfl_xor_sync(~0U, sum.y, step);
            }
            mine = lane_ / 4 == n ? sum : mine;
        });
        for (int a = piece_ + 1; a < pieces; ++a) {
            float2 const f = notes_.decay[a][lane_];
            mine = {mine.x * f.x, mine.y * f.y};
        }
        notes_.behind[piece_][lane_] = mine;  // lane 4 n + i has pair i of sums n
    }

    sum_tile sums_[groups], own_[2];
};

}  // namespace rondo::inline RONDO_ISA::cuda
