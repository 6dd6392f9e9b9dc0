/// @file
/// Tokens turned by their places: pairs of channels by threads of their own where each is turned
/// alone, whole rows by warps where a matrix, a permutation or a feature map joins their channels.
///
/// Floor: x and y once through memory. An angle is computed once for all heads and sequences that
/// a thread takes: with its reduction in double it costs about as much as 20 elements.
#pragma once

#include <rondo/cuda/lines.cuh>
#include <rondo/cuda/places.cuh>

namespace rondo::inline RONDO_ISA::cuda {

using detail::basis_kind;

/// A checked call as kernels take it. Rows are [batch, head, token]; with offsets a sequence is a
/// part of the only row of tokens. On the way back x and y are the gradients of y and of x.
template <class A>
struct turn_plan {
    turn_kind kind;
    tensor x, y;
    index batch, heads, length, channels;
    standing places;
    angle_source<A> angles;
    bool shared;  // all heads turn alike
    // The heads of a sequence follow each other, where that is their order in memory; else, the
    // sequences of a head, whose angles are the same.
    bool heads_inside;
    bool back = false;
    feature_kind feature = feature_kind::identity;
    index const* offsets = nullptr;
    index sequences = 0;
    basis_kind basis = basis_kind::identity;
    A const* vector = nullptr;         // of Householder, [head, channel]
    int const* basis_order = nullptr;  // [head, channel]
    A const* matrix = nullptr;         // P transposed, behind it P where a call goes back
    int const* cycles = nullptr;       // of a permutation, [head, 4, block]

    __device__ int inner() const { return int(heads_inside ? heads : batch); }
    __device__ bool leftover() const {
        return channels % 2 == 1 && kind != turn_kind::doubled && kind != turn_kind::permuted;
    }
    /// Where a token stands in its sequence.
    __device__ index place(index token) const {
        if (offsets == nullptr) return token;
        index low = 0, high = sequences;  // offsets[low] <= token < offsets[high]
        while (high - low > 1) {
            index const middle = (low + high) / 2;
            (offsets[middle] <= token ? low : high) = middle;
        }
        return token - offsets[low];
    }
    __device__ std::byte* row(tensor const& of, index b, index h, index t) const {
        return of.data + b * of.batch + h * of.head + t * of.time;
    }
};

/// The channels that angle i turns: of x `near`, and `far` where x has it; of y the same.
struct turned_pair {
    index near, far;
    bool last, from_both, to_both;  // last: a channel without a partner

    template <class A>
    __device__ turned_pair(turn_plan<A> const& c, index i) {
        bool const split = c.kind == turn_kind::half_split, doubled = c.kind == turn_kind::doubled;
        last = i == c.angles.count;
        near = split || doubled ? i : 2 * i;
        far = split ? i + c.channels / 2 : doubled ? i + c.channels : 2 * i + 1;
        from_both = !last && (!doubled || c.back);
        to_both = !last && (!doubled || !c.back);
    }
};

/// Threads of a block, and rows under way at once: of a thread's pairs, and of a warp.
inline constexpr int turn_threads = 256, pair_rows = 8, turn_rows = 4;

/// Rows of a tensor one after the other, for one token: heads of a sequence or sequences of a head,
/// whichever lie closer, so that neighbours in memory follow each other.
class turn_walk {
public:
    template <class A>
    __device__ turn_walk(turn_plan<A> const& c, tensor const& x, index token, index first)
        : inner_(c.heads_inside ? x.head : x.batch),
          outer_(c.heads_inside ? x.batch : x.head),
          count_(c.inner()),
          left_(count_ - int(first % count_)) {
        first_ = x.data + token * x.time + first / count_ * outer_;
        now_ = first_ + first % count_ * inner_;
    }

