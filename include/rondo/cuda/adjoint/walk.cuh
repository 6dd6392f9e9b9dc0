/// @file
/// The two walks of a plain `backward`, token by token. Forwards with the state S, which is all
/// that the gradients of queries need, dq_t = S_t d_num_t; then back with its gradient dS, which is
/// all that the written side needs, dk_t = dS_t u_t and du_t = dS_t^T k_t. No state is stored but
/// those that gradients of log decays are anchored at.
///
/// A block takes one query head and 32 columns of the state: a lane one of them, a warp an eighth
/// of the rows.
#pragma once

#include <rondo/cuda/adjoint/call.cuh>

namespace rondo::inline RONDO_ISA::cuda {

inline constexpr int walk_warps = 8, walk_threads = walk_warps * warp_size;
inline constexpr int walk_columns = warp_size;

/// Tokens that are staged together.
template <class A>
inline constexpr int walk_batch = sizeof(A) == sizeof(float) ? 8 : 4;

/// What a walk forwards is for.
enum class errand : unsigned char {
    readings,  // what queries read, which the division needs
    queries,   // their gradients; the delta rule's rests; the states to be anchored at
    keys       // the gradients of the delta rule's reading keys
};

/// The rows of a few tokens.
template <class A>
struct walk_stage {
    A *k, *q, *factor;  // [tokens, padded]
    A *y, *v;           // [tokens, columns]: what readers multiply the state with; values
    A* beta;
    A* part;  // [tokens, warps, columns]: sums over a warp's rows
    int padded;

    static __host__ __device__ index elements(index padded) {
        constexpr index tokens = walk_batch<A>;
        return tokens * (3 * padded + (2 + walk_warps) * walk_columns + 1);
    }
    __device__ walk_stage(A* memory, int width) : padded(width) {
        constexpr int tokens = walk_batch<A>;
        k = memory;
        q = k + tokens * padded;
        factor = q + tokens * padded;
        y = factor + tokens * padded;
        v = y + tokens * walk_columns;
        part = v + tokens * walk_columns;
        beta = part + tokens * walk_warps * walk_columns;
    }
};

/// How a walk is launched: stages and states too large for a block's own memory.
template <class A>
struct walk_plan {
    int padded;
    A* stages;  // [blocks, stage]
    A* states;  // [blocks, depth, columns]
};

/// The sum over the lanes of each of N values: lane l gets value l / (32 / N).
template <int N, class A>
__device__ inline A sum_of_each(A (&x)[N], int lane) {
    int step = warp_size / 2;
#pragma unroll
    for (int half = N / 2; half > 0; half /= 2) {
        bool const upper = lane & step;
#pragma unroll
        for (int i = 0; i < half; ++i) {
            A const away = upper ? x[i] : x[i + half];
            x[i] = (upper ? x[i + half] : x[i]) + __shfl_xor_sync(~0U, away, step);
        }
        step /= 2;
    }
#pragma unroll
    for (int rest = warp_size / N / 2; rest > 0; rest /= 2) {
        x[0] += __shfl_xor_sync(~0U, x[0], rest);
    }
    return x[0];
}

/// One block's walk; the state has `Rows` rows a warp in registers, or with 0 lies in memory.
template <class A, int Rows>
class adjoint_walker {
    static constexpr bool in_registers = Rows > 0;

public:
    __device__ adjoint_walker(adjoint_call<A> const& call, walk_plan<A> const& plan, char* shared)
        : a_(call),
          c_(call.c),
          tile_(blockIdx.x % a_.tiles),
          unit_(blockIdx.x / a_.tiles),
          at_(c_, unit_ / c_.query_heads, unit_ % c_.query_heads),
          s_(in_registers ? reinterpret_cast<A*>(shared)
                          : plan.stages + blockIdx.x * walk_stage<A>::elements(plan.padded),
             plan.padded),
          lane_(threadIdx.x % warp_size),
          warp_(threadIdx.x / warp_size),
          column_(tile_ * walk_columns + lane_),
          inside_(column_ < a_.columns) {
        if constexpr (!in_registers) memory_ = plan.states + blockIdx.x * c_.depth * walk_columns;
    }

