/// @file
/// A block that makes the gradients of a chunk by channel: where it is, and its shared memory.
#pragma once

#include <rondo/cuda/adjoint/channel_shape.cuh>
#include <rondo/cuda/chunk_slots.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// Its warps are twins: four of queries, which look back in time, four of keys, which look ahead;
/// in the order in which a warp looks, both do the same.
template <class Shape>
class channel_block {
protected:
    using T = typename Shape::element_type;
    using slice_tile = typename Shape::slice_tile;
    using width_tile = typename Shape::width_tile;
    static constexpr int piece = Shape::piece, pieces = Shape::pieces;

public:
    __device__ channel_block(channel_call const& what, location const& at, int number, int slice,
                             char* shared)
        : w_(what),
          c_(what.c),
          at_(at),
          number_(number),
          first_(number * Shape::rows),
          count_(int(at.length) - first_ < Shape::rows ? int(at.length) - first_ : Shape::rows),
          channel_(slice * Shape::slice),
          lane_(threadIdx.x % warp_size),
          // From a shuffle, the compiler knows that a warp agrees on it.
          warp_(__shfl_sync(~0U, int(threadIdx.x) / warp_size, 0)),
          keys_(warp_ >= pieces),
          piece_(warp_ % pieces),
          base_(shared_address(shared)),
          shared_(shared),
          notes_(*reinterpret_cast<typename Shape::notes*>(shared + Shape::tile_bytes)) {
        // A thread finds one tensor's rows: what all threads found anew would be most of their
        // instructions.
        if (threadIdx.x < channel_tensors) {
            tensor const& x = w_.x[threadIdx.x];
            bool const back = c_.passes[0].reversed;
            index const token = back ? at_.length - 1 - first_ : first_;
            notes_.rows[threadIdx.x] = {at_.key_side(x, token), back ? -int(x.time) : int(x.time)};
        }
        __syncthreads();
    }

protected:
    __device__ slice_tile q() const { return {base_}; }
    __device__ slice_tile k() const { return {base_ + Shape::slice_bytes}; }
    __device__ slice_tile gate() const { return {base_ + 2 * Shape::slice_bytes}; }
    /// Rows weighed to their piece's edge, one tile a piece.
    __device__ slice_tile weighed(bool of_keys, int number) const {
        int const at = of_keys ? number : pieces - 1 + number;
        return {base_ + unsigned(3 * Shape::slice_bytes + at * Shape::piece_bytes)};
    }
    __device__ width_tile v() const {
        return {base_ + 3 * Shape::slice_bytes + Shape::weighed_bytes};
    }
    __device__ width_tile d_o() const { return {v().base + Shape::width_bytes}; }
    __device__ slice_tile s() const { return {d_o().base + Shape::width_bytes}; }
    __device__ slice_tile d_s() const { return {s().base + Shape::state_bytes}; }
    /// Of values, where there is no dS.
    __device__ width_tile rests() const { return {d_s().base}; }

    /// This lane's channels of a piece's rows in a tile, in the order in which its warp looks: one
    /// code for both kinds of warps, more of it would not stay where instructions are cached.
    struct looked_rows {
        unsigned first;
        int step;

        __device__ unsigned get(int m) const { return at(m).get(0); }
        __device__ void set(int m, unsigned x) const { at(m).set(0, x); }

    private:
        __device__ typename slice_tile::column at(int m) const {
            return {(first ^ unsigned((m & 7) << 4)) + unsigned(m * step)};
        }
    };
    /// Of the piece whose first row is `row`.
    __device__ looked_rows looked(slice_tile const& x, int row) const {
        return {x.address(row + looked_row(0), lane_), way() * slice_tile::row_bytes};
    }
    __device__ int looked_row(int m) const { return keys_ ? piece - 1 - m : m; }
    __device__ int way() const { return keys_ ? -1 : 1; }

    // Later: a warp's sums by pairs of channels, [row, pair], and its piece's own A, [row, column]
    // in the order in which it looks.
    __device__ float2* sums_of(int warp) const {
        int const tiles = 3 * Shape::slice_bytes + Shape::weighed_bytes;
        return reinterpret_cast<float2*>(shared_ + tiles + warp * Shape::sum_bytes);
    }
    static __device__ int place(int row, int pair) {
        return row * Shape::pairs + (pair ^ (row & 3) << 2);
    }
    __device__ typename Shape::joined& joined() const {
        return *reinterpret_cast<typename Shape::joined*>(shared_ + 3 * Shape::slice_bytes);
    }
    __device__ float* own_scores() const {
        return reinterpret_cast<float*>(shared_ + 3 * Shape::slice_bytes +
                                        warp_ * Shape::own_bytes);
    }

