/// @file
/// The plain kernel for whatever has no faster one: the recurrence, token by token. A block takes
/// one query head and 32 value columns; each of its warps owns 4 of them, every lane a row in 32 of
/// the state, so that warps never wait for each other within a batch of tokens.
#pragma once

#include <rondo/cuda/staging.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// How a generic launch is cut.
template <class A>
struct generic_plan {
    int batch;   // tokens that are staged together
    int padded;  // channels of a staged row
    A* stages;   // [blocks, stage_size]: stages too wide for shared memory, else null
    index stage_size;
    A* states;  // [blocks, depth, columns]: states too deep for registers, else null
};

/// A lane's part of a row of channels: a run of them, read at once.
template <class A, int Rows>
struct channels {
    static constexpr int widest = 16, bytes = Rows * int(sizeof(A));
    struct alignas(bytes < widest ? bytes : widest) run {
        A x[Rows];
    } values;

    /// `same`: the row is one value for all channels.
    __device__ channels(A const* row, int lane, bool same = false) {
        if (!same) {
            values = reinterpret_cast<run const*>(row)[lane];
        } else {
#pragma unroll
            for (A& x : values.x) x = *row;
        }
    }
    __device__ A operator()(int r, index) const { return values.x[r]; }
};
/// Of more channels than registers hold: read one by one.
template <class A>
struct channels<A, 0> {
    A const* row;
    bool same;

    __device__ channels(A const* from, int, bool single = false) : row(from), same(single) {}
    __device__ A operator()(int, index d) const { return row[same ? 0 : d]; }
};

/// The columns of a state that a warp owns, and the normaliser of one of them.
template <class A, int Rows>
struct slab {
    static constexpr bool in_registers = Rows > 0;
    A s[in_registers ? Rows : 1][warp_columns];
    A normalizer[in_registers ? Rows : 1];
    A* memory;  // [depth, columns + 1] of the block, at the warp's first column
    index depth;
    int lane;

    static constexpr index row_step = block_columns + 1;

    /// visit(r, d, the four columns, the normaliser) for the rows of this lane; in registers there
    /// may be more than the depth, which stay 0.
    template <class Visit>
    __device__ void rows(Visit const& visit) {
        if constexpr (in_registers) {
#pragma unroll
            for (int r = 0; r < Rows; ++r) visit(r, lane * Rows + r, s[r], normalizer[r]);
        } else {
            int const to_normalizer = block_columns - int(threadIdx.x / warp_size) * warp_columns;
            for (index d = lane; d < depth; d += warp_size) {
                A* const row = memory + d * row_step;
                A spare = 0;  // only the first warp keeps the normaliser
                visit(0, d, row, threadIdx.x < warp_size ? row[to_normalizer] : spare);
            }
        }
    }
};

/// The sum over the lanes of each of four values: lane l gets value l / 8.
template <class A>
__device__ inline A sum_of_four(A const (&x)[warp_columns], int lane) {
    bool const upper = lane & 16;
    A a = upper ? x[2] : x[0], b = upper ? x[3] : x[1];
    a += __shfl_xor_sync(~0U, upper ? x[0] : x[2], 16);
    b += __shfl_xor_sync(~0U, upper ? x[1] : x[3], 16);
    bool const second = lane & 8;
    A sum = second ? b : a;
    sum += __shfl_xor_sync(~0U, second ? a : b, 8);
    for (int step = 4; step > 0; step /= 2) sum += __shfl_xor_sync(~0U, sum, step);
    return sum;
}

/// What a warp needs of a token. Read while the token before is computed on: shared memory answers
/// later than a product takes.
template <class A, int Rows>
struct token_rows {
    channels<A, Rows> q, k, factor;
    channels<A, warp_columns> v;
    A beta;

    __device__ token_rows(stage<A> const& s, int t, int first, int lane)
        : q(s.q + t * s.padded, lane),
          k(s.k + t * s.padded, lane),
          factor(s.factor + t * s.gates, lane, s.gates == 1),
          v(s.v + t * block_columns + first, 0),
          beta(s.beta[t]) {}
};

