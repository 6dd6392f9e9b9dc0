/// @file
/// Which calls the chunkwise kernel takes, and in which shape.
#pragma once

#include <rondo/cuda/chunk_solve.cuh>
#include <rondo/cuda/chunk_transition.cuh>
#include <rondo/cuda/chunkwise.cuh>
#include <rondo/cuda/tuning.cuh>

namespace rondo::inline RONDO_ISA::cuda {

constexpr bool fits(index x) noexcept {
    return x >= std::numeric_limits<int>::min() && x <= std::numeric_limits<int>::max();
}

/// Whether rows of a tensor can be copied 16 bytes at a time, their steps in 32 bits.
inline bool in_pieces(tensor const& x, element kind) {
    constexpr index piece = 16;
    auto const whole = [](index stride) { return stride % piece == 0; };
    return fits(x.time) && x.kind == kind && x.channel == 2 && whole(x.batch) && whole(x.head) &&
           whole(x.time) && reinterpret_cast<std::uintptr_t>(x.data) % piece == 0;
}

/// Whether a call is one for the chunkwise kernel, wherever its tiles find room.
inline bool chunks_suit(detail::problem<float> const& p) {
    element const kind = p.o.kind;
    auto const form = p.what.form;
    bool const sixteen = kind == element::bfloat16 || kind == element::float16;
    bool const keeps = std::any_of(p.passes.begin(), p.passes.end(),
                                   [](pass const& how) { return how.keep || !how.write; });
    bool const updates = !p.what.delta || (!p.k.ones && !keeps && fits(p.beta.time));
    bool const decays = p.what.decay == decay_kind::none || p.what.decay == decay_kind::constant ||
                        p.what.decay == decay_kind::scalar ||
                        // weights by channel need the exponents of bfloat16
                        (p.what.per_channel() && !p.what.on_write && kind == element::bfloat16);
    bool const chosen =
        form == detail::form_kind::automatic || form == detail::form_kind::chunkwise;
    bool const key = p.k.ones ? p.what.feature == feature_kind::identity : in_pieces(p.k, kind);
    bool const gate = !p.what.per_channel() || in_pieces(p.gate, kind);
    int const widest =
        p.what.per_channel() || p.what.delta ? widest_heavy_depth : widest_chunk_depth;
    bool const short_enough = fits(p.length + most_chunk_rows) && fits(p.gate.time) &&
                              fits(p.query_heads * p.width * index(sizeof(float)));
    return sixteen && short_enough && p.length >= least_chunk_length && decays && chosen &&
           updates && key && gate && in_pieces(p.q, kind) && in_pieces(p.v, kind) &&
           in_pieces(p.o, kind) && p.depth % 8 == 0 && p.width % 8 == 0 && p.depth > 0 &&
           p.depth <= widest && p.width > 0;
}

/// Blocks that share a sequence: as many as fill the chip once, and no more than have something to
/// do. `resident`: those that a multiprocessor works on at a time.
inline index segments_of(index units, index length, int resident = blocks_a_processor) {
    int device = 0, processors = 0;
    expect("cudaGetDevice", cudaGetDevice(&device));
    expect("cudaDeviceGetAttribute",
           cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
    index const wanted = index(processors) * resident / std::max<index>(units, 1);
    return std::clamp<index>(wanted, 1, std::max<index>(length / least_segment, 1));
}

/// Launches the chunkwise kernel of one shape.
template <class Shape>
class chunk_launch {
public:
    /// `walks` as long as this one at a time.
    chunk_launch(cudaStream_t stream, detail::problem<float> const& p, index walks = 1)
        : stream_(stream),
          bytes_(chunk_shared_bytes<Shape>(p.k.ones)),
          tiles_((p.width + Shape::width - 1) / Shape::width) {
        units_ = p.sequences * p.query_heads * tiles_;
        int const blocks = resident();
        segments_ = p.offsets.empty() ? segments_of(units_ * walks, p.length, blocks) : 1;
        // To find what two segments begin with, a walk that only writes takes as long as both.
        index const least = Shape::delta ? least_delta_segments * blocks : Shape::reads ? 2 : 3;
        if (segments_ < least) segments_ = 1;
        if (Shape::delta) {
            slots_ = chunk_slots::slots_of(p.sequences, p.length, !p.offsets.empty(), Shape::rows);
        }
        heads_ = p.heads;
        index const chunks = (p.length + Shape::rows - 1) / Shape::rows;
        segment_length_ = (chunks + segments_ - 1) / segments_ * Shape::rows;
        if (segments_ > 1) segments_ = (p.length + segment_length_ - 1) / segment_length_;
    }

    std::size_t scratch_bytes(detail::problem<float> const& p) const {
        return prepared<float>::scratch_bytes(p, tiles_ * Shape::warps) + record_bytes() +
               solved_bytes();
    }

    std::size_t solved_bytes() const {
        return std::size_t(heads_ * slots_ * Shape::rows * Shape::rows) * 2;
    }

    /// Warps that share the columns of an output.
    index slots() const { return tiles_ * Shape::warps; }

    std::size_t record_bytes() const {
        // A delta update's states leave with the segments' transitions, and start from others.
        index units = units_;
        if constexpr (Shape::delta) units += units / tiles_ * (tiles_ + transition_tiles<Shape>);
        return segments_ == 1
                   ? 0
                   : std::size_t(units * segments_) * chunk_record<Shape>::size * sizeof(float);
    }

    /// What a walk is asked for besides its outputs.
    struct extras {
        chunk_marks marks{};
        float* rows = nullptr;  // unfinished outputs, where several calls add up to one
        int gate_shift = 0;
        chunk_keep keep{};
    };

    chunk_plan plan(float* records, bool starts, bool leaves, extras const& with) const {
        return {tiles_, int(segments_), int(segment_length_), records, starts, leaves, with.marks,
                {},     with.keep};
    }

    unsigned blocks_of(chunk_plan const& how) const {
        return unsigned(units_ / tiles_ * how.tiles * how.segments);
    }

    /// Joins the records of segments into what each of them starts from.
    void join(call<float> const& c, float* records, bool total) const {
        dim3 const grid(unsigned(units_), unsigned(chunk_record<Shape>::quads + 1));
        chunk_plan joined = plan(records, false, false, {});
        joined.total = total;
        join_segments<Shape><<<grid, Shape::threads, 0, stream_>>>(c, joined);
        expect("launch of join_segments", cudaGetLastError());
    }

    void operator()(detail::problem<float> const& p, extras const& with = {}) const {
        prepared<float> ready(stream_, p, tiles_ * Shape::warps);
        scratch const records(stream_, record_bytes()), solved(stream_, solved_bytes());
        ready.for_each_launch([&](call<float> const& all) {
            call<float> one = all;
            if (with.rows != nullptr) one.partial_rows = with.rows;
            one.gate_shift = with.gate_shift;
            call<float> const c = one;
            if (segments_ == 1 && !Shape::delta) {
                return launch(c, plan(nullptr, false, false, with));
            }
            one.pass_count = 1;
            for (int i = 0; i < c.pass_count; ++i) {
                one.passes[0] = c.passes[i];
                if constexpr (Shape::delta) {
                    solve(one, {solved.at<std::byte>(0), slots_}, records.at<float>(0));
                } else {
                    split(one, records.at<float>(0), with);
                }
            }
        });
    }

private:
    int resident() const {
        int blocks = 0;
        permit_shared_memory<Shape>(bytes_);
        expect("cudaOccupancyMaxActiveBlocksPerMultiprocessor",
               cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, chunkwise<Shape>,
                                                             Shape::threads, std::size_t(bytes_)));
        return blocks;
    }

    template <class As>
    static void permit_shared_memory(int bytes) {
        expect("cudaFuncSetAttribute",
               cudaFuncSetAttribute(chunkwise<As>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    bytes));
    }

    /// One pass by several blocks a sequence: the states of the segments, what each starts from,
    /// and the outputs. A window of the whole sequence is all of them together.
    void split(call<float> const& c, float* records, extras const& with) const {
        pass const& how = c.passes[0];
        if (how.write) {
            call<float> written = c;
            written.passes[0].read = false;
            // Readers apply the scale, where others only write.
            if (Shape::reads && !Shape::writing::reads) written.scale = 1;
            chunk_plan left = plan(records, false, true, with);
            left.total = !how.read && Shape::reads;
            launch<typename Shape::writing>(written, left);
            join(c, records, left.total);
        }
        if (!how.read && Shape::reads) return;
        launch(c, plan(records, true, false, with));
    }

    /// One pass of a delta update: its chunks are solved, then walked.
    void solve(call<float> const& c, solved_chunks const& to, float* records) const {
        using solving = solving_shape<Shape>;
        constexpr int bytes = chunk_shared_bytes<solving>(false);
        expect("cudaFuncSetAttribute",
               cudaFuncSetAttribute(solve_chunks<solving>,
                                    cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
        if (slots_ == 0) return;
        solve_chunks<solving>
            <<<unsigned(heads_ * slots_), solving::threads, bytes, stream_>>>(c, to);
        expect("launch of solve_chunks", cudaGetLastError());
        chunk_plan walked = plan(nullptr, false, false, {});
        walked.solved = to;
        if (segments_ > 1) {
            call<float> written = c;
            written.passes[0].read = false;
            chunk_plan left = plan(records, false, true, {});
            left.solved = to;
            left.tiles += transition_tiles<Shape>;
            launch(written, left);
            walked.starts = true;
            walked.records =
                records + units_ / tiles_ * left.tiles * segments_ * chunk_record<Shape>::size;
            join_transitions<Shape><<<dim3(unsigned(units_), unsigned(Shape::warps)),
                                      transition_threads, 0, stream_>>>(c, left, walked.records, 1);
            expect("launch of join_transitions", cudaGetLastError());
        }
        launch(c, walked);
    }

    template <class As = Shape>
    void launch(call<float> const& c, chunk_plan const& how) const {
        static_assert(As::threads == Shape::threads);
        int const bytes = chunk_shared_bytes<As>(c.k.ones);
        permit_shared_memory<As>(bytes);
        chunkwise<As><<<blocks_of(how), As::threads, bytes, stream_>>>(c, how);
        expect("launch of chunkwise", cudaGetLastError());
    }

    cudaStream_t stream_;
    int bytes_;
    index tiles_, units_, segments_, segment_length_, heads_, slots_ = 0;
};

/// visit(a shape) for the extents of a call.
template <class T, weighing Weigh, bool Marks = false, keeping Keeping = keeping::nothing,
          class Visit>
inline void with_extents(detail::problem<float> const& p, Visit const& visit) {
    constexpr int columns = warp_columns_of_chunk;
    if (p.depth <= 64) {
        visit(chunk_shape<T, Weigh, 64, columns, 4, false, Marks, Keeping>{});
    } else if (p.depth > 128) {
        constexpr bool plain = !Marks && Keeping == keeping::nothing;
        if constexpr (plain && (Weigh == weighing::none || Weigh == weighing::token)) {
            visit(chunk_shape<T, Weigh, 256, columns, 8>{});
        }
    } else if (p.width <= 64) {
        visit(chunk_shape<T, Weigh, 128, columns, 4, false, Marks, Keeping>{});
    } else {
        visit(chunk_shape<T, Weigh, 128, columns, 8, false, Marks, Keeping>{});
    }
}

/// The same for a delta update.
template <class T, weighing Weigh, class Visit>
inline void with_delta(detail::problem<float> const& p, Visit const& visit) {
    constexpr int columns = warp_columns_of_chunk;
    if (p.depth <= 64) {
        visit(chunk_shape<T, Weigh, 64, columns, 4, true>{});
    } else {
        visit(chunk_shape<T, Weigh, 128, columns, 8, true>{});
    }
}

/// The same for its decay.
template <class T, class Visit>
inline void with_decay(detail::problem<float> const& p, Visit const& visit) {
    if (p.what.delta && !p.what.per_channel()) return with_delta<T, weighing::token>(p, visit);
    if (p.what.per_channel()) {
        if constexpr (std::is_same_v<T, __nv_bfloat16>) {
            if (p.what.delta) return with_delta<T, weighing::channel>(p, visit);
            p.what.additive() ? with_extents<T, weighing::additive>(p, visit)
                              : with_extents<T, weighing::channel>(p, visit);
        }
    } else if (p.what.gated()) {
        with_extents<T, weighing::token>(p, visit);
    } else {
        with_extents<T, weighing::none>(p, visit);
    }
}

/// The same for its element type: visit(the shape that takes a call which `chunks_suit`).
template <class Visit>
inline void with_chunk_shape(detail::problem<float> const& p, Visit const& visit) {
    p.o.kind == element::bfloat16 ? with_decay<__nv_bfloat16>(p, visit)
                                  : with_decay<__half>(p, visit);
}

/// Bytes of shared memory that a block may have on the current device.
inline int shared_room() {
    int device = 0, room = 0;
    expect("cudaGetDevice", cudaGetDevice(&device));
    expect("cudaDeviceGetAttribute",
           cudaDeviceGetAttribute(&room, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
    return room;
}

/// Whether the chunkwise kernel takes a call on the current device.
inline bool chunks_fast(detail::problem<float> const& p) {
    if (!chunks_suit(p)) return false;
    int bytes = 0;
    with_chunk_shape(p, [&]<class Shape>(Shape) { bytes = chunk_shared_bytes<Shape>(p.k.ones); });
    return bytes <= shared_room();
}

}  // namespace rondo::inline RONDO_ISA::cuda
