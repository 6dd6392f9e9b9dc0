/// @file
/// The walk of an outer update whose values decay, not its keys, each column by a gate of its own:
///
///     o_i(c) = scale sum_j (x_i . y_j) z_j(c) exp(sum of g(c) between j and i)
///
/// What the gradients of queries and keys are under a decay by channel: of (d_o, v, k), and walked
/// back of (v, d_o, q). A block takes one head, a warp 16 columns with their state in registers.
/// Tokens are taken 16 at a time: what lies before them is read in the state on tensor cores, their
/// own 136 pairs are added up in float by the decays from token to token, so that no exponent is
/// ever positive and a reset is exact.
#pragma once

#include <rondo/cuda/adjoint/column_shape.cuh>

namespace rondo::inline RONDO_ISA::cuda {

template <class Shape>
class column_walker {
    using T = typename Shape::element_type;
    using depth_tile = typename Shape::depth_tile;
    using width_tile = typename Shape::width_tile;
    static constexpr int piece = Shape::piece, groups = Shape::depth / 8;

public:
    __device__ column_walker(column_call const& what, char* shared)
        : w_(what),
          c_(what.c),
          segment_(blockIdx.x % what.segments),
          at_(c_, blockIdx.x / what.segments / c_.heads, blockIdx.x / what.segments % c_.heads),
          lane_(threadIdx.x % warp_size),
          warp_(threadIdx.x / warp_size),
          column_(lane_ % Shape::columns),
          half_(lane_ / Shape::columns),
          base_(shared_address(shared)),
          scores_(reinterpret_cast<float*>(shared + 2 * Shape::stage_bytes)),
          notes_(reinterpret_cast<typename Shape::notes*>(scores_ + Shape::score_floats)[warp_]) {}

    __device__ void run() {
        pass const& how = c_.passes[0];
        int const length = int(at_.length), surplus = length % Shape::rows;
        int const missing = w_.aligned && surplus != 0 ? Shape::rows - surplus : 0;
        int const from = segment_ * w_.segment_length - missing, to = from + w_.segment_length;
        int const first = from < 0 ? 0 : from < length ? from : length;
        int const last = to < length ? to : length;
        begin();
        int count = Shape::rows - (first == 0 ? missing : 0);
        count = count < last - first ? count : last - first;
        load(0, how, first, count);
        int stage = 0;
        for (int place = first; place < last; stage ^= 1) {
            int const left = last - place - count;
            int const next = left < Shape::rows ? left : Shape::rows;
            wait_for_copies();
            __syncthreads();
            if (next > 0) load(stage ^ 1, how, place + count, next);
            if (!w_.leaves) {
                if (w_.anchors != nullptr && (place == 0 || (length - place) % anchor_step == 0)) {
                    contract(stage, (length - place - 1) / anchor_step);
                }
                score(stage, how.strict);
            }
            __syncthreads();
            for (int p = 0; p < 2 && piece * p < count; ++p) {
                weigh(stage, p);
                __syncwarp();
                if (!w_.leaves) {
                    read_state(stage, p);
                    __syncwarp();
                    leave(stage, p, how, place, count);
                }
                write(stage, p);
                __syncwarp();
            }
            place += count;
            bool const keeps = w_.states != nullptr && w_.anchors == nullptr && !w_.leaves;
            if (keeps && (place == length || place % anchor_step == 0)) {
                keep((place - 1) / anchor_step);
            }
            count = next;
        }
        if (w_.leaves) end();
    }

private:
    __device__ depth_tile x(int stage) const {
        return {base_ + unsigned(stage * Shape::stage_bytes)};
    }
    __device__ depth_tile y(int stage) const { return {x(stage).base + Shape::depth_bytes}; }
    __device__ width_tile z(int stage) const { return {y(stage).base + Shape::depth_bytes}; }
    __device__ width_tile gate(int stage) const { return {z(stage).base + Shape::width_bytes}; }
    /// Scores of a piece, [token, reader].
    __device__ float* scores(int p) const { return scores_ + p * piece * piece; }

