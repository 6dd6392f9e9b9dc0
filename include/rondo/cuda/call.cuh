/// @file
/// A checked call as device code sees it: plain numbers, passed to kernels by value.
#pragma once

#include <rondo/cuda/scratch.cuh>
#include <rondo/detail/problem.hpp>

#include <vector>

namespace rondo::inline RONDO_ISA::cuda {

using detail::decay_kind;
using detail::feature_kind;
using detail::pass;
using detail::tensor;

/// Passes of one launch; a call with more takes several launches, cut between scans of two.
inline constexpr int most_passes = 16;

template <class A>
struct call {
    tensor q, k, v, gate, beta, o;
    detail::carried<A> in, out;
    index sequences, query_heads, heads, length, depth, width;
    index group, gate_width;
    index const* offsets;  // device memory, or null
    int gate_shift;        // from a token to the one whose gate comes before it, on walks back
    A scale, eps;
    feature_kind feature;
    bool gated, additive, per_channel, on_write, delta, normalized;
    // Where passes leave unfinished outputs for later ones: [token, query head, E], and the
    // denominators [token, query head, tile of E].
    A* partial_rows;
    A* partial_sums;
    int pass_count;
    pass passes[most_passes];
};

/// One query head of one sequence: where it is.
struct location {
    index sequence, head, query_head, batch, first, length;

    template <class A>
    __device__ location(call<A> const& c, index s, index q)
        : sequence(s), head(q / c.group), query_head(q) {
        bool const packed = c.offsets != nullptr;
        batch = packed ? 0 : s;
        first = packed ? c.offsets[s] : 0;
        length = packed ? c.offsets[s + 1] - first : c.length;
    }

    /// The first channel of a token.
    __device__ std::byte* key_side(tensor const& x, index token) const {
        return x.data + batch * x.batch + head * x.head + (first + token) * x.time;
    }
    __device__ std::byte* query_side(tensor const& x, index token) const {
        return x.data + batch * x.batch + query_head * x.head + (first + token) * x.time;
    }
    /// The number of a token's row among the unfinished outputs.
    template <class A>
    __device__ index partial(call<A> const& c, index token) const {
        return ((batch * c.length + first + token) * c.query_heads) + query_head;
    }
    /// The number of the head among the states.
    template <class A>
    __device__ index state(call<A> const& c) const {
        return sequence * c.heads + head;
    }
};

/// The token at one place of a pass.
__device__ inline index token_at(pass const& p, index place, index length) {
    index const walked = p.reversed ? length - 1 - place : place;
    return p.order == nullptr ? walked : p.order[walked];
}

/// A call on its way to the device, with the memory that it needs there.
template <class A>
class prepared {
public:
    /// `tiles`: how many blocks share the columns of an output and keep its denominators.
    prepared(cudaStream_t stream, detail::problem<A> const& from, index tiles)
        : from_(from), tiles_(tiles), scratch_(stream, plan()) {
        what_ = plain(from);
        if (!from.offsets.empty()) {
            auto* const to = scratch_.at<index>(offsets_at_);
            upload(stream, from.offsets.data(), from.offsets.size_bytes(), to);
            what_.offsets = to;
        }
        for (auto const& [order, at] : orders_) {
            upload(stream, order, std::size_t(from.length) * sizeof(index), scratch_.at<index>(at));
        }
        if (rows_ > 0) what_.partial_rows = scratch_.at<A>(rows_at_);
        if (sums_ > 0) what_.partial_sums = scratch_.at<A>(sums_at_);
        if (alone_) keep_incoming(stream);
    }

    /// Calls body(call) once for each launch.
    template <class Body>
    void for_each_launch(Body const& body) {
        for (std::size_t p = 0; p < from_.passes.size(); p += most_passes) {
            what_.pass_count = int(std::min<std::size_t>(most_passes, from_.passes.size() - p));
            for (int i = 0; i < what_.pass_count; ++i) {
                what_.passes[i] = from_.passes[p + std::size_t(i)];
                for (auto const& [order, at] : orders_) {
                    if (what_.passes[i].order == order) {
                        what_.passes[i].order = scratch_.at<index>(at);
                        break;
                    }
                }
            }
            body(what_);
        }
    }

    /// Bytes of device memory that the call takes.
    static std::size_t scratch_bytes(detail::problem<A> const& from, index tiles) {
        return prepared(from, tiles).bytes_.bytes;
    }