    __device__ void forward(errand what) {
        what_ = what;
        for (int p = 0; p < c_.pass_count; ++p) {
            pass const& how = c_.passes[p];
            if (!how.keep) begin(c_.in);
            for (index place = 0; place < at_.length; place += walk_batch<A>) {
                index const left = at_.length - place;
                int const count = int(left < walk_batch<A> ? left : walk_batch<A>);
                put(how, place, count, false);
                for (int t = 0; t < count; ++t) advance(how, place + t, t);
                if (what == errand::readings && how.read) leave_columns(how, place, count, a_.num);
            }
        }
    }

    __device__ void back() {
        carried<A> const none{};
        begin(at_.query_head % c_.group == 0 ? a_.d_out : none);
        for (int p = c_.pass_count; p > 0; --p) {
            pass const& how = c_.passes[p - 1];
            for (index end = at_.length; end > 0;) {
                int const count = int(end < walk_batch<A> ? end : walk_batch<A>);
                end -= count;
                put(how, end, count, true);
                for (int t = count - 1; t >= 0; --t) retreat(how, end + t, t);
                if (how.write && !c_.delta) leave_columns(how, end, count, a_.by_value);
            }
        }
        if (a_.by_state == nullptr || !inside_) return;
        each([&](int, int d, A& s) {
            if (d < c_.depth) a_.by_state[(unit_ * c_.depth + d) * a_.columns + column_] = s;
        });
    }

private:
    template <class B>
    using carried = detail::carried<B>;

    /// visit(r, d, the state's entry) for the rows of this thread; in registers there may be more
    /// than the depth, which stay 0.
    template <class Visit>
    __device__ void each(Visit const& visit) {
        if constexpr (in_registers) {
#pragma unroll
            for (int r = 0; r < Rows; ++r) visit(r, warp_ * Rows + r, state_[r]);
        } else {
            for (int d = warp_; d < c_.depth; d += walk_warps) {
                visit(0, d, memory_[d * walk_columns + lane_]);
            }
        }
    }

    __device__ void begin(carried<A> const& from) {
        index const head = at_.state(c_);
        each([&](int, int d, A& s) {
            s = 0;
            if (d >= c_.depth || from.s == nullptr) return;
            if (column_ < c_.width) s = from.s[(head * c_.depth + d) * c_.width + column_];
            if (column_ == c_.width && inside_ && from.normalizer != nullptr) {
                s = from.normalizer[head * c_.depth + d];
            }
        });
    }

    /// Stages the places [begin, begin + count): each warp a token at a time.
    __device__ void put(pass const& how, index begin, int count, bool back) {
        __syncthreads();
        bool const queries = back || what_ == errand::readings;
        bool const known = c_.delta && (back || what_ == errand::keys);  // what was written
        for (int t = warp_; t < count; t += walk_warps) {
            index const row = a_.row(at_, token_at(how, begin + t, at_.length));
            index const key = a_.key(row, at_.head), query = a_.query(row, at_.query_head);
            for (int d = lane_; d < s_.padded; d += warp_size) {
                bool const real = d < c_.depth;
                index const gate = key * a_.gates() + (c_.per_channel ? d : 0);
                A k = real && how.write ? a_.k[key * c_.depth + d] : A(0);
                A q = real && how.read && queries ? a_.q[query * c_.depth + d] : A(0);
                if (c_.additive && real) {
                    if (how.write) k *= a_.weight[gate];
                    if (how.read && queries) q *= a_.share[gate];
                }
                s_.k[t * s_.padded + d] = k;
                s_.q[t * s_.padded + d] = q;
                s_.factor[t * s_.padded + d] = c_.gated && real && how.write ? a_.factor[gate] : 1;
            }
            index const at = query * a_.columns + column_;
            A y = 0, v = 0;
            if (inside_ && how.read && what_ == errand::queries) y = a_.d_num[at];
            if (inside_ && how.read && what_ == errand::keys) y = -a_.by_value[at];
            if (inside_ && how.write) v = known ? a_.rest[at] : a_.v[key * a_.columns + column_];
            s_.y[t * walk_columns + lane_] = y;
            s_.v[t * walk_columns + lane_] = v;
            if (lane_ == 0 && c_.delta) s_.beta[t] = a_.beta[key];
        }
        __syncthreads();
    }