/// One warp's walk over the tokens of a stage.
template <class A, int Rows>
class generic_warp {
    using rows = token_rows<A, Rows>;

public:
    __device__ generic_warp(call<A> const& c, stage<A> const& s, slab<A, Rows>& state, int warp,
                            int lane)
        : s_(s),
          state_(state),
          first_(warp * warp_columns),
          lane_(lane),
          counts_(c.normalized && warp == 0),
          gated_(c.gated),
          late_(c.on_write),
          delta_(c.delta) {}

    __device__ void run(pass const& how, int count) {
        writes_ = how.write, reads_ = how.read, strict_ = how.strict;
        rows now(s_, 0, first_, lane_);
        for (int t = 0; t < count; ++t) {
            rows const next(s_, t + 1 < count ? t + 1 : t, first_, lane_);
            token(now, t);
            now = next;
        }
        if (reads_) leave(count - 1);
    }

private:
    __device__ void token(rows const& x, int t) {
        bool const decays = writes_ && gated_;
        if (decays && !late_) decay(x.factor);
        A u[warp_columns], sums[warp_columns] = {};
#pragma unroll
        for (int i = 0; i < warp_columns; ++i) u[i] = x.v(i, 0);
        bool const solves = writes_ && delta_;
        if (solves) combine(x.k, sums);
        // The outputs of the token before are summed up here: two chains of shuffles take as long
        // as one.
        if (reads_ && t > 0) leave(t - 1);
        if (solves) solve(sums, x.beta, u);
        if (reads_ && strict_) read(x.q, t);
        if (writes_) {
            state_.rows([&](int r, index d, auto& s, A& normalizer) {
                A const k = x.k(r, d);
#pragma unroll
                for (int i = 0; i < warp_columns; ++i) s[i] += k * u[i];
                if (counts_) normalizer += k;
            });
        }
        if (reads_ && !strict_) read(x.q, t);
        if (decays && late_) decay(x.factor);
    }

    __device__ void decay(channels<A, Rows> const& factors) {
        state_.rows([&](int r, index d, auto& s, A& normalizer) {
            A const a = factors(r, d);
#pragma unroll
            for (int i = 0; i < warp_columns; ++i) s[i] *= a;
            if (counts_) normalizer *= a;
        });
    }

    __device__ void combine(channels<A, Rows> const& x, A (&sums)[warp_columns]) {
        state_.rows([&](int r, index d, auto& s, A&) {
            A const factor = x(r, d);
#pragma unroll
            for (int i = 0; i < warp_columns; ++i) sums[i] += factor * s[i];
        });
    }

    /// u = beta (v - S'^T k)
    __device__ void solve(A const (&sums)[warp_columns], A beta, A (&u)[warp_columns]) {
        A const mine = sum_of_four(sums, lane_);
#pragma unroll
        for (int i = 0; i < warp_columns; ++i) {
            u[i] = beta * (u[i] - __shfl_sync(~0U, mine, i * (warp_size / warp_columns)));
        }
    }

    /// Each lane's part of the outputs.
    __device__ void read(channels<A, Rows> const& q, int t) {
#pragma unroll
        for (int i = 0; i < warp_columns; ++i) unfinished_[i] = 0;
        combine(q, unfinished_);
        if (!counts_) return;
        A sum = 0;
        state_.rows([&](int r, index d, auto&, A& normalizer) { sum += q(r, d) * normalizer; });
        sum = sum_of_warp(sum);
        if (lane_ == 0) s_.sums[t] = sum;
    }

    /// Adds them up.
    __device__ void leave(int t) {
        constexpr int lanes = warp_size / warp_columns;
        A const mine = sum_of_four(unfinished_, lane_);
        if (lane_ % lanes == 0) s_.o[t * block_columns + first_ + lane_ / lanes] = mine;
    }

