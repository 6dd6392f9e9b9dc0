/// @file
/// What an operator carries from token to token and from call to call.
#pragma once

#include <rondo/detail/problem.hpp>
#include <rondo/view.hpp>

#include <string>
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
constexpr index step_scratch(index depth, index width) noexcept { return 3 * (depth + width + 32); }
/// A step's rows lie on the stack up to this many elements; beyond it the state brings them.
inline constexpr index step_scratch_on_stack = 4096;

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
        values_.resize(static_cast<std::size_t>(total()));
        index const scratch = detail::step_scratch(depth, width);
        if (scratch > detail::step_scratch_on_stack) {
            spare_.resize(static_cast<std::size_t>(rows() * scratch));
        }
        reset();
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
        std::fill(values_.begin(), values_.end(), A(0));
        A* const maxima = max().data();
        std::fill_n(maxima, rows() * gate_width(), -std::numeric_limits<A>::infinity());
    }

    operator state_view<A>() noexcept { return seen<A>(*this); }
    operator state_view<A const>() const noexcept { return seen<A const>(*this); }

private:
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
    index batch_, heads_, depth_, width_;
    std::vector<A> values_;
    std::vector<A> spare_;  // scratch of step, not part of the state
};

}  // namespace rondo::inline RONDO_ISA