    /// The call as kernels take it, before any memory of its own.
    static call<A> plain(detail::problem<A> const& p) {
        call<A> c{};
        c.q = p.q, c.k = p.k, c.v = p.v, c.gate = p.gate, c.beta = p.beta, c.o = p.o;
        c.in = p.in, c.out = p.out;
        c.sequences = p.sequences, c.query_heads = p.query_heads, c.heads = p.heads;
        c.length = p.length, c.depth = p.depth, c.width = p.width;
        c.group = p.group(), c.gate_width = p.what.per_channel() ? p.depth : 1;
        c.scale = p.scale, c.eps = p.eps, c.feature = p.what.feature;
        c.gated = p.what.gated(), c.additive = p.what.additive();
        c.per_channel = p.what.per_channel(), c.on_write = p.what.on_write;
        c.delta = p.what.delta, c.normalized = p.what.normalized;
        return c;
    }

private:
    prepared(detail::problem<A> const& from, index tiles)
        : from_(from), tiles_(tiles), scratch_(nullptr, 0) {
        plan();
    }

    std::size_t plan() {
        auto const tokens = std::size_t(from_.offsets.empty() ? from_.sequences : 1) *
                            std::size_t(from_.length) * std::size_t(from_.query_heads);
        bool const several = std::any_of(from_.passes.begin(), from_.passes.end(),
                                         [](pass const& p) { return !p.finish && p.read; });
        bool const wide = from_.o.kind != detail::element_traits<A>::kind;
        offsets_at_ = bytes_.take(from_.offsets.size_bytes());
        rows_ = several && wide ? tokens * std::size_t(from_.width) : 0;
        sums_ = several && from_.what.normalized ? tokens * std::size_t(tiles_) : 0;
        rows_at_ = bytes_.take(rows_ * sizeof(A));
        sums_at_ = bytes_.take(sums_ * sizeof(A));
        for (pass const& p : from_.passes) {
            bool const known = std::any_of(orders_.begin(), orders_.end(),
                                           [&](auto const& o) { return o.first == p.order; });
            if (p.order == nullptr || known) continue;
            orders_.emplace_back(p.order, bytes_.take(std::size_t(from_.length) * sizeof(index)));
        }
        // Several blocks read a state that one of them overwrites.
        alone_ = from_.in.s != nullptr && from_.in.s == from_.out.s;
        for (std::size_t i = 0; alone_ && i < parts; ++i) {
            state_at_[i] = bytes_.take(part_size(i) * sizeof(A));
        }
        return bytes_.bytes;
    }

    static constexpr std::size_t parts = 4;

    /// Elements of a part of the state that must be kept: S only where query heads share it.
    std::size_t part_size(std::size_t part) const {
        auto const heads = std::size_t(from_.sequences * from_.heads);
        auto const depth = std::size_t(from_.depth), gates = std::size_t(from_.gate_width());
        switch (part) {
            case 0: return from_.group() > 1 ? heads * depth * std::size_t(from_.width) : 0;
            case 1: return from_.in.normalizer == nullptr ? 0 : heads * depth;
            default: return from_.in.max == nullptr ? 0 : heads * gates;
        }
    }

    void keep_incoming(cudaStream_t stream) {
        A** const from[parts] = {&what_.in.s, &what_.in.normalizer, &what_.in.max, &what_.in.sum};
        for (std::size_t i = 0; i < parts; ++i) {
            std::size_t const size = part_size(i) * sizeof(A);
            if (size == 0) continue;
            A* const to = scratch_.at<A>(state_at_[i]);
            expect("cudaMemcpyAsync",
                   cudaMemcpyAsync(to, *from[i], size, cudaMemcpyDeviceToDevice, stream));
            *from[i] = to;
        }
    }

    detail::problem<A> const& from_;
    index tiles_;
    layout bytes_;
    std::size_t offsets_at_ = 0, rows_ = 0, rows_at_ = 0, sums_ = 0, sums_at_ = 0;
    std::array<std::size_t, parts> state_at_{};
    std::vector<std::pair<index const*, std::size_t>> orders_;
    bool alone_ = false;
    scratch scratch_;
    call<A> what_{};
};

}  // namespace rondo::inline RONDO_ISA::cuda