    stage<A> const& s_;
    slab<A, Rows>& state_;
    int first_, lane_;
    bool counts_, gated_, late_, delta_, writes_ = false, reads_ = false, strict_ = false;
    A unfinished_[warp_columns];
};

/// Joins the denominators of the staged tokens with those of earlier passes.
template <class A>
__device__ inline void join_sums(call<A> const& c, location const& where, stage<A> const& s,
                                 pass const& how, index begin, int count, index tiles, index tile) {
    for (int t = threadIdx.x; t < count; t += block_threads) {
        index const row = where.partial(c, token_at(how, begin + t, where.length));
        A& left = c.partial_sums[row * tiles + tile];
        if (how.accumulate) s.sums[t] += left;
        if (!how.finish) left = s.sums[t];
    }
    __syncthreads();
}

/// Adds what earlier passes left to the staged outputs, and leaves, or divides, scales and stores
/// them. An element is always the same thread's.
template <class A>
__device__ inline void leave(call<A> const& c, location const& where, stage<A> const& s,
                             pass const& how, index begin, int count, index column) {
    for (int i = threadIdx.x; i < count * block_columns; i += block_threads) {
        int const t = i / block_columns;
        index const e = column + i % block_columns;
        if (e >= c.width) continue;
        index const token = token_at(how, begin + t, where.length);
        std::byte* const o = where.query_side(c.o, token) + e * c.o.channel;
        A* const left = c.partial_rows == nullptr
                            ? nullptr
                            : c.partial_rows + where.partial(c, token) * c.width + e;
        A value = s.o[i];
        if (how.accumulate) value += left == nullptr ? load<A>(o, c.o.kind) : *left;
        if (how.finish) {
            value *= c.normalized ? c.scale / (s.sums[t] + c.eps) : c.scale;
            store(o, c.o.kind, value);
        } else if (left == nullptr) {
            store(o, c.o.kind, value);
        } else {
            *left = value;
        }
    }
}

/// One block: one query head of one sequence, one tile of value columns.
template <class A, int Rows>
__global__ void __launch_bounds__(block_threads, Rows == 8 ? 1 : 2)
    recurrence(call<A> const __grid_constant__ c, generic_plan<A> const plan, index tiles) {
    extern __shared__ double2 shared[];
    index const tile = blockIdx.x % tiles, unit = blockIdx.x / tiles;
    location const where(c, unit / c.query_heads, unit % c.query_heads);
    index const column = tile * block_columns;
    A* memory = reinterpret_cast<A*>(shared);  // rows that registers hold fit there, too
    if constexpr (Rows == 0) {
        if (plan.stages != nullptr) memory = plan.stages + blockIdx.x * plan.stage_size;
    }
    stage<A> const staged(memory, int(c.depth), plan.padded, int(c.gate_width), plan.batch);
    stager<A, Rows> stager(c, where, staged, column);

    int const lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
    index const first = column + warp * warp_columns, head = where.state(c);
    slab<A, Rows> state;
    state.depth = c.depth, state.lane = lane;
    if constexpr (Rows == 0) {
        state.memory =
            plan.states + blockIdx.x * c.depth * slab<A, Rows>::row_step + warp * warp_columns;
    }
    generic_warp<A, Rows> walker(c, staged, state, warp, lane);

    for (int p = 0; p < c.pass_count; ++p) {
        pass const& how = c.passes[p];
        if (!how.keep) {
            stager.begin();
            state.rows([&](int, index d, auto& s, A& normalizer) {
                bool const inside = d < c.depth;
                for (int i = 0; i < warp_columns; ++i) {
                    bool const known = c.in.s != nullptr && inside && first + i < c.width;
                    s[i] = known ? c.in.s[(head * c.depth + d) * c.width + first + i] : A(0);
                }
                normalizer = inside && c.in.normalizer != nullptr
                                 ? c.in.normalizer[head * c.depth + d]
                                 : A(0);
            });
            __syncthreads();
        }
        auto const tokens = [&](index begin) {
            index const left = where.length - begin;
            return int(left < plan.batch ? left : plan.batch);
        };
        stager.fetch(how, 0, tokens(0));
        for (index begin = 0; begin < where.length; begin += plan.batch) {
            int const count = tokens(begin);
            stager.put(how, begin, count);
            stager.fetch(how, begin + count, tokens(begin + count));
            walker.run(how, count);
            __syncthreads();
            if (!how.read) continue;
            if (c.partial_sums != nullptr) {
                join_sums(c, where, staged, how, begin, count, tiles, tile);
            }
            leave(c, where, staged, how, begin, count, column);
            __syncthreads();
        }
    }
    if (where.query_head % c.group != 0 || c.out.s == nullptr) return;
    state.rows([&](int, index d, auto& s, A& normalizer) {
        if (d >= c.depth) return;
        for (int i = 0; i < warp_columns; ++i) {
            if (first + i >= c.width) continue;
            c.out.s[(head * c.depth + d) * c.width + first + i] = s[i];
        }
        bool const mine = tile == 0 && warp == 0 && c.out.normalizer != nullptr;
        if (mine) c.out.normalizer[head * c.depth + d] = normalizer;
    });
    if (tile == 0) stager.end();
}

