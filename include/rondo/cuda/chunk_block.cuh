/// @file
/// A block of the chunkwise kernel: where it is, its shared memory, and how tiles get there.
#pragma once

#include <rondo/cuda/chunk_shape.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// The tokens of a chunk: places [begin, begin + count) of a pass.
struct chunk_span {
    int begin, count;
};

/// The rows of one head by token. 32-bit numbers make an address one instruction; calls with
/// longer sequences or wider steps go elsewhere.
struct head_rows {
    std::byte* first;
    int step;

    __device__ std::byte* operator[](int token) const { return first + wide(token) * step; }

private:
    static __device__ long long wide(int x) { return x; }
};

/// The order in which a pass meets its tokens, noted two chunks ahead: the loads of a chunk then
/// find theirs in shared memory, whether they follow time or a path.
template <class Shape>
class walk_order {
public:
    /// The first chunk may be `missing` tokens short.
    __device__ walk_order(chunk_notes<Shape>& notes, pass const& how, int first, int last,
                          int length, int missing)
        : notes_(notes),
          how_(how),
          first_(first),
          last_(last),
          length_(length),
          missing_(missing) {}

    /// The places of a chunk; none beyond the end.
    __device__ chunk_span span(int number) const {
        int const begin = begin_of(number), left = last_ - begin;
        int const room = Shape::rows - (number == 0 ? missing() : 0);
        return {begin, left < 0 ? 0 : left < room ? left : room};
    }

    __device__ void note(int number) {
        for (int row = threadIdx.x; row < Shape::rows; row += Shape::threads) {
            // Rows beyond the end are loaded as zeros, from an address that exists.
            int const place = begin_of(number) + row;
            int const known = place < last_ ? place : last_ - 1;
            int const walked = how_.reversed ? length_ - 1 - known : known;
            notes_.token[number % 3][row] =
                how_.order == nullptr ? walked : int(how_.order[walked]);
        }
    }
    __device__ int const* tokens(int number) const { return notes_.token[number % 3]; }

private:
    __device__ int missing() const { return Shape::marks ? missing_ : 0; }
    __device__ int begin_of(int number) const {
        return first_ + number * Shape::rows - (number == 0 ? 0 : missing());
    }

    chunk_notes<Shape>& notes_;
    pass const& how_;
    int first_, last_, length_, missing_;
};

template <class Shape>
struct chunk_block {
    using element_type = typename Shape::element_type;
    using notes_type = chunk_notes<Shape>;

    call<float> const& c;
    location where;
    index column, tiles;  // the block's first column, and how many blocks share the columns
    int lane, warp;
    unsigned base;
    notes_type& notes;
    head_rows q_rows, k_rows, v_rows, gate_rows, beta_rows, o_rows;

    __device__ chunk_block(call<float> const& what, location const& at, index first, index count,
                           char* shared)
        : c(what),
          where(at),
          column(first),
          tiles(count),
          lane(threadIdx.x % warp_size),
          warp(threadIdx.x / warp_size),
          base(shared_address(shared)),
          notes(*reinterpret_cast<notes_type*>(shared + Shape::tile_bytes(what.k.ones))),
          q_rows{at.query_side(what.q, 0), int(what.q.time)},
          k_rows{at.key_side(what.k, 0), int(what.k.time)},
          v_rows{at.key_side(what.v, 0) + first * 2, int(what.v.time)},
          gate_rows{at.key_side(what.gate, 0), int(what.gate.time)},
          beta_rows{at.key_side(what.beta, 0), int(what.beta.time)},
          o_rows{at.query_side(what.o, 0) + first * 2, int(what.o.time)} {}

    using depth_tile = typename Shape::depth_tile;
    using width_tile = typename Shape::width_tile;
    __device__ depth_tile q(int stage) const {
        return {base + unsigned(stage * Shape::stage_bytes_of(c.k.ones))};
    }
    __device__ width_tile v(int stage) const { return {q(stage).base + Shape::depth_bytes}; }
    __device__ depth_tile gate(int stage) const { return {v(stage).base + Shape::width_bytes}; }
    /// Behind the gate, if there is one. The weights of the additive decay are the keys when those
    /// are ones.
    __device__ depth_tile k(int stage) const {
        bool const own = Shape::per_channel && !(Shape::weigh == weighing::additive && c.k.ones);
        return {gate(stage).base + (own ? Shape::depth_bytes : 0)};
    }
    /// What a delta update solves a chunk with, behind the keys.
    __device__ typename Shape::score_tile solved(int stage) const {
        return {k(stage).base + Shape::depth_bytes};
    }
    /// What reads the state.
    __device__ depth_tile readers(int stage) const {
        return Shape::weigh == weighing::channel ? gate(stage) : q(stage);
    }
    __device__ typename Shape::score_tile scores() const {
        return {base + 2 * Shape::stage_bytes_of(c.k.ones)};
    }
    /// The keys that read the state, for a delta update.
    __device__ depth_tile key_readers(int stage) const {
        return Shape::reads_keys ? depth_tile{scores().base + Shape::score_bytes} : k(stage);
    }