    __device__ void advance(pass const& how, index place, int t) {
        A const *const k = s_.k + t * s_.padded, *const factor = s_.factor + t * s_.padded;
        bool const decays = c_.gated && how.write, strict = how.strict || what_ == errand::keys;
        A u = s_.v[t * walk_columns + lane_];
        if (decays && !c_.on_write) scale(factor);
        if (c_.delta && how.write) {
            if (what_ != errand::keys) {
                u -= sum_of_warps(combine(k), t);
                index const row = a_.row(at_, token_at(how, place, at_.length));
                bool const mine = warp_ == 0 && inside_;
                if (mine) a_.rest[a_.query(row, at_.query_head) * a_.columns + column_] = u;
            }
            u *= s_.beta[t];
        }
        if (how.read && strict) read(how, place, t);
        if (how.write) each([&](int, int d, A& s) { s += k[d] * u; });
        if (how.read && !strict) read(how, place, t);
        if (decays && c_.on_write) scale(factor);
        if (what_ == errand::queries && a_.saved != nullptr && anchored(place)) save(place);
    }

    __device__ void retreat(pass const& how, index place, int t) {
        A const *const k = s_.k + t * s_.padded, *const q = s_.q + t * s_.padded;
        A const* const factor = s_.factor + t * s_.padded;
        A const y = s_.y[t * walk_columns + lane_];
        bool const decays = c_.gated && how.write;
        if (a_.saved != nullptr && anchored(place)) anchor(place);
        if (decays && c_.on_write) scale(factor);
        auto const enter = [&] { each([&](int, int d, A& s) { s += q[d] * y; }); };
        if (how.read && !how.strict) enter();
        if (how.write) write_back(how, place, t, k);
        if (how.read && how.strict) enter();
        if (decays && !c_.on_write) scale(factor);
    }

    /// The gradients by what a token wrote.
    __device__ void write_back(pass const& how, index place, int t, A const* k) {
        index const row = a_.row(at_, token_at(how, place, at_.length));
        index const query = a_.query(row, at_.query_head);
        A const v = s_.v[t * walk_columns + lane_], u = c_.delta ? s_.beta[t] * v : v;
        leave_rows(part(a_.by_key) + query * c_.depth, u);
        A const sum = combine(k);
        if (!c_.delta) {
            s_.part[(t * walk_warps + warp_) * walk_columns + lane_] = sum;
            return;
        }
        A const d_u = sum_of_warps(sum, t), d_v = s_.beta[t] * d_u;
        each([&](int, int d, A& s) { s -= k[d] * d_v; });
        if (warp_ != 0) return;
        if (inside_) a_.by_value[query * a_.columns + column_] = d_v;
        A const product = sum_of_warp(d_u * v);
        if (lane_ == 0) a_.by_beta[tile_ * a_.tokens * c_.query_heads + query] = product;
    }

    __device__ void scale(A const* factor) {
        each([&](int, int d, A& s) { s *= factor[d]; });
    }
    __device__ A combine(A const* x) {
        A sum = 0;
        each([&](int, int d, A& s) { sum += x[d] * s; });
        return sum;
    }

    /// A tile's part of an array [tile][token, query head, depth].
    __device__ A* part(A* all) const { return all + tile_ * a_.tokens * c_.query_heads * c_.depth; }

    __device__ void read(pass const& how, index place, int t) {
        if (what_ == errand::readings) {
            s_.part[(t * walk_warps + warp_) * walk_columns + lane_] =
                combine(s_.q + t * s_.padded);
            return;
        }
        A* const to = what_ == errand::keys ? a_.by_reading_key : a_.by_query;
        index const row = a_.row(at_, token_at(how, place, at_.length));
        leave_rows(part(to) + a_.query(row, at_.query_head) * c_.depth,
                   s_.y[t * walk_columns + lane_]);
    }