    __device__ void load(int stage, pass const& how, int place, int count) const {
        copy(x(stage), w_.x, int(c_.width), how, place, count, 0);
        copy(y(stage), w_.y, int(c_.width), how, place, count, 0);
        copy(z(stage), w_.z, int(c_.depth), how, place, count, 0);
        copy(gate(stage), c_.gate, int(c_.depth), how, place, count, w_.gate_shift);
    }

    /// Asks for rows 16 bytes at a time; those beyond the end are zeros.
    template <int Columns>
    __device__ void copy(tile<T, Columns> const& to, tensor const& from, int channels,
                         pass const& how, int place, int count, int shift) const {
        constexpr int pieces = Columns / 8;
        auto const* const first = at_.key_side(from, 0);
        for (int i = threadIdx.x; i < Shape::rows * pieces; i += Shape::threads) {
            int const row = i / pieces, part = i % pieces;
            index const token = token_at(how, place + (row < count ? row : 0), at_.length) + shift;
            bool const known =
                row < count && part * 8 < channels && token >= 0 && token < at_.length;
            auto const* const source = first + (known ? token * from.time + part * 16 : 0);
            copy_ahead(to.at(row, part), source, known);
        }
    }

    /// visit(entry, channel of x and y, column of the warp's)
    template <class Visit>
    __device__ void each(Visit const& visit) {
#pragma unroll
        for (int n = 0; n < groups; ++n) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                visit(state_[n][i], 8 * n + 2 * (lane_ % 4) + i % 2, lane_ / 4 + i / 2 * 8);
            }
        }
    }

    __device__ float4* record() const {
        index const number = at_.state(c_) * w_.segments + segment_;
        return w_.records + number * groups * Shape::threads + threadIdx.x;
    }
    __device__ void begin() {
        index const head = at_.state(c_);
        bool const resumes = w_.records != nullptr && !w_.leaves && segment_ > 0;
#pragma unroll
        for (int n = 0; resumes && n < groups; ++n) {
            float4 const x = record()[n * Shape::threads];
            state_[n][0] = x.x, state_[n][1] = x.y, state_[n][2] = x.z, state_[n][3] = x.w;
        }
        if (resumes) return;
        each([&](float& s, int channel, int column) {
            int const d = warp_ * Shape::columns + column;
            bool const known =
                w_.in != nullptr && segment_ == 0 && channel < c_.width && d < c_.depth;
            s = known ? w_.in[(head * c_.width + channel) * c_.depth + d] : 0;
        });
    }
    __device__ void end() const {
#pragma unroll
        for (int n = 0; n < groups; ++n) {
            sum_tile const& s = state_[n];
            record()[n * Shape::threads] = {s[0], s[1], s[2], s[3]};
        }
        index const number = at_.state(c_) * w_.segments + segment_;
        int const d = warp_ * Shape::columns + column_;
        if (half_ == 0) w_.decays[number * Shape::width + d] = decay_;
    }

    /// The products x_i . y_j of each piece, by a warp for each.
    __device__ void score(int stage, bool strict) const {
        if (warp_ >= 2) return;
        int const row = piece * warp_;
        sum_tile sums[2] = {};
#pragma unroll
        for (int step = 0; step < Shape::depth / 16; ++step) {
            auto const readers = x(stage).left(row, step, lane_);
            right_operand tokens[2];
            y(stage).right_transposed(tokens, row, step, lane_);
            multiply_add<T>(sums[0], readers, tokens[0]);
            multiply_add<T>(sums[1], readers, tokens[1]);
        }
        float* const to = scores(warp_);
#pragma unroll
        for (int n = 0; n < 2; ++n) {
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                int const i = lane_ / 4 + k / 2 * 8, j = 8 * n + 2 * (lane_ % 4) + k % 2;
                bool const seen = strict ? j < i : j <= i;
                to[j * piece + i] = seen ? sums[n][k] : 0;
            }
        }
    }

    /// An element of a row: the warp's column that this lane has.
    __device__ float own(width_tile const& x, int row) const {
        int const column = warp_ * Shape::columns + column_;
        float2 const both = unpack<T>(x.get(row, column / 2));
        return column % 2 == 0 ? both.x : both.y;
    }

    /// The decays of a piece, of a column by two lanes, 8 tokens each.
    __device__ void weigh(int stage, int p) {
        // 2 to the power of anything lower is 0, so that a reset is exact.
        constexpr float lowest = -160;
        constexpr int mine = piece / 2;
        float levels[mine], sum = 0;
#pragma unroll
        for (int r = 0; r < mine; ++r) {
            int const i = half_ * mine + r;
            float const g = fmaxf(own(gate(stage), piece * p + i) * log2_of_e, lowest);
            notes_.step[i][column_] = power_of_2(g);
            levels[r] = sum += g;
        }
        float const other = __shfl_xor_sync(~0U, sum, Shape::columns);
        float const before = half_ == 0 ? 0 : other, end = sum + other;
#pragma unroll
        for (int r = 0; r < mine; ++r) {
            int const i = half_ * mine + r;
            float const level = before + levels[r];
            notes_.read[i][column_] = power_of_2(level);
            notes_.write[i][column_] = power_of_2(end - level);
        }
        float const decay = power_of_2(end);
        if (half_ == 0) notes_.decay[column_] = decay;
        decay_ *= decay;
    }

    /// What a piece finds in the state, rounded in two parts: what is read must cancel against what
    /// the walk the other way reads.
    __device__ void read_state(int stage, int p) const {
        sum_tile o[2] = {};
#pragma unroll
        for (int step = 0; step < Shape::depth / 16; ++step) {
            auto const readers = x(stage).left(piece * p, step, lane_);
            auto const &low = state_[2 * step], &high = state_[2 * step + 1];
#pragma unroll
            for (int n = 0; n < 2; ++n) {
                right_operand s{
                    {pack<T>(low[2 * n], low[2 * n + 1]), pack<T>(high[2 * n], high[2 * n + 1])}};
                float2 const a = unpack<T>(s.x[0]), b = unpack<T>(s.x[1]);
                right_operand const rest{{pack<T>(low[2 * n] - a.x, low[2 * n + 1] - a.y),
                                          pack<T>(high[2 * n] - b.x, high[2 * n + 1] - b.y)}};
                multiply_add<T>(o[n], readers, s);
                multiply_add<T>(o[n], readers, rest);
            }
        }
#pragma unroll
        for (int n = 0; n < 2; ++n) {
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                int const i = lane_ / 4 + k / 2 * 8, e = 8 * n + 2 * (lane_ % 4) + k % 2;
                notes_.out[i][e] = o[n][k] * notes_.read[i][e];
            }
        }
    }

    /// Adds the piece's own pairs and leaves the outputs. The two lanes of a column take every
    /// other written token, and then 8 readers each.
    __device__ void leave(int stage, int p, pass const& how, int place, int count) const {
        float steps[piece], sums[piece] = {};
#pragma unroll
        for (int i = 0; i < piece; ++i) steps[i] = notes_.step[i][column_];
#pragma unroll
        for (int even = 0; even < piece; even += 2) {
            int const j = even + half_;
            float const* const row = scores(p) + j * piece;
            float value = own(z(stage), piece * p + j);
#pragma unroll
            for (int i = even; i < piece; ++i) {
                sums[i] += row[i] * value;
                if (i + 1 < piece) value *= i < j ? 1 : steps[i + 1];
            }
        }
        constexpr int mine = piece / 2;
        index const first = at_.batch * c_.length + at_.first;
        int const d = warp_ * Shape::columns + column_;
#pragma unroll
        for (int r = 0; r < mine; ++r) {
            float const away = half_ == 0 ? sums[mine + r] : sums[r];
            float value = (half_ == 0 ? sums[r] : sums[mine + r]) +
                          __shfl_xor_sync(~0U, away, Shape::columns);
            int const i = half_ * mine + r, row = piece * p + i;
            value = c_.scale * (value + notes_.out[i][column_]);
            if (row >= count || d >= c_.depth) continue;
            index const token = token_at(how, place + row, at_.length);
            store<float>(at_.key_side(w_.o, token) + d * 2, element::bfloat16, value);
            if (w_.products == nullptr) continue;
            float const beside =
                cuda::load<float>(at_.key_side(w_.beside, token) + d * 2, element::bfloat16);
            w_.products[((first + token) * c_.heads + at_.head) * c_.depth + d] = value * beside;
        }
    }

    /// Takes a piece into the state.
    __device__ void write(int stage, int p) {
        auto values = z(stage).left_transposed(warp_, p, lane_);
        int const row = lane_ / 4, token = 2 * (lane_ % 4);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            float2 const v = unpack<T>(values.x[i]);
            int const column = row + 8 * (i % 2), first = token + 8 * (i / 2);
            values.x[i] =
                pack<T>(v.x * notes_.write[first][column], v.y * notes_.write[first + 1][column]);
        }
        float const upper = notes_.decay[row], lower = notes_.decay[row + 8];
