/// @file
/// What the benchmarks of a device share: the tensors of a call, and a line for each measurement.
#pragma once

#include "measure.cuh"

#include <cstdio>
#include <string>

namespace bench {

struct shape {
    rd::index batch, time, heads, depth, width;
    double least_gate = -0.1;  // of log decays
    rd::index tokens() const { return batch * time * heads; }
};

struct report {
    double rate;
    char const* program;
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
                     "%s\n    {\"name\": \"%s/%s\", \"milliseconds\": %g, \"floor\": %g, "
                     "\"error\": %g}",
                     first ? "" : ",", program, name.c_str(), ms, floor, error);
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
            gate = {n.tokens() * gates, additive ? -2.0 : n.least_gate, additive ? 2.0 : 0.0,
                    seed + 3};
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

/// row(title, shape) for B T = 32768 tokens of 16 heads, in sequences of three lengths, where a
/// report wants it.
template <class Row>
void for_each_length(report const& to, std::string const& name, Row const& row) {
    constexpr rd::index tokens = 32768, heads = 16;
    for (rd::index depth : {64, 128}) {
        for (rd::index time : {2048, 8192, 32768}) {
            auto const title = name + "/D" + std::to_string(depth) + "/T" + std::to_string(time);
            if (to.wants(title)) row(title, shape{tokens / time, time, heads, depth, depth});
        }
    }
}

/// The program: all(report) for [part of a name] [file.json], which bench/report reads.
inline int measure_all(char const* program, int count, char** arguments, void (*all)(report&)) {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        std::puts("skipped: no GPU");
        return 0;
    }
    report to{copy_rate(), program, count > 1 ? arguments[1] : "",
              count > 2 ? std::fopen(arguments[2], "w") : nullptr};
    std::printf("copy %.2f TB/s\n", to.rate * 1e-12);
    if (count > 2 && to.json == nullptr) {
        std::printf("%s cannot be written\n", arguments[2]);
        return 1;
    }
    if (to.json != nullptr) std::fprintf(to.json, "{\"benchmarks\": [");
    all(to);
    if (to.json != nullptr) std::fprintf(to.json, "\n]}\n");
    return 0;
}

}  // namespace bench