    /// to(d) = sum over the columns of S(d, column) factor(column)
    __device__ void leave_rows(A* to, A factor) {
        leave_products(to, [&](int, A s) { return s * factor; });
    }
    template <class Product>
    __device__ void leave_products(A* to, Product const& product) {
        if constexpr (in_registers) {
            A x[Rows];
            each([&](int r, int d, A& s) { x[r] = product(d, s); });
            A const sum = sum_of_each(x, lane_);
            constexpr int lanes = warp_size / Rows;
            int const d = warp_ * Rows + lane_ / lanes;
            if (lane_ % lanes == 0 && d < c_.depth) to[d] = sum;
        } else {
            each([&](int, int d, A& s) {
                A const sum = sum_of_warp(product(d, s));
                if (lane_ == 0) to[d] = sum;
            });
        }
    }

    /// The sum over all rows of a column, in every warp. Two buffers take turns: one meeting of the
    /// block a token is enough.
    __device__ A sum_of_warps(A mine, int t) {
        A* const buffer = s_.part + t % 2 * walk_warps * walk_columns;
        buffer[warp_ * walk_columns + lane_] = mine;
        __syncthreads();
        A sum = 0;
#pragma unroll
        for (int w = 0; w < walk_warps; ++w) sum += buffer[w * walk_columns + lane_];
        return sum;
    }

    /// Leaves the sums over rows of the staged tokens.
    __device__ void leave_columns(pass const& how, index begin, int count, A* to) {
        __syncthreads();
        for (int t = warp_; t < count && inside_; t += walk_warps) {
            index const row = a_.row(at_, token_at(how, begin + t, at_.length));
            A sum = 0;
            for (int w = 0; w < walk_warps; ++w) {
                sum += s_.part[(t * walk_warps + w) * walk_columns + lane_];
            }
            A& left = to[a_.query(row, at_.query_head) * a_.columns + column_];
            bool const more = to == a_.num && a_.add;
            left = more ? left + sum : sum;
        }
    }

    __device__ bool anchored(index place) const {
        return (place + 1) % anchor_step == 0 || place + 1 == at_.length;
    }
    __device__ A* saved(index place, int d) const {
        index const slot = unit_ * a_.slots + place / anchor_step;
        return a_.saved + (slot * c_.depth + d) * a_.columns + column_;
    }
    __device__ void save(index place) {
        each([&](int, int d, A& s) {
            if (inside_ && d < c_.depth) *saved(place, d) = s;
        });
    }
    /// What reaches from the places before to those behind, by row of the state.
    __device__ void anchor(index place) {
        index const units = c_.sequences * c_.query_heads;
        index const slot = (tile_ * units + unit_) * a_.slots + place / anchor_step;
        leave_products(a_.anchors + slot * c_.depth, [&](int d, A s) {
            return inside_ && d < c_.depth ? s * *saved(place, d) : A(0);
        });
    }

    adjoint_call<A> const& a_;
    call<A> const& c_;
    index tile_, unit_;
    location at_;
    walk_stage<A> s_;
    int lane_, warp_;
    index column_;
    bool inside_;
    errand what_ = errand::queries;
    A state_[in_registers ? Rows : 1];
    A* memory_ = nullptr;
};

template <class A, int Rows>
__global__ void __launch_bounds__(walk_threads, 2)
    walk_forward(adjoint_call<A> const __grid_constant__ a, walk_plan<A> const plan, errand what) {
    extern __shared__ double2 shared[];
    adjoint_walker<A, Rows>(a, plan, reinterpret_cast<char*>(shared)).forward(what);
}

template <class A, int Rows>
__global__ void __launch_bounds__(walk_threads, 2)
    walk_back(adjoint_call<A> const __grid_constant__ a, walk_plan<A> const plan) {
    extern __shared__ double2 shared[];
    adjoint_walker<A, Rows>(a, plan, reinterpret_cast<char*>(shared)).back();
}

}  // namespace rondo::inline RONDO_ISA::cuda
