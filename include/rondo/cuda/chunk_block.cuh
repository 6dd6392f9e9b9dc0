/// @file
/// A block of the chunkwise kernel: where it is, its shared memory, and how tiles get there.
#pragma once

#include <rondo/cuda/chunk_shape.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// The tokens of a chunk: places [begin, begin + count) of a pass.
struct chunk_span {
    int begin, count;
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
        static_assert(Shape::threads >= Shape::rows);
        int const row = threadIdx.x;
        if (row >= Shape::rows) return;
        // Rows beyond the end are loaded as zeros, from an address that exists.
        int const place = begin_of(number) + row;
        int const known = place < last_ ? place : last_ - 1;
        int const walked = how_.reversed ? length_ - 1 - known : known;
        notes_.token[number % 3][row] = how_.order == nullptr ? walked : int(how_.order[walked]);
    }
    __device__ int const* tokens(int number) const { return notes_.token[number % 3]; }

private:
    __device__ int missing() const { return Shape::marks || Shape::keeps ? missing_ : 0; }
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
    index column, tiles;  // the block's first column, and how many blocks share the columns
    int lane, warp;
    unsigned base;
    notes_type& notes;
    // In shared memory: registers are for sums, and spilled ones would come from far away.
    location const& where;
    head_rows const &q_rows, &k_rows, &v_rows, &gate_rows, &beta_rows, &o_rows;

    /// The block meets here.
    __device__ chunk_block(call<float> const& what, location const& at, index first, index count,
                           char* shared)
        : c(what),
          column(first),
          tiles(count),
          lane(threadIdx.x % warp_size),
          warp(threadIdx.x / warp_size),
          base(shared_address(shared)),
          notes(*reinterpret_cast<notes_type*>(shared + Shape::tile_bytes(what.k.ones))),
          where(notes.where),
          q_rows(notes.q),
          k_rows(notes.k),
          v_rows(notes.v),
          gate_rows(notes.gate),
          beta_rows(notes.beta),
          o_rows(notes.o) {
        if (threadIdx.x == 0) {
            notes.where = at;
            notes.q = {at.query_side(what.q, 0), int(what.q.time)};
            notes.k = {at.key_side(what.k, 0), int(what.k.time)};
            notes.v = {at.key_side(what.v, 0) + first * 2, int(what.v.time)};
            notes.gate = {at.key_side(what.gate, 0), int(what.gate.time)};
            notes.beta = {at.key_side(what.beta, 0), int(what.beta.time)};
            notes.o = {at.query_side(what.o, 0) + first * 2, int(what.o.time)};
        }
        __syncthreads();
    }

    using depth_tile = typename Shape::depth_tile;
    using width_tile = typename Shape::width_tile;
    __device__ depth_tile q(int stage) const {
        return {base + unsigned(Shape::both ? 0 : stage * Shape::stage_bytes_of(c.k.ones))};
    }
    __device__ width_tile v(int stage) const {
        return {q(stage).base + (Shape::both ? 3 * Shape::depth_bytes : Shape::query_bytes)};
    }
    __device__ depth_tile gate(int stage) const { return {v(stage).base + Shape::width_bytes}; }
    /// Behind the gate, if there is one. The weights of the additive decay are the keys when those
    /// are ones.
    __device__ depth_tile k(int stage) const {
        if constexpr (Shape::both) return {base + unsigned((1 + stage) * Shape::depth_bytes)};
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
        if constexpr (Shape::both) return {kept_base() + Shape::kept_bytes};
        return {base + unsigned(Shape::stages * Shape::stage_bytes_of(c.k.ones))};
    }
    /// Where the threads read what was kept.
    __device__ unsigned kept_base() const { return v(0).base + Shape::width_bytes; }
    /// The keys that read the state, for a delta update.
    __device__ depth_tile key_readers(int stage) const {
        return Shape::reads_keys ? depth_tile{scores().base + Shape::score_bytes} : k(stage);
    }

    /// Asks for the tiles of a chunk.
    __device__ void load(int stage, pass const& how, int const* tokens, int count) const {
        portion<Shape::depth> const mine(tokens, count);
        int const of_depth = mine.known(int(c.depth));
        if (Shape::reads && how.read) copy(q(stage), q_rows, mine, of_depth);
        if (!how.write) return;
        if (!c.k.ones) copy(k(stage), k_rows, mine, of_depth);
        if constexpr (Shape::per_channel) {
            portion<Shape::depth> shifted = mine;
            shifted.move(c.gate_shift, int(where.length));
            copy(gate(stage), gate_rows, shifted, of_depth);
        }
        if constexpr (Shape::width == Shape::depth) {
            copy(v(stage), v_rows, mine, mine.known(int(c.width - column)));
        } else {
            load(v(stage), v_rows, int(c.width - column), tokens, count);
        }
    }

    /// The same in two parts: what the readers need first, and the values.
    __device__ void load_first(int stage, int const* tokens, int count) const {
        portion<Shape::depth> const mine(tokens, count);
        copy(q(stage), q_rows, mine, mine.known(int(c.depth)));
        if (!c.k.ones) copy(k(stage), k_rows, mine, mine.known(int(c.depth)));
    }
    __device__ void load_values(int stage, int const* tokens, int count) const {
        load(v(stage), v_rows, int(c.width - column), tokens, count);
    }

    /// Asks for rows that lie one after the other; `lower`: for blocks of 16 x 16 up to the
    /// diagonal, zeros for the others.
    template <int Columns>
    __device__ void load_whole(tile<element_type, Columns> const& to, std::byte const* from,
                               bool lower = false) const {
        constexpr int pieces = Columns / 8;
        for (int i = threadIdx.x; i < Shape::rows * pieces; i += Shape::threads) {
            int const row = i / pieces, piece = i % pieces;
            copy_ahead(to.at(row, piece), from + i * 16, !lower || piece / 2 <= row / 16);
        }
    }
    __device__ void load_solved(int stage, element_type const* from) const {
        load_whole(solved(stage), reinterpret_cast<std::byte const*>(from));
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
#pragma unroll
            for (int stage = 0; stage < Shape::stages; ++stage) k(stage).set(row, pair, ones);
        }
    }

    /// Maps the queries or keys of a chunk; channels beyond the depth, which is a multiple of 8,
    /// stay 0.
    __device__ void map(depth_tile const& x) const {
        auto const with_sigmoid = [](float y, float more) {
            return fmaf(y, reciprocal(1 + power_of_2(-log2_of_e * y)), more);
        };
        switch (c.feature) {
            case feature_kind::elu_plus_one:
                return map(x, [](float y) { return y > 0 ? y + 1 : power_of_2(log2_of_e * y); });
            case feature_kind::silu: return map(x, [=](float y) { return with_sigmoid(y, 0); });
            case feature_kind::exp:
                return map(x, [](float y) { return power_of_2(log2_of_e * y); });
            case feature_kind::relu: return map(x, [](float y) { return fmaxf(y, 0); });
            case feature_kind::silu_half_unit:
                return map(x, [=](float y) { return with_sigmoid(y, 0.5F); });
            default: return;
        }
    }

    /// Asks for the rows of some tokens; those beyond `count` and the channels beyond theirs are 0.
    template <int Columns>
    __device__ void load(tile<element_type, Columns> const& to, head_rows const& from, int channels,
                         int const* tokens, int count) const {
        portion<Columns> const mine(tokens, count);
        copy(to, from, mine, mine.known(channels));
    }