    /// Asks for the tiles of a chunk.
    __device__ void load(int stage, pass const& how, int const* tokens, int count) const {
        int const depth = int(c.depth);
        if (how.read) load(q(stage), q_rows, depth, tokens, count);
        if (!how.write) return;
        if (!c.k.ones) load(k(stage), k_rows, depth, tokens, count);
        load(v(stage), v_rows, int(c.width - column), tokens, count);
        if constexpr (Shape::per_channel) {
            load(gate(stage), gate_rows, depth, tokens, count, c.gate_shift);
        }
    }

    /// Asks for rows of 64 values that lie one after the other.
    __device__ void load_solved(int stage, element_type const* from) const {
        constexpr int pieces = Shape::rows / 8;
        auto const* const source = reinterpret_cast<std::byte const*>(from);
        for (int i = threadIdx.x; i < Shape::rows * pieces; i += Shape::threads) {
            copy_ahead(solved(stage).at(i / pieces, i % pieces), source + i * 16, true);
        }
    }

    /// Asks for what earlier passes left of a chunk's outputs, as far as the second cache.
    __device__ void expect_partial(int const* tokens, int count) const {
        constexpr int line = 128 / int(sizeof(float)), lines = Shape::width / line;
        static_assert(Shape::rows * lines == Shape::threads);
        int const row = threadIdx.x / lines;
        index const at = column + threadIdx.x % lines * line;
        if (row >= count || at >= c.width) return;
        prefetch(c.partial_rows + where.partial(c, tokens[row]) * c.width + at);
    }

    /// A key of ones is in shared memory once and for all.
    __device__ void fill_ones() const {
        if (!c.k.ones || Shape::per_channel) return;
        unsigned const ones = pack<element_type>(1, 1);
        for (int i = threadIdx.x; i < Shape::rows * Shape::depth / 2; i += Shape::threads) {
            int const row = i / (Shape::depth / 2), pair = i % (Shape::depth / 2);
            k(0).set(row, pair, ones);
            k(1).set(row, pair, ones);
        }
    }

    /// Maps the queries or keys of a chunk; channels beyond the depth stay 0.
    __device__ void map(depth_tile const& x) const {
        constexpr int pairs = Shape::depth / 2 / warp_size;
        for (int row = warp; row < Shape::rows; row += Shape::warps) {
            float2 values[pairs];
            float squares = 0;
#pragma unroll
            for (int i = 0; i < pairs; ++i) {
                int const pair = lane + i * warp_size;
                float2 const raw = unpack<element_type>(x.get(row, pair));
                bool const inside = 2 * pair < c.depth;
                values[i].x = inside ? mapped(c.feature, raw.x) : 0;
                values[i].y = inside ? mapped(c.feature, raw.y) : 0;
                squares += values[i].x * values[i].x + values[i].y * values[i].y;
            }
            float const unit =
                c.feature == feature_kind::silu_half_unit ? rsqrtf(sum_of_warp(squares)) : 1;
#pragma unroll
            for (int i = 0; i < pairs; ++i) {
                x.set(row, lane + i * warp_size,
                      pack<element_type>(unit * values[i].x, unit * values[i].y));
            }
        }
    }

    /// Asks for the rows of some tokens; those beyond `count` and the channels beyond theirs are 0.
    template <int Columns>
    __device__ void load(tile<element_type, Columns> const& to, head_rows const& from, int channels,
                         int const* tokens, int count, int shift = 0) const {
        constexpr int pieces = Columns / 8, step = Shape::threads / pieces;
        static_assert(step % 8 == 0, "the permutation of pieces repeats every 8 rows");
        int const piece = threadIdx.x % pieces, first = threadIdx.x / pieces;
        int const present = piece * 8 < channels ? count : 0;
        unsigned const target = to.at(first, piece);
        head_rows const source{from.first + piece * 16, from.step};
#pragma unroll
        for (int i = 0; i < Shape::rows / step; ++i) {
            int const row = first + i * step;
            int const token = tokens[row] + shift;
            bool const known =
                row < present && (shift == 0 || (token >= 0 && token < int(where.length)));
            copy_ahead(target + unsigned(i * step * tile<element_type, Columns>::row_bytes),
                       source[token], known);
        }
    }
};

}  // namespace rondo::inline RONDO_ISA::cuda