    /// Decays of a pair of channels; a reset is exact.
    static __device__ float2 decays(unsigned gates) {
        float2 const g = unpack<T>(gates);
        return {power_of_2(log2_of_e * g.x), power_of_2(log2_of_e * g.y)};
    }
    /// A pair of the chunk's rows, weighed.
    static __device__ unsigned weigh(unsigned x, float2 y) {
        float2 const both = unpack<T>(x);
        return pack<T>(both.x * y.x, both.y * y.y);
    }

    /// Rows from a channel on.
    __device__ channel_rows rows_of(channel_tensor x, int channel) const {
        channel_rows const rows = notes_.rows[x];
        return {rows.first + channel * 2, rows.step};
    }

    /// Whether there is a dS; launches of a delta update with one add to what those without left.
    __device__ bool behind() const { return !Shape::delta || w_.d_states != nullptr; }

    /// Whether its products are those of what is written and the gradients of that.
    __device__ bool leaves_beta() const {
        return Shape::delta && channel_ == 0 && w_.x[to_beta].data != nullptr;
    }

    __device__ void load() const {
        int const channels = int(c_.depth) - channel_, width = int(c_.width);
        load_rows(q(), rows_of(of_q, channel_), channels, 0, count_);
        load_rows(k(), rows_of(of_k, channel_), channels, 0, count_);
        // By place: the one before has the gate of a token where that counts for what is written.
        int const shift = c_.passes[0].reversed ? -w_.gate_shift : w_.gate_shift;
        channel_rows gates = rows_of(of_gate, channel_);
        gates.first += index(shift) * gates.step;
        load_rows(gate(), gates, channels, first_ + shift < 0 ? 1 : 0, count_);
        load_rows(v(), rows_of(of_v, 0), width, 0, count_);
        load_rows(d_o(), rows_of(of_d_o, 0), width, 0, count_);
        load_state(s(), w_.states);
        if (behind()) {
            load_state(d_s(), w_.d_states);
        } else if (leaves_beta()) {
            load_rows(rests(), rows_of(of_rest, 0), width, 0, count_);
        }
        if (warp_ != 0) return;
        bool const known =
            !Shape::delta && first_ + count_ + shift < at_.length && 2 * lane_ < channels;
        notes_.last[lane_] = known ? reinterpret_cast<unsigned const*>(gates[count_])[lane_] : 0;
    }

private:
    /// Asks for the rows [begin, end) of the chunk; others are zeros.
    template <int Columns>
    __device__ void load_rows(tile<T, Columns> const& to, channel_rows const& from, int channels,
                              int begin, int end) const {
        constexpr int parts = Columns / 8, step = Shape::threads / parts;
        int const part = threadIdx.x % parts, first = threadIdx.x / parts;
        auto const* const source = from.first + 16 * part;
        unsigned const target = to.at(first, part);
        bool const inside = 8 * part < channels;
#pragma unroll
        for (int i = 0; i < Shape::rows / step; ++i) {
            int const row = first + i * step;
            bool const known = inside && row >= begin && row < end;
            copy_ahead(target + unsigned(i * step * Columns * 2),
                       source + index(known ? row : begin) * from.step, known);
        }
    }
    __device__ void load_state(slice_tile const& to, std::byte const* from) const {
        constexpr int parts = Shape::slice / 8, step = Shape::threads / parts;
        int const part = threadIdx.x % parts, first = threadIdx.x / parts;
        index const slot =
            at_.head * w_.slots + chunk_slots::first(c_, at_.sequence, Shape::rows) + number_;
        auto const* const source =
            from + (slot * Shape::width + first) * w_.row_bytes + channel_ * 2 + 16 * part;
        unsigned const target = to.at(first, part);
#pragma unroll
        for (int i = 0; i < Shape::width / step; ++i) {
            copy_ahead(target + unsigned(i * step * Shape::slice * 2),
                       source + i * step * w_.row_bytes, true);
        }
    }

protected:
    channel_call const& w_;
    call<float> const& c_;
    location const& at_;
    int number_, first_, count_, channel_;
    int lane_, warp_;
    bool keys_;
    int piece_;
    unsigned base_;
    char* shared_;
    typename Shape::notes& notes_;
};

}  // namespace rondo::inline RONDO_ISA::cuda
