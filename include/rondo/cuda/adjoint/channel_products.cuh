/// @file
/// The gradients of one chunk's queries, keys and log decays by channel, from its states. A piece's
/// own pairs are added up in float by the decays from token to token, so that resets are exact.
#pragma once

#include <rondo/cuda/adjoint/channel_sums.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// One block.
template <class Shape>
class channel_products : channel_sums<Shape> {
    using sums = channel_sums<Shape>;
    using sums::c_, sums::gate, sums::k, sums::keys_, sums::lane_, sums::notes_, sums::piece_;
    using sums::channel_, sums::count_, sums::place, sums::rows_of, sums::sums_of;
    using sums::piece, sums::pieces, sums::q, sums::w_, sums::warp_;
    using typename sums::T;

public:
    using sums::sums;

    __device__ void run() {
        this->load();
        wait_for_copies();
        __syncthreads();
        this->weigh_piece();
        bool const gates = w_.x[to_gate].data != nullptr, additive = w_.behind != nullptr;
        if (gates && !additive && !keys_ && sums::behind()) this->multiply_states();
        __syncthreads();
        this->multiply();
        __syncthreads();
        this->hand_over();
        __syncwarp();
        finish();
        if (!gates) return;
        __syncthreads();
        additive ? leave_logits() : leave_gates();
    }

private:
    /// Adds the piece's own pairs and leaves the gradients. Rows times gradients take the place of
    /// the sums: their weighed rows are those that the other side met, so that what does not count
    /// for a log decay cancels.
    __device__ void finish() const {
        int const first = piece * piece_, channel = channel_ + 2 * lane_;
        auto const gates = sums::looked(gate(), first);
        auto const own = sums::looked(keys_ ? k() : q(), first);
        auto const other = sums::looked(keys_ ? q() : k(), first);
        channel_tensor const out = keys_ ? to_k : to_q;
        bool const leaves = w_.x[out].data != nullptr && channel < c_.depth;
        bool const weighs = keys_ && leaves && w_.behind != nullptr;
        bool const adds = Shape::delta && keys_ && leaves && sums::behind();
        int const known = leaves ? count_ - first : 0;
        auto const to = rows_of(out, channel), weights = rows_of(of_weight, channel);
        auto const more = rows_of(of_more, channel);
        float4 const* const scores = reinterpret_cast<float4 const*>(sums::own_scores());
        int const from = place(sums::looked_row(0), lane_), way = sums::way() * Shape::pairs;
        float2 met[piece], decay[piece], weight{1, 1}, behind{1, 1};
#pragma unroll
        for (int m = 0; m < piece; ++m) {
            int const row = sums::looked_row(m);
            float2 const mine = sums::decays(gates.get(m));
            decay[m] = keys_ ? behind : mine;
            behind = mine;
            weight = {weight.x * decay[m].x, weight.y * decay[m].y};
            met[m] = unpack<T>(other.get(m));
            float2 inside{0, 0};
#pragma unroll
            for (int n = 0; n <= m; ++n) {
                float4 const four = scores[m * piece / 4 + n / 4];
                float const score = n % 4 == 0   ? four.x
                                    : n % 4 == 1 ? four.y
                                    : n % 4 == 2 ? four.z
                                                 : four.w;
                inside = {inside.x * decay[n].x + score * met[n].x,
                          inside.y * decay[n].y + score * met[n].y};
            }
            unsigned const raw = own.get(m);
            float2 const x = unpack<T>(raw), rounded = unpack<T>(sums::weigh(raw, weight));
            float2& sum = sums_of(warp_)[(from ^ (m & 3) << 2) + m * way];
            float2 const outside = sum;
            sum = {rounded.x * outside.x + x.x * inside.x, rounded.y * outside.y + x.y * inside.y};
            float2 value{c_.scale * (outside.x * weight.x + inside.x),
                         c_.scale * (outside.y * weight.y + inside.y)};
            if (weighs && row < known) {
                float2 const p = pair_at(weights[first + row]);
                value = {value.x * p.x, value.y * p.y};
            }
            if (adds && row < known) {
                float2 const x = pair_at(to[first + row]), y = pair_at(more[first + row]);
                value = {value.x + (x.x + y.x), value.y + (x.y + y.y)};
            }
            leave(row < known, to[first + row], value);
        }
    }

    static __device__ float2 pair_at(std::byte const* from) {
        return unpack<T>(*reinterpret_cast<unsigned const*>(from));
    }

    static __device__ void leave(bool present, std::byte* to, float2 value) {
        store_if(present, to, pack<T>(value.x, value.y));
    }

    static constexpr int mine = Shape::rows / Shape::warps;  // of a warp that leaves gradients
    /// q dq and k dk of one of its rows, yet to be scaled.
    __device__ float2 of_query(int i) const { return product(warp_ / 2, i); }
    __device__ float2 of_key(int i) const { return product(pieces + warp_ / 2, i); }
    __device__ float2 product(int from, int i) const {
        static_assert(2 * mine == piece);
        return sums_of(from)[warp_ % 2 * mine * Shape::pairs + place(i, lane_)];
    }
    /// Where the gradients of this warp's rows go, and how many of them.
    __device__ auto left_rows() const { return rows_of(to_gate, channel_ + 2 * lane_); }
    __device__ int left() const {
        return channel_ + 2 * lane_ < c_.depth ? count_ - mine * warp_ : 0;
    }

