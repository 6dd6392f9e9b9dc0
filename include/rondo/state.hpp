/// @file
/// What an operator carries from token to token and from call to call.
#pragma once

#include <rondo/detail/blob.hpp>
#include <rondo/detail/problem.hpp>
#include <rondo/view.hpp>

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <vector>

namespace rondo::inline RONDO_ISA {

/// A state that somebody else owns, in host or device memory; S and its companions are dense.
/// An empty one means: start from nothing, or do not hand on.
template <class A>
struct state_view {
    A* s = nullptr;
    A* normalizer = nullptr;
    A* max = nullptr;
    A* sum = nullptr;
    index batch = 0, heads = 0, depth = 0, width = 0, gate_width = 0;
    bool present = false;
    std::remove_const_t<A>* spare = nullptr;  // rows of a step whose heads are very wide
};

namespace detail {

/// Elements of scratch that one token of one head takes, for the widest lanes there are.
constexpr index step_scratch(index depth, index width) noexcept { return 4 * (depth + width + 32); }
/// A step's rows lie on the stack up to this many elements; beyond it the state brings them.
inline constexpr index step_scratch_on_stack = 4096;
/// Elements that a step of so many heads takes besides the stack.
constexpr index step_spare(index heads, index depth, index width) noexcept {
    index const scratch = step_scratch(depth, width);
    return scratch > step_scratch_on_stack ? heads * scratch : 0;
}

/// Bytes that the turn of a token takes where positions are fused, and the channels up to which
/// they lie on the stack.
constexpr index turn_scratch(index depth) noexcept { return 64 * (depth + 128); }
inline constexpr index step_depth_on_stack = 768;

}  // namespace detail

/// Owns the state of `batch` sequences and `heads` key/value heads. Made by `op.state<T>(...)`, at
/// first the state of no tokens at all.
///
/// Holds S [batch, heads, D, E]; with normalize::sum the normaliser [batch, heads, D]; with
/// additive decays the running maximum m and sum [batch, heads, D] (or 1 for D), S being relative
/// to m: S = sum_j exp(z_j - m) k_j v_j^T, sum = sum_j exp(z_j - m).
template <class A>
class state {
public:
    state(detail::composition const& what, index batch, index heads, index depth, index width)
        : what_(what), batch_(batch), heads_(heads), depth_(depth), width_(width) {
        for (index extent : {batch, heads, depth, width}) {
            if (extent < 0) {
                detail::refuse("state", {"an extent is ", extent, ", expected at least 0"});
            }
        }
        allocate();
        reset();
    }

    /// The state that `bytes()` wrote, of an operator that differs in its form at most.
    /// Errors: shape_error for a blob that is damaged, cut short, or another operator's, element
    ///   type's or machine's; no byte outside of it is read.
    state(detail::composition const& what, std::span<std::byte const> blob) : what_(what) {
        auto const header = detail::open_blob(blob, what, sizeof(A));
        auto const held = static_cast<index>(header.payload / sizeof(A));
        // A state without numbers may still say for how many sequences it is.
        detail::check_blob_extents(header.extents, std::max<index>(held, index(1) << 24));
        batch_ = header.extents[0];
        heads_ = header.extents[1];
        depth_ = header.extents[2];
        width_ = header.extents[3];
        if (header.payload != static_cast<std::uint64_t>(total()) * sizeof(A)) {
            detail::refuse("state", {"the blob holds ", header.payload, " bytes of numbers, its ",
                                     "extents need ", total() * index(sizeof(A))});
        }
        allocate();
        if (total() > 0) {
            std::memcpy(values_.data(), blob.data() + sizeof header, header.payload);
        }
    }

    /// The state as bytes, to be kept or sent and read by `op.state<T>(bytes)`: a header with
    /// version, operator, extents and checksum, and the numbers as they are.
    std::vector<std::byte> bytes() const {
        detail::blob_header header;
        header.element_size = sizeof(A);
        header.composition = detail::state_meaning(what_);
        header.extents = {batch_, heads_, depth_, width_};
        header.payload = values_.size() * sizeof(A);
        return detail::make_blob(header, values_.data());
    }

    index batch() const noexcept { return batch_; }
    index heads() const noexcept { return heads_; }
    index depth() const noexcept { return depth_; }
    index width() const noexcept { return width_; }