/// Launches the generic kernel on a prepared call.
template <class A>
class generic_launch {
public:
    generic_launch(index depth, index gates, index units, index width) {
        tiles_ = std::max<index>((width + block_columns - 1) / block_columns, 1);
        blocks_ = units * tiles_;
        // Without asking for more shared memory than every device gives.
        constexpr index shared_bytes = 48 * 1024, wide_tokens = 4;
        rows_ = depth <= 64 ? 2 : depth <= 128 ? 4 : depth <= 256 ? 8 : 0;
        padded_ = rows_ > 0 ? rows_ * warp_size : (depth + 3) / 4 * 4;
        index const one = stage<A>::elements(padded_, gates, 1) * index(sizeof(A));
        index const fixed = stage<A>::elements(padded_, gates, 0) * index(sizeof(A));
        index const fit = (shared_bytes - fixed) / std::max<index>(one - fixed, 1);
        shared_ = fit >= 1;
        batch_ = int(shared_ ? std::min<index>(fit, most_staged) : wide_tokens);
        stage_size_ = (stage<A>::elements(padded_, gates, batch_) + 3) / 4 * 4;
        stages_at_ = bytes_.take(shared_ ? 0 : std::size_t(blocks_ * stage_size_) * sizeof(A));
        index const state = depth * slab<A, 0>::row_step;
        states_at_ = bytes_.take(rows_ == 0 ? std::size_t(blocks_ * state) * sizeof(A) : 0);
    }

    std::size_t scratch_bytes() const { return bytes_.bytes; }

    void operator()(cudaStream_t stream, call<A> const& c) const {
        scratch const memory(stream, bytes_.bytes);
        generic_plan<A> const plan{batch_, int(padded_),
                                   shared_ ? nullptr : memory.at<A>(stages_at_), stage_size_,
                                   rows_ == 0 ? memory.at<A>(states_at_) : nullptr};
        std::size_t const bytes = shared_ ? std::size_t(stage_size_) * sizeof(A) : 0;
        auto const launch = [&](auto* kernel) {
            kernel<<<unsigned(blocks_), block_threads, bytes, stream>>>(c, plan, tiles_);
        };
        switch (rows_) {
            case 2: launch(recurrence<A, 2>); break;
            case 4: launch(recurrence<A, 4>); break;
            case 8: launch(recurrence<A, 8>); break;
            default: launch(recurrence<A, 0>);
        }
        expect("launch of recurrence", cudaGetLastError());
    }

    index tiles() const { return tiles_; }

private:
    index tiles_, blocks_, stage_size_, padded_;
    int batch_, rows_;  // rows of the state in a lane's registers
    bool shared_;
    layout bytes_;
    std::size_t stages_at_, states_at_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