    /// d log f_t = <S, dS> over the chunk + sum k dk (from dS) + sum_(s >= t) (q_s dq_s - k_s dk_s)
    __device__ void leave_gates() const {
        int const first = mine * warp_, known = left();
        float2 decay = sums::decays(notes_.last[lane_]), sum{0, 0};
        for (int a = 0; a < pieces; ++a) {
            float2 const f = notes_.decay[a][lane_];
            decay = {decay.x * f.x, decay.y * f.y};
        }
        int const noted = sums::behind() ? pieces : 0;
        for (int a = 0; a < noted; ++a) {
            float2 const x = notes_.over[a][lane_];
            sum = {sum.x + x.x, sum.y + x.y};
        }
        sum = {sum.x * decay.x, sum.y * decay.y};
        for (int a = 0; a < noted; ++a) {
            float2 const x = notes_.behind[a][lane_];
            sum = {sum.x + x.x, sum.y + x.y};
        }
        float2 own[mine], all{0, 0};
#pragma unroll
        for (int i = mine - 1; i >= 0; --i) {
            float2 const x = of_query(i), y = of_key(i);
            own[i] = {x.x - y.x, x.y - y.y};
            all = {all.x + own[i].x, all.y + own[i].y};
        }
        auto& joined = sums::joined();
        joined.sum[warp_][lane_] = all;
        __syncthreads();
        for (int warp = Shape::warps - 1; warp > warp_; --warp) {
            float2 const x = joined.sum[warp][lane_];
            sum = {sum.x + x.x, sum.y + x.y};
        }
        auto const to = left_rows();
        unsigned gates[mine];
        own_gates(gates);
#pragma unroll
        for (int i = mine - 1; i >= 0; --i) {
            float2 const before = sum;
            sum = {sum.x + own[i].x, sum.y + own[i].y};
            float2 value = c_.on_write ? before : sum;
            float2 const f = sums::decays(gates[i]);
            value = {f.x > 0 ? c_.scale * value.x : 0, f.y > 0 ? c_.scale * value.y : 0};
            if (Shape::delta && sums::behind() && i < known) {
                float2 const x = pair_at(to[first + i]);
                value = {value.x + x.x, value.y + x.y};
            }
            leave(i < known, to[first + i], value);
        }
    }
    /// The gates of this warp's own tokens.
    __device__ void own_gates(unsigned (&to)[mine]) const {
        int const first = mine * warp_;
        auto const gates = gate().column_from(first, lane_);
#pragma unroll
        for (int i = 0; i < mine; ++i) to[i] = gates.get(i);
        if (!c_.on_write) return;
#pragma unroll
        for (int i = 0; i < mine; ++i) {
            int const row = first + i + 1;
            to[i] = row < count_ ? gate().get(row, lane_) : notes_.last[lane_];
        }
    }

    /// The gradients of logits without what later chunks add to them, and what this chunk adds to
    /// those before (prefix.cuh).
    __device__ void leave_logits() const {
        int const first = mine * warp_, known = left();
        auto const gates = gate().column_from(first, lane_);
        auto& joined = sums::joined();
        float2 decay[mine], query[mine], through{1, 1}, sum{0, 0};
#pragma unroll
        for (int i = mine - 1; i >= 0; --i) {
            decay[i] = sums::decays(gates.get(i));
            query[i] = of_query(i);
            sum = {decay[i].x * (sum.x - query[i].x), decay[i].y * (sum.y - query[i].y)};
            through = {decay[i].x * through.x, decay[i].y * through.y};
        }
        joined.sum[warp_][lane_] = sum;
        joined.through[warp_][lane_] = through;
        __syncthreads();
        sum = {0, 0};
        auto const join = [&](int warp) {
            float2 const f = joined.through[warp][lane_], x = joined.sum[warp][lane_];
            sum = {f.x * sum.x + x.x, f.y * sum.y + x.y};
            through = {f.x * through.x, f.y * through.y};
        };
        for (int warp = Shape::warps - 1; warp > warp_; --warp) join(warp);
        auto const to = left_rows();
        auto const weights = rows_of(of_weight, channel_ + 2 * lane_);
        float2 carried = sum;
#pragma unroll
        for (int i = mine - 1; i >= 0; --i) {
            carried = {carried.x - query[i].x, carried.y - query[i].y};
            if (i < known) {
                float2 const y = of_key(i);
                float2 const p = pair_at(weights[first + i]);
                leave(true, to[first + i],
                      {c_.scale * (y.x + p.x * carried.x), c_.scale * (y.y + p.y * carried.y)});
            }
            carried = {decay[i].x * carried.x, decay[i].y * carried.y};
        }
        if (warp_ != 0 || known <= 0) return;
        index const unit = at_of_states();
        float2* const behind =
            w_.behind + (unit * w_.segments + sums::number_) * c_.depth + channel_ + 2 * lane_;
        behind[0] = {through.x, c_.scale * carried.x};
        behind[1] = {through.y, c_.scale * carried.y};
    }
    __device__ index at_of_states() const { return sums::at_.state(c_); }
};

template <class Shape>
__global__ void __launch_bounds__(Shape::threads, Shape::resident)
    multiply_channels(channel_call const __grid_constant__ w) {
    extern __shared__ __align__(1024) char channel_shared[];
    call<float> const& c = w.c;
    int const slices = (int(c.depth) + Shape::slice - 1) / Shape::slice;
    unsigned const item = blockIdx.x / unsigned(slices);
    index const head = item / unsigned(w.slots), slot = item % unsigned(w.slots);
    index const sequence = chunk_slots::sequence_of(c, slot, Shape::rows);
    location const where(c, sequence, head);
    int const number = int(slot - chunk_slots::first(c, sequence, Shape::rows));
    if (number * Shape::rows >= where.length) return;
    channel_products<Shape>(w, where, number, int(blockIdx.x % unsigned(slices)), channel_shared)
        .run();
}

}  // namespace rondo::inline RONDO_ISA::cuda
