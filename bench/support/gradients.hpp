/// @file
/// The gradients of one problem of the benchmarks.
#pragma once

#include "case.hpp"

namespace bench {

/// Memory [batch, time, head, channel] for all gradients of an operator, and for d_o.
template <class T, composition What>
struct gradient_buffers {
    rd::index tokens, depth, width;
    numbers<T> d_o, q, k, v, gate, beta;

    explicit gradient_buffers(shape const& s)
        : tokens(s.tokens()),
          depth(s.depth),
          width(s.width),
          d_o(std::size_t(tokens * width)),
          q(std::size_t(tokens * depth)),
          k(q.size()),
          v(d_o.size()),
          gate(std::size_t(What.decay == decay_kind::constant ? s.heads
                           : What.per_channel()               ? tokens * depth
                                                              : tokens)),
          beta(std::size_t(tokens)) {
        std::mt19937 generator(11);
        std::uniform_real_distribution<float> uniform(-1, 1);
        for (T& x : d_o) x = T(uniform(generator));
    }

    rd::gradients<What, T> views(shape const& s) {
        rd::gradients<What, T> to;
        to.q = rd::bthd(q, s.batch, s.time, s.heads, depth);
        to.k = rd::bthd(k, s.batch, s.time, s.heads, depth);
        to.v = rd::bthd(v, s.batch, s.time, s.heads, width);
        if constexpr (What.decay == decay_kind::constant) {
            to.gate = rd::view<T, 1>(gate.data(), {s.heads});
        } else if constexpr (What.per_channel()) {
            to.gate = rd::bthd(gate, s.batch, s.time, s.heads, depth);
        } else if constexpr (What.gated()) {
            to.gate = rd::bth(gate, s.batch, s.time, s.heads);
        }
        if constexpr (What.delta) to.beta = rd::bth(beta, s.batch, s.time, s.heads);
        return to;
    }
};

}  // namespace bench