    __device__ std::byte* next() {
        std::byte* const result = now_;
        now_ += inner_;
        if (--left_ == 0) {
            first_ += outer_;
            now_ = first_;
            left_ = count_;
        }
        return result;
    }

private:
    std::byte *first_, *now_;
    index inner_, outer_;
    int count_, left_;
};

/// A thread: one angle of one token, for the heads and sequences [first, last) of its group.
/// `Words`: the two channels of a pair are one word of 16-bit values, in x and in y.
template <class A, class Elements, bool Words>
__global__ void __launch_bounds__(turn_threads)
    turn_pairs(turn_plan<A> const __grid_constant__ c, index each) {
    element const x_kind = Elements::of(c.x.kind), y_kind = Elements::of(c.y.kind);
    index const slots = c.angles.count + (c.leftover() ? 1 : 0);
    index const number = index(blockIdx.x) * turn_threads + threadIdx.x;
    if (number >= c.length * slots) return;
    index const token = number / slots, i = number % slots, place = c.place(token);
    turned_pair const pair(c, i);
    index const x_at[2] = {pair.near * c.x.channel, pair.far * c.x.channel};
    index const y_at[2] = {pair.near * c.y.channel, pair.far * c.y.channel};
    index const first = index(blockIdx.y) * each, rows = c.batch * c.heads;
    int const count = int((first + each < rows ? first + each : rows) - first);
    int known = -1, number_of_row = int(first);
    turn_walk x(c, c.x, token, first), y(c, c.y, token, first);
    turn<A> by{A(1), A(0)};
    for (int r = 0; r < count; r += pair_rows) {
        raw_element<A> raw[pair_rows][2];
#pragma unroll
        for (int j = 0; j < pair_rows; ++j) {
            if (r + j >= count) continue;
            std::byte const* const row = x.next();
            if constexpr (Words) {
                load_raw<A, 2>(raw[j], row + x_at[0], x_kind);
            } else {
                raw[j][0] = load_raw<A>(row + x_at[0], x_kind);
                if (pair.from_both) raw[j][1] = load_raw<A>(row + x_at[1], x_kind);
            }
        }
#pragma unroll
        for (int j = 0; j < pair_rows; ++j) {
            if (r + j >= count) continue;
            int const table = c.shared ? 0 : (number_of_row + j) / c.inner();
            if (table != known && !pair.last) {
                by = turn_of(c.places, c.angles, table, place, i);
                known = table;
            }
            bool const both = Words || pair.from_both;
            A values[2] = {widen<A>(raw[j][0], x_kind), both ? widen<A>(raw[j][1], x_kind) : A(0)};
            rotate(by, values[0], values[1]);
            std::byte* const row = y.next();
            if constexpr (Words) {
                store<A, 2>(row + y_at[0], y_kind, values);
            } else {
                store<A>(row + y_at[0], y_kind, values[0]);
                if (pair.to_both) store<A>(row + y_at[1], y_kind, values[1]);
            }
        }
        number_of_row += pair_rows;
    }
}

/// P x of a warp's rows, or with `back` P^T x: [row, channel] in memory of its own.
template <class A>
__device__ inline void apply_basis(turn_plan<A> const& c, A const* x, A* y, index const* heads,
                                   int count, int lane, bool back = false) {
    index const D = c.channels;
    if (c.basis == basis_kind::permutation) {
        for (int j = 0; j < count; ++j) {
            for (index d = lane; d < D; d += warp_size) {
                index const other = c.basis_order[heads[j] * D + d];
                y[j * D + (back ? other : d)] = x[j * D + (back ? d : other)];
            }
        }
    } else if (c.basis == basis_kind::householder) {
        for (int j = 0; j < count; ++j) {
            A const* const v = c.vector + heads[j] * D;
            A along = 0, square = 0;
            for (index d = lane; d < D; d += warp_size) {
                along += v[d] * x[j * D + d];
                square += v[d] * v[d];
            }
            along = sum_of_warp(along), square = sum_of_warp(square);
            A const factor = square > A(0) ? A(-2) * along / square : A(0);
            for (index d = lane; d < D; d += warp_size) y[j * D + d] = x[j * D + d] + factor * v[d];
        }
    } else {
        A const* const matrix = back ? c.matrix + D * D : c.matrix;
        for (index e = lane; e < D; e += warp_size) {
            A sums[turn_rows] = {};
            for (index d = 0; d < D; ++d) {  // one entry serves all rows
                A const entry = matrix[d * D + e];
#pragma unroll
                for (int j = 0; j < turn_rows; ++j) sums[j] += entry * x[j * D + d];
            }
            for (int j = 0; j < count; ++j) y[j * D + e] = sums[j];
        }
    }
}

/// A warp: rows one after the other, `turn_rows` at once, in shared memory or, where they are too
/// wide for it, in device memory.
template <class A>
__global__ void __launch_bounds__(turn_threads)
    turn_whole_rows(turn_plan<A> const __grid_constant__ c, A* wide) {
    extern __shared__ double2 turn_shared[];
    int const lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
    int const warps = blockDim.x / warp_size;
    index const D = c.channels, unit = index(blockIdx.x) * warps + warp;
    A* x = reinterpret_cast<A*>(turn_shared) + index(warp) * 2 * turn_rows * D;
    if (wide != nullptr) x = wide + unit * 2 * turn_rows * D;
    A* const mapped_rows = x + turn_rows * D;
    index const rows = c.batch * c.heads * c.length, all = index(gridDim.x) * warps;
    bool const trivial = c.basis == basis_kind::identity;
    // Rows that follow each other are heads of a token: neighbours in the usual order of memory.
    for (index r = unit * turn_rows; r < rows; r += all * turn_rows) {
        int const count = rows - r < turn_rows ? int(rows - r) : turn_rows;
        index heads[turn_rows];
        __syncwarp();
        for (int j = 0; j < turn_rows; ++j) {
            index const row = j < count ? r + j : r;
            heads[j] = row % c.heads;
            index const token = row / c.heads % c.length, b = row / c.heads / c.length;
            load_mapped(x + j * D, c.row(c.x, b, heads[j], token), c.x, int(D), c.feature, lane);
        }
        __syncwarp();
        if (!trivial) apply_basis(c, x, mapped_rows, heads, count, lane);
        __syncwarp();
        for (int j = 0; j < count; ++j) {
            index const token = (r + j) / c.heads % c.length, b = (r + j) / c.heads / c.length;
            index const place = c.place(token);
            bool const still = c.places.alone(place);
            // Tokens left alone are left alone by P, too.
            A const* const from = (trivial || still ? x : mapped_rows) + j * D;
            std::byte* const y = c.row(c.y, b, heads[j], token);
            if (c.kind == turn_kind::permuted) {
                index const block = D / c.places.axes;
                int const* const cycle = c.cycles + (c.shared ? 0 : heads[j]) * 4 * block;
                for (index d = lane; d < D; d += warp_size) {
                    int const axis = int(d / block), i = int(d % block);
                    int const start = cycle[block + i], length = cycle[2 * block + i];
                    index const step = still ? 0 : c.places.along(place, axis);
                    index const at = start + (cycle[3 * block + i] + step) % length;
                    store<A>(y + d * c.y.channel, c.y.kind, from[axis * block + cycle[at]]);
                }
                continue;
            }
            index const slots = c.angles.count + (c.leftover() ? 1 : 0);
            for (index i = lane; i < slots; i += warp_size) {
                turned_pair const pair(c, i);
                A a = from[pair.near], b_value = pair.from_both ? from[pair.far] : A(0);
                if (!pair.last) {
                    rotate(turn_of(c.places, c.angles, c.shared ? 0 : heads[j], place, i), a,
                           b_value);
                }
                store<A>(y + pair.near * c.y.channel, c.y.kind, a);
                if (pair.to_both) store<A>(y + pair.far * c.y.channel, c.y.kind, b_value);
            }
        }
    }
}

/// Whether pairs of 16-bit channels are words of memory.
inline bool in_words(tensor const& x) {
    auto const whole = [](index stride) { return stride % 4 == 0; };
    return x.channel == 2 && whole(x.batch) && whole(x.head) && whole(x.time) &&
           whole(index(reinterpret_cast<std::intptr_t>(x.data)));
}

/// Launches one of the two.
template <class A>
class turn_launch {
public:
    explicit turn_launch(turn_plan<A> const& c) : plan_(c) {
        whole_rows_ = c.basis != basis_kind::identity || c.kind == turn_kind::permuted ||
                      c.feature != feature_kind::identity || c.x.ones;
        if (!whole_rows_) return;
        constexpr index shared_bytes = 48 * 1024, most = turn_threads / warp_size;
        index const each = 2 * turn_rows * std::max<index>(c.channels, 1) * index(sizeof(A));
        index const fit = std::min(shared_bytes / each, most);
        warps_ = int(std::max<index>(fit, 1));
        shared_ = fit > 0 ? std::size_t(warps_ * each) : 0;
        index const rows = c.batch * c.heads * c.length;
        index const units = (rows + turn_rows * warps_ - 1) / (turn_rows * warps_);
        constexpr index many = 4096, few = 256;
        blocks_ = unsigned(std::clamp<index>(units, 1, fit > 0 ? many : few));
        wide_ = fit > 0 ? 0 : std::size_t(index(blocks_) * warps_ * each);
    }

