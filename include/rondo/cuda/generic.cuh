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

    __device__ channels(A const* row, int lane) : values(reinterpret_cast<run const*>(row)[lane]) {}
    __device__ A operator()(int r, index) const { return values.x[r]; }
};
/// Of more channels than registers hold: read one by one.
template <class A>
struct channels<A, 0> {
    A const* row;

    __device__ channels(A const* from, int) : row(from) {}
    __device__ A operator()(int, index d) const { return row[d]; }
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

/// One warp's walk over the tokens of a stage.
template <class A, int Rows>
class generic_warp {
public:
    __device__ generic_warp(call<A> const& c, stage<A> const& s, slab<A, Rows>& state, int warp,
                            int lane)
        : c_(c),
          s_(s),
          state_(state),
          first_(warp * warp_columns),
          lane_(lane),
          counts_(c.normalized && warp == 0),
          single_(s.gates == 1) {}

    __device__ void token(pass const& how, int t) {
        using row = channels<A, Rows>;
        row const q(s_.q + t * s_.padded, lane_), k(s_.k + t * s_.padded, lane_);
        A const* const factor = s_.factor + t * s_.gates;
        A u[warp_columns] = {};
        if (how.write) {
            if (c_.gated && !c_.on_write) decay(factor);
            channels<A, warp_columns> const v(s_.v + t * block_columns + first_, 0);
#pragma unroll
            for (int i = 0; i < warp_columns; ++i) u[i] = v(i, 0);
            if (c_.delta) solve(k, s_.beta[t], u);
        }
        if (how.read && how.strict) read(q, t);
        if (how.write) {
            state_.rows([&](int r, index d, auto& s, A& normalizer) {
#pragma unroll
                for (int i = 0; i < warp_columns; ++i) s[i] += k(r, d) * u[i];
                if (counts_) normalizer += k(r, d);
            });
        }
        if (how.read && !how.strict) read(q, t);
        if (how.write && c_.gated && c_.on_write) decay(factor);
    }

private:
    __device__ void decay(A const* factor) {
        if (single_) return decay([a = *factor](int, index) { return a; });
        decay(channels<A, Rows>(factor, lane_));
    }
    template <class Factors>
        requires(!std::is_convertible_v<Factors, A const*>)
    __device__ void decay(Factors const& factors) {
        state_.rows([&](int r, index d, auto& s, A& normalizer) {
            A const a = factors(r, d);
#pragma unroll
            for (int i = 0; i < warp_columns; ++i) s[i] *= a;
            if (counts_) normalizer *= a;
        });
    }

    __device__ void combine(channels<A, Rows> const& x, A (&sums)[warp_columns]) {
        state_.rows([&](int r, index d, auto& s, A&) {
#pragma unroll
            for (int i = 0; i < warp_columns; ++i) sums[i] += x(r, d) * s[i];
        });
    }

    __device__ void solve(channels<A, Rows> const& k, A beta, A (&u)[warp_columns]) {
        A sums[warp_columns] = {};
        combine(k, sums);
        A const mine = sum_of_four(sums, lane_);
#pragma unroll
        for (int i = 0; i < warp_columns; ++i) {
            u[i] = beta * (u[i] - __shfl_sync(~0U, mine, i * (warp_size / warp_columns)));
        }
    }

    __device__ void read(channels<A, Rows> const& q, int t) {
        constexpr int lanes = warp_size / warp_columns;
        A sums[warp_columns] = {};
        combine(q, sums);
        A const mine = sum_of_four(sums, lane_);
        if (lane_ % lanes == 0) s_.o[t * block_columns + first_ + lane_ / lanes] = mine;
        if (!counts_) return;
        A sum = 0;
        state_.rows([&](int r, index d, auto&, A& normalizer) { sum += q(r, d) * normalizer; });
        sum = sum_of_warp(sum);
        if (lane_ == 0) s_.sums[t] = sum;
    }

    call<A> const& c_;
    stage<A> const& s_;
    slab<A, Rows>& state_;
    int first_, lane_;
    bool counts_, single_;
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
__global__ void __launch_bounds__(block_threads)
    recurrence(call<A> const __grid_constant__ c, generic_plan<A> const plan, index tiles) {
    extern __shared__ double2 shared[];
    index const tile = blockIdx.x % tiles, unit = blockIdx.x / tiles;
    location const where(c, unit / c.query_heads, unit % c.query_heads);
    index const column = tile * block_columns;
    A* const memory = plan.stages == nullptr ? reinterpret_cast<A*>(shared)
                                             : plan.stages + blockIdx.x * plan.stage_size;
    stage<A> const staged(memory, int(c.depth), plan.padded, int(c.gate_width), plan.batch);
    stager<A> stager(c, where, staged, column);

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
        for (index begin = 0; begin < where.length; begin += plan.batch) {
            index const left = where.length - begin;
            int const count = int(left < plan.batch ? left : plan.batch);
            stager.load(how, begin, count);
            for (int t = 0; t < count; ++t) walker.token(how, t);
            __syncthreads();
            if (how.read) {
                if (c.partial_sums != nullptr) {
                    join_sums(c, where, staged, how, begin, count, tiles, tile);
                }
                leave(c, where, staged, how, begin, count, column);
                __syncthreads();
            }
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
        // Without asking for more shared memory than every device gives, and so many tokens that
        // the loads of a batch take about as long as its products.
        constexpr index shared_bytes = 48 * 1024, most_tokens = 16, wide_tokens = 4;
        rows_ = depth <= 64 ? 2 : depth <= 128 ? 4 : depth <= 256 ? 8 : 0;
        padded_ = rows_ > 0 ? rows_ * warp_size : (depth + 3) / 4 * 4;
        index const one = stage<A>::elements(padded_, gates, 1) * index(sizeof(A));
        index const fixed = stage<A>::elements(padded_, gates, 0) * index(sizeof(A));
        index const fit = (shared_bytes - fixed) / std::max<index>(one - fixed, 1);
        shared_ = fit >= 1;
        batch_ = int(shared_ ? std::min(fit, most_tokens) : wide_tokens);
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