private:
    /// A thread takes 8 channels of some rows, which neighbours share. All of its rows are on their
    /// way before the first is mapped.
    template <class Map>
    __device__ void map(depth_tile const& x, Map const& mapped_to) const {
        constexpr int pieces = Shape::depth / 8, step = Shape::threads / pieces;
        constexpr int size = Shape::rows / step;
        int const thread = anew(int(threadIdx.x)), piece = thread % pieces;
        int const first = thread / pieces;
        bool const inside = 8 * piece < c.depth;
        bool const unit = c.feature == feature_kind::silu_half_unit;
        uint4 rows[size];
#pragma unroll
        for (int i = 0; i < size; ++i) rows[i] = x.get_piece(first + i * step, piece);
#pragma unroll
        for (int i = 0; i < size; ++i) {
            unsigned* const pairs[4] = {&rows[i].x, &rows[i].y, &rows[i].z, &rows[i].w};
            float2 values[4];
            float squares = 0;
#pragma unroll
            for (int p = 0; p < 4; ++p) {
                float2 const raw = unpack<element_type>(*pairs[p]);
                values[p] = {mapped_to(raw.x), mapped_to(raw.y)};
                squares += values[p].x * values[p].x + values[p].y * values[p].y;
            }
            float factor = 1;
            if (unit) {
                squares = inside ? squares : 0;
#pragma unroll
                for (int s = 1; s < pieces; s *= 2) squares += __shfl_xor_sync(~0U, squares, s);
                factor = rsqrtf(squares);
            }
            if (!inside) factor = 0;
#pragma unroll
            for (int p = 0; p < 4; ++p) {
                *pairs[p] = pack<element_type>(factor * values[p].x, factor * values[p].y);
            }
            x.set_piece(first + i * step, piece, rows[i]);
        }
    }

    /// What a thread copies of tiles: a piece of some rows. Their tokens are looked up before any
    /// copy is on its way, and once for all tiles.
    template <int Columns>
    struct portion {
        using tile_type = tile<element_type, Columns>;
        static constexpr int pieces = Columns / 8, step = Shape::threads / pieces;
        static constexpr int size = Shape::rows / step;
        static_assert(step % 8 == 0, "the permutation of pieces repeats every 8 rows");
        int piece, first, count;
        unsigned place;  // of the first row's piece in a tile
        int token[size];
        bool absent[size] = {};

        __device__ portion(int const* tokens, int known) : count(known) {
            int const thread = anew(int(threadIdx.x));
            piece = thread % pieces, first = thread / pieces;
            place = tile_type{0}.at(first, piece);
#pragma unroll
            for (int i = 0; i < size; ++i) token[i] = tokens[first + i * step];
        }
        /// On to the tokens beside those, none beyond the sequence.
        __device__ void move(int shift, int length) {
            if (shift == 0) return;
#pragma unroll
            for (int i = 0; i < size; ++i) {
                token[i] += shift;
                absent[i] = token[i] < 0 || token[i] >= length;
            }
        }
        /// Row i is there if i * step is less than this.
        __device__ int known(int channels) const {
            return (piece * 8 < channels ? count : 0) - first;
        }
    };

    template <int Columns>
    __device__ static void copy(tile<element_type, Columns> const& to, head_rows const& from,
                                portion<Columns> const& mine, int known) {
        using part = portion<Columns>;
        head_rows const source{from.first + mine.piece * 16, from.step};
        unsigned const target = to.base + mine.place;
#pragma unroll
        for (int i = 0; i < part::size; ++i) {
            copy_ahead(target + unsigned(i * part::step * part::tile_type::row_bytes),
                       source[mine.token[i]], i * part::step < known && !mine.absent[i]);
        }
    }
};

}  // namespace rondo::inline RONDO_ISA::cuda