    /// Device memory that `operator()` is given.
    std::size_t scratch_bytes() const { return wide_; }

    void operator()(cudaStream_t stream, void* memory) const {
        turn_plan<A> const& c = plan_;
        if (c.batch * c.heads * c.length * c.channels == 0) return;
        if (whole_rows_) {
            turn_whole_rows<A><<<blocks_, unsigned(warps_ * warp_size), shared_, stream>>>(
                c, wide_ > 0 ? static_cast<A*>(memory) : nullptr);
            return expect("launch of turn_whole_rows", cudaGetLastError());
        }
        index const rows = c.batch * c.heads;
        index const across =
            (c.length * (c.angles.count + c.channels % 2) + turn_threads - 1) / turn_threads;
        // As many rows a thread as leave the chip full.
        constexpr index enough = 4096, most_groups = 65535;
        index const groups = std::clamp<index>((enough + across - 1) / across, 1,
                                               std::max<index>(rows / pair_rows, 1));
        index const each = std::max((rows + groups - 1) / groups, rows / most_groups + 1);
        dim3 const grid(unsigned(across), unsigned((rows + each - 1) / each));
        with_elements<A>({c.x.kind, c.y.kind}, [&](auto elements) {
            using Elements = decltype(elements);
            bool const words = c.kind == turn_kind::interleaved && c.channels % 2 == 0 &&
                               in_words(c.x) && in_words(c.y);
            if constexpr (Elements::narrow) {
                if (words) {
                    turn_pairs<A, Elements, true><<<grid, turn_threads, 0, stream>>>(c, each);
                    return;
                }
            }
            turn_pairs<A, Elements, false><<<grid, turn_threads, 0, stream>>>(c, each);
        });
        expect("launch of turn_pairs", cudaGetLastError());
    }

private:
    turn_plan<A> plan_;
    bool whole_rows_;
    int warps_ = 0;
    unsigned blocks_ = 0;
    std::size_t shared_ = 0, wide_ = 0;
};

}  // namespace rondo::inline RONDO_ISA::cuda
