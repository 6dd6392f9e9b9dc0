/// @file
/// One problem of the benchmarks: random data of one shape, and an operator run on it in any
/// precision.
#pragma once

#include "memory.hpp"

#include <rondo/rondo.hpp>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>

namespace bench {

namespace rd = rondo;
using rd::detail::composition;
using rd::detail::decay_kind;

enum class layout { bthd, bhtd };

struct shape {
    rd::index batch = 1, time = 512, heads = 8, depth = 64, width = 64;
    layout memory = layout::bthd;

    rd::index tokens() const { return batch * time * heads; }
    /// Multiply-adds that any form needs, counted twice: k v^T into the state and q out of it.
    double flops() const { return 4.0 * double(tokens() * depth * width); }
    /// Bytes of float that a call has to move: inputs once, the output once.
    double bytes(composition const& what) const {
        rd::index const gate = what.per_channel() ? depth : what.gated() ? 1 : 0;
        return 4.0 * double(tokens() * (2 * depth + 2 * width + gate));
    }
};

/// The data in T, rounded to `Values` before: a reference for 16 bits reads what they read.
template <class T, class Values = T>
class problem {
public:
    using A = rd::accumulator_t<T>;

    explicit problem(shape const& s) : s_(s) {
        q_ = values(s.depth, -1, 1);
        // keys of about unit length keep the delta rule contracting
        k_ = values(s.depth, -1, 1, std::sqrt(float(s.depth) / 3));
        v_ = values(s.width, -1, 1);
        gate_ = draw<A, float>(s.depth, -0.2, 0);
        beta_ = draw<A, float>(1, 0, 1);
        o_.resize(v_.size());
    }

    /// Calls op.forward, or whatever `run` does with the inputs and the output.
    template <composition What, class Run>
    void with_inputs(Run const& run) {
        run(inputs<What, false>(
                over(q_, s_.depth), over(k_, s_.depth), over(v_, s_.width),
                [&] { return gate<What>(); }, per_token(beta_)),
            over(o_, s_.width));
    }

    /// The same for step: the problem's shape has one token.
    template <composition What, class Run>
    void with_token(Run const& run) {
        auto const channels = [&](auto& data, rd::index count) {
            return rd::bhd(data, s_.batch, s_.heads, count);
        };
        auto const heads = [&](numbers<A>& data) {
            return rd::view<A, 2>(data.data(), {s_.batch, s_.heads});
        };
        auto const gate = [&] {
            if constexpr (What.per_channel()) {
                return channels(gate_, s_.depth);
            } else if constexpr (What.decay == decay_kind::constant) {
                return rd::view<A, 1>(gate_.data(), {s_.heads});
            } else {
                return heads(gate_);
            }
        };
        run(inputs<What, true>(channels(q_, s_.depth), channels(k_, s_.depth),
                               channels(v_, s_.width), gate, heads(beta_)),
            channels(o_, s_.width));
    }

    numbers<T> const& output() const { return o_; }

private:
    /// What the operator takes of all there is.
    template <composition What, bool Token, class Rows, class Gate, class Beta>
    static rd::inputs<What, A, Token> inputs(Rows const& q, Rows const& k, Rows const& v,
                                             Gate const& gate, Beta const& beta) {
        if constexpr (!What.gated() && !What.delta) {
            return {q, k, v};
        } else if constexpr (!What.gated()) {
            return {q, k, v, beta};
        } else if constexpr (!What.delta) {
            return {q, k, v, gate()};
        } else {
            return {q, k, v, gate(), beta};
        }
    }

    template <class To, class Through>
    numbers<To> draw(rd::index channels, double low, double high, float divisor = 1) {
        numbers<To> result(std::size_t(s_.tokens() * channels));
        std::uniform_real_distribution<float> uniform{float(low), float(high)};
        for (To& x : result) x = To(Through(uniform(generator_) / divisor));
        return result;
    }
    numbers<T> values(rd::index channels, double low, double high, float divisor = 1) {
        using through = std::conditional_t<std::is_same_v<Values, double>, float, Values>;
        return draw<T, through>(channels, low, high, divisor);
    }

    template <class X>
    auto over(numbers<X>& data, rd::index channels) {
        return s_.memory == layout::bthd ? rd::bthd(data, s_.batch, s_.time, s_.heads, channels)
                                         : rd::bhtd(data, s_.batch, s_.heads, s_.time, channels);
    }

    auto per_token(numbers<A>& data) {
        return s_.memory == layout::bthd ? rd::bth(data, s_.batch, s_.time, s_.heads)
                                         : rd::bht(data, s_.batch, s_.heads, s_.time);
    }

    template <composition What>
    auto gate() {
        if constexpr (What.per_channel()) {
            return over(gate_, s_.depth);
        } else if constexpr (What.decay == decay_kind::constant) {
            return rd::view<A, 1>(gate_.data(), {s_.heads});
        } else {
            return per_token(gate_);
        }
    }

    shape s_;
    std::mt19937 generator_{7};  // the same values in float and double
    numbers<T> q_, k_, v_, o_;
    numbers<A> gate_, beta_;
};

/// The largest difference from the recurrence in double, over the largest output.
template <class Numbers, class Reference>
double error_of(Numbers const& got, Reference const& wanted) {
    double worst = 0, largest = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        worst = std::max(worst, std::abs(double(got[i]) - wanted[i]));
        largest = std::max(largest, std::abs(wanted[i]));
    }
    return largest == 0 ? worst : worst / largest;
}

}  // namespace bench