#pragma unroll
        for (int n = 0; n < groups; ++n) {
            state_[n][0] *= upper, state_[n][1] *= upper;
            state_[n][2] *= lower, state_[n][3] *= lower;
        }
#pragma unroll
        for (int block = 0; block < Shape::depth / 16; ++block) {
            right_operand tokens[2];
            y(stage).right(tokens, block, p, lane_);
            multiply_add<T>(state_[2 * block], values, tokens[0]);
            multiply_add<T>(state_[2 * block + 1], values, tokens[1]);
        }
    }

    __device__ float4* kept(int slot) const {
        index const number = at_.state(c_) * w_.slots + slot;
        return w_.states + number * groups * Shape::threads + threadIdx.x;
    }
    __device__ void keep(int slot) const {
        float4* const to = kept(slot);
#pragma unroll
        for (int n = 0; n < groups; ++n) {
            sum_tile const& s = state_[n];
            to[n * Shape::threads] = {s[0], s[1], s[2], s[3]};
        }
    }
    /// Multiplies the state kept there with this one, column by column. The decay between them is
    /// the next that either would meet.
    __device__ void contract(int stage, int slot) const {
        float4 const* const from = kept(slot);
        float upper = 0, lower = 0;
#pragma unroll
        for (int n = 0; n < groups; ++n) {
            float4 const x = from[n * Shape::threads];
            sum_tile const& s = state_[n];
            upper += s[0] * x.x + s[1] * x.y;
            lower += s[2] * x.z + s[3] * x.w;
        }
#pragma unroll
        for (int step = 1; step < 4; step *= 2) {
            upper += __shfl_xor_sync(~0U, upper, step);
            lower += __shfl_xor_sync(~0U, lower, step);
        }
        if (lane_ % 4 != 0) return;
        float* const to = w_.anchors + (at_.state(c_) * w_.slots + slot) * c_.depth;
        int const d = warp_ * Shape::columns + lane_ / 4;
        auto const between = [&](int column) {
            float2 const g = unpack<T>(gate(stage).get(0, column / 2));
            return expf(column % 2 == 0 ? g.x : g.y);
        };
        if (d < c_.depth) to[d] = upper * between(d);
        if (d + 8 < c_.depth) to[d + 8] = lower * between(d + 8);
    }

    column_call const& w_;
    call<float> const& c_;
    int segment_;
    location at_;
    int lane_, warp_, column_, half_;
    unsigned base_;
    float* scores_;
    typename Shape::notes& notes_;
    sum_tile state_[groups];
    float decay_ = 1;  // of the column over all tokens so far
};

template <class Shape>
__global__ void __launch_bounds__(Shape::threads, 2)
    column_walk(column_call const __grid_constant__ w) {
    extern __shared__ __align__(1024) char column_shared[];
    column_walker<Shape>(w, column_shared).run();
}

}  // namespace rondo::inline RONDO_ISA::cuda