    view<A, 4> s() noexcept { return {values_.data(), {batch_, heads_, depth_, width_}}; }
    view<A const, 4> s() const noexcept { return const_cast<state&>(*this).s(); }
    view<A, 3> normalizer() noexcept { return part(s_count(), normalizer_width()); }
    view<A const, 3> normalizer() const noexcept { return const_cast<state&>(*this).normalizer(); }
    view<A, 3> max() noexcept { return part(max_offset(), gate_width()); }
    view<A const, 3> max() const noexcept { return const_cast<state&>(*this).max(); }
    view<A, 3> sum() noexcept { return part(max_offset() + rows() * gate_width(), gate_width()); }
    view<A const, 3> sum() const noexcept { return const_cast<state&>(*this).sum(); }

    /// Back to the state of no tokens.
    void reset() noexcept {
        for (index sequence = 0; sequence < batch_; ++sequence) clear(sequence);
    }

    /// One sequence back to the state of no tokens, the others as they are.
    /// Errors: shape_error when there is no such sequence.
    void reset(index sequence) {
        expect_sequence(sequence);
        clear(sequence);
    }

    /// A state of its own whose sequence i goes on from sequence `from[i]` of this one: a prompt
    /// read once and continued in several ways, or a batch in another order.
    /// Errors: shape_error when there is no such sequence.
    state fork(std::span<index const> from) const {
        for (index sequence : from) expect_sequence(sequence);
        state result(what_, static_cast<index>(from.size()), heads_, depth_, width_);
        auto const mine = parts(), theirs = result.parts();
        for (std::size_t i = 0; i < from.size(); ++i) {
            for (std::size_t p = 0; p < mine.size(); ++p) {
                index const size = mine[p].size;
                std::copy_n(values_.data() + mine[p].offset + from[i] * size, size,
                            result.values_.data() + theirs[p].offset + index(i) * size);
            }
        }
        return result;
    }
    state fork(std::initializer_list<index> from) const {
        return fork(std::span<index const>(from.begin(), from.size()));
    }

    operator state_view<A>() noexcept { return seen<A>(*this); }
    operator state_view<A const>() const noexcept { return seen<A const>(*this); }

private:
    void allocate() {
        values_.resize(static_cast<std::size_t>(total()));
        index spare = detail::step_spare(rows(), depth_, width_);
        if (what_.turned && depth_ > detail::step_depth_on_stack) {
            spare += detail::turn_scratch(depth_) / index(sizeof(A));
        }
        spare_.resize(static_cast<std::size_t>(spare));
    }

    void expect_sequence(index sequence) const {
        if (sequence >= 0 && sequence < batch_) return;
        detail::refuse("state", {"there is no sequence ", sequence, " among ", batch_});
    }

    void clear(index sequence) noexcept {
        for (part_t const& p : parts()) {
            std::fill_n(values_.data() + p.offset + sequence * p.size, p.size, p.empty);
        }
    }

    /// S, the normaliser, the maximum and the sum: where they begin, how much of each is one
    /// sequence's, and what it holds before any token.
    struct part_t {
        index offset, size;
        A empty;
    };
    std::array<part_t, 4> parts() const noexcept {
        index const gates = heads_ * gate_width();
        return {{{0, heads_ * depth_ * width_, A(0)},
                 {s_count(), heads_ * normalizer_width(), A(0)},
                 {max_offset(), gates, -std::numeric_limits<A>::infinity()},
                 {max_offset() + batch_ * gates, gates, A(0)}}};
    }

    index rows() const noexcept { return batch_ * heads_; }
    index s_count() const noexcept { return rows() * depth_ * width_; }
    index normalizer_width() const noexcept { return what_.normalized ? depth_ : 0; }
    index gate_width() const noexcept {
        return !what_.additive() ? 0 : what_.per_channel() ? depth_ : 1;
    }
    index max_offset() const noexcept { return s_count() + rows() * normalizer_width(); }
    index total() const noexcept { return max_offset() + 2 * rows() * gate_width(); }

    view<A, 3> part(index offset, index channels) noexcept {
        return {values_.data() + offset, {batch_, heads_, channels}};
    }

    template <class B, class Self>
    static state_view<B> seen(Self& self) noexcept {
        auto const known = [](auto const& v) { return v.extent(2) == 0 ? nullptr : v.data(); };
        return {self.values_.data(),
                known(self.normalizer()),
                known(self.max()),
                known(self.sum()),
                self.batch_,
                self.heads_,
                self.depth_,
                self.width_,
                self.gate_width(),
                true,
                const_cast<A*>(self.spare_.data())};
    }

    detail::composition what_;
    index batch_ = 0, heads_ = 0, depth_ = 0, width_ = 0;
    std::vector<A> values_;
    std::vector<A> spare_;  // scratch of step, not part of the state
};

}  // namespace rondo::inline RONDO_ISA
