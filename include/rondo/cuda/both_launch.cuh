/// @file
/// Both directions of log decays by token: a walk back that keeps states, then one pass forwards.
#pragma once

#include <rondo/cuda/chunk_launch.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// Whether a call which the chunkwise kernel takes is one way and the other way over one sequence.
inline bool both_suit(detail::problem<float> const& p) {
    bool const decays = p.what.decay == decay_kind::constant || p.what.decay == decay_kind::scalar;
    if (!decays || p.what.delta || p.depth > widest_heavy_depth || p.passes.size() != 2) {
        return false;
    }
    pass const &back = p.passes[0], &on = p.passes[1];
    auto const whole = [](pass const& x) {
        return x.order == nullptr && x.read && x.write && !x.keep;
    };
    return whole(back) && back.reversed && back.strict && !back.accumulate && whole(on) &&
           !on.reversed && !on.strict && on.finish;
}

/// The walk back and the pass forwards, which reads what that kept.
///
/// Scratch: a state of the element type for every 64 tokens.
template <class Keeping>
class both_launch {
    using plain = chunk_shape<typename Keeping::element_type, Keeping::weigh, Keeping::depth,
                              Keeping::columns, Keeping::warps>;
    using reading = both_shape<plain, Keeping>;
    using problem = detail::problem<float>;

public:
    both_launch(cudaStream_t stream, problem const& p)
        : stream_(stream), p_(p), back_(p.passes[0]), on_(p.passes[1]) {
        back_.read = false;
        on_.accumulate = false;
        slots_ = chunk_slots::slots_of(p.sequences, p.length, !p.offsets.empty(), Keeping::rows);
        index const all = p.heads * slots_;
        index const width = (p.width + Keeping::width - 1) / Keeping::width * Keeping::width;
        states_at_ = bytes_.take(std::size_t(all * width * Keeping::depth) * 2);
        sums_ = p.what.normalized;
        sums_at_ = bytes_.take(sums_ ? std::size_t(all * Keeping::depth) * sizeof(float) : 0);
    }

    std::size_t scratch_bytes() const {
        problem const b = back(), o = on();
        return bytes_.bytes + std::max(chunk_launch<Keeping>(nullptr, b).scratch_bytes(b),
                                       chunk_launch<reading>(nullptr, o).scratch_bytes(o));
    }

    void operator()() const {
        scratch const memory(stream_, bytes_.bytes);
        chunk_keep kept{memory.at<std::byte>(states_at_), slots_, true, true,
                        sums_ ? memory.at<float>(sums_at_) : nullptr};
        problem const b = back(), o = on();
        chunk_launch<Keeping>(stream_, b)(b, {.keep = kept});
        kept.back = false;
        chunk_launch<reading>(stream_, o)(o, {.keep = kept});
    }

private:
    /// For each key head: no query is read.
    problem back() const {
        problem call = p_;
        call.passes = {&back_, 1};
        call.query_heads = p_.heads;
        call.scale = 1;
        return call;
    }
    problem on() const {
        problem call = p_;
        call.passes = {&on_, 1};
        return call;
    }

    cudaStream_t stream_;
    problem const& p_;
    pass back_, on_;
    layout bytes_;
    index slots_ = 0;
    std::size_t states_at_ = 0, sums_at_ = 0;
    bool sums_ = false;
};

/// visit(the launch of a call which `both_suit`)
template <class Visit>
inline void with_both(cudaStream_t stream, detail::problem<float> const& p, Visit const& visit) {
    auto const with = [&]<class Keeping>(Keeping) { visit(both_launch<Keeping>(stream, p)); };
    p.o.kind == element::bfloat16
        ? with_extents<__nv_bfloat16, weighing::token, false, keeping::alone>(p, with)
        : with_extents<__half, weighing::token, false, keeping::alone>(p, with);
}

}  // namespace rondo::inline RONDO_ISA::cuda
