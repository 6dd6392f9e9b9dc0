/// @file
/// Rows of the report, and the tensors of a call.
#pragma once

#include "measure.cuh"

#include <cstdio>
#include <cstring>
#include <string>

namespace bench {

struct shape {
    rd::index batch, time, heads, depth, width;
    rd::index tokens() const { return batch * time * heads; }
};

/// Prints rows, and writes them to a file where there is one.
struct report {
    double rate;
    char const* filter;
    std::FILE* json;
    bool first = true;

    bool wants(std::string const& name) const { return name.find(filter) != std::string::npos; }
    void row(std::string const& name, double ms, double bytes, double error) {
        double const floor = bytes / rate * 1e3;
        std::printf("%-44s %9.4f ms  floor %7.4f  share %5.1f %%  error %.1e\n", name.c_str(), ms,
                    floor, 100 * floor / ms, error);
        std::fflush(stdout);
        if (json == nullptr) return;
        std::fprintf(json,
                     "%s  {\"name\": \"%s\", \"milliseconds\": %g, \"floor\": %g, \"error\": %g}",
                     first ? "" : ",\n", name.c_str(), ms, floor, error);
        first = false;
    }
};

/// The tensors of a call. Keys of about unit length keep the delta rule contracting.
template <class T>
struct tensors {
    shape s;
    buffer<T> q, k, v, gate, beta, o;
    bool ones;

    tensors(shape const& n, rd::detail::composition const& what, bool key_of_ones, unsigned seed)
        : s(n),
          q(n.tokens() * n.depth, -1, 1, seed),
          v(n.tokens() * n.width, -1, 1, seed + 2),
          o(n.tokens() * n.width, 7, 8, seed + 5),
          ones(key_of_ones) {
        double const length = what.delta ? std::sqrt(3.0 / double(n.depth)) : 1;
        if (!ones) k = {n.tokens() * n.depth, -length, length, seed + 1};
        rd::index const gates = what.per_channel() ? n.depth : 1;
        bool const additive = what.additive();
        if (what.gated()) {
            gate = {n.tokens() * gates, additive ? -2.0 : -0.1, additive ? 2.0 : 0.0, seed + 3};
        }
        if (what.delta) beta = {n.tokens(), 0, 1, seed + 4};
    }

    auto rows(buffer<T> const& x, rd::index channels) const {
        return rd::bthd(x.data(), s.batch, s.time, s.heads, channels);
    }
    double bytes(rd::detail::composition const& what) const {
        rd::index const gates = what.per_channel() ? s.depth : what.gated() ? 1 : 0;
        rd::index const each =
            s.depth * (ones ? 1 : 2) + 2 * s.width + gates + (what.delta ? 1 : 0);
        return double(s.tokens() * each) * sizeof(T);
    }

    /// run(inputs, o) on the first `heads` heads of the first sequence, or on all.
    template <rd::detail::composition What, class Run>
    void with_inputs(rd::index heads, Run const& run) const {
        auto const part = [&](auto view) {
            return heads == 0 ? view : view.slice(0, 0, 1).slice(1, 0, heads);
        };
        using A = rd::accumulator_t<T>;
        auto const qs = part(rows(q, s.depth)), vs = part(rows(v, s.width));
        auto const gates = [&] {
            if constexpr (What.per_channel()) {
                return part(rows(gate, s.depth));
            } else if constexpr (What.gate_rank() == 1) {
                return rd::view<T, 1>(gate.data(), {heads == 0 ? s.heads : heads});
            } else {
                return part(rd::bth(gate.data(), s.batch, s.time, s.heads));
            }
        }();
        auto const strengths = part(rd::bth(beta.data(), s.batch, s.time, s.heads));
        auto const call = [&](auto const& key) {
            using inputs = rd::inputs<What, A>;
            auto const in = [&] {
                if constexpr (What.gated() && What.delta) {
                    return inputs{qs, key, vs, gates, strengths};
                } else if constexpr (What.gated()) {
                    return inputs{qs, key, vs, gates};
                } else if constexpr (What.delta) {
                    return inputs{qs, key, vs, strengths};
                } else {
                    return inputs{qs, key, vs};
                }
            }();
            run(in, part(rows(o, s.width)));
        };
        ones ? call(rd::ones) : call(part(rows(k, s.depth)));
    }
};

/// Error of one head of one sequence against the same in double on the same numbers; run(place,
/// inputs, o) is the call.
template <rd::detail::composition What, class T, class Run>
double error_of(tensors<T> const& x, unsigned seed, Run const& run) {
    tensors<double> const wide(x.s, What, x.ones, seed);
    wide.template with_inputs<What>(
        1, [&](auto const& in, auto const& o) { run(rd::exec::cuda{}, in, o); });
    x.template with_inputs<What>(
        0, [&](auto const& in, auto const& o) { run(rd::exec::cuda{}, in, o); });
    auto const got = on_host(x.o.data(), x.s.time * x.s.heads * x.s.width);
    auto const want = on_host(wide.o.data(), x.s.time * x.s.heads * x.s.width);
    std::vector<float> a;
    std::vector<double> b;
    for (rd::index t = 0; t < x.s.time; ++t) {
        for (rd::index e = 0; e < x.s.width; ++e) {
            auto const at = std::size_t(t * x.s.heads * x.s.width + e);
            a.push_back(float(got[at]));
            b.push_back(want[at]);
        }
    }
    return error_of(a, b);
}

/// B T = 32768 tokens of 16 heads, in sequences of three lengths.
template <class T, class Operator>
void forward(report& to, std::string const& name, Operator op, bool ones = false) {
    static constexpr auto what = Operator::composition;
    constexpr rd::index tokens = 32768, heads = 16;
    for (rd::index depth : {64, 128}) {
        for (rd::index time : {2048, 8192, 32768}) {
            std::string const title =
                name + "/D" + std::to_string(depth) + "/T" + std::to_string(time);
            if (!to.wants(title)) continue;
            shape const s{tokens / time, time, heads, depth, depth};
            tensors<T> const one(s, what, ones, 1), other(s, what, ones, 11);
            double const error = error_of<what>(
                one, 1,
                [&](auto place, auto const& in, auto const& o) { op.forward(place, in, o); });
            double const ms = milliseconds(2, [&](cudaStream_t stream, int turn) {
                (turn == 0 ? one : other)
                    .template with_inputs<what>(0, [&](auto const& in, auto const& o) {
                        op.forward(rd::exec::cuda{stream}, in, o);
                    });
            });
            to.row(title, ms, one.bytes(what), error);
        }
    }
}

}  // namespace bench
