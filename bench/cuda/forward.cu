/// @file
/// Forward and step on a device, beside the time that memory alone would take (the floor) and the
/// error against the recurrence in double. Usage: bench_cuda [part of a name] [file.json]
#include "measure.cuh"

#include <cstdio>
#include <cstring>
#include <string>

namespace {

using bench::buffer;
namespace rd = rondo;
using half_word = Eigen::bfloat16;

struct shape {
    rd::index batch, time, heads, depth, width;
    rd::index tokens() const { return batch * time * heads; }
};

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

/// Error of one head of one sequence against the recurrence in double on the same numbers.
template <class Operator>
double error_of(Operator const& op, tensors<half_word> const& x, unsigned seed) {
    static constexpr auto what = Operator::composition;
    constexpr auto exact = rd::attention_t<what>{};
    tensors<double> const wide(x.s, what, x.ones, seed);
    wide.with_inputs<what>(
        1, [&](auto const& in, auto const& o) { exact.forward(rd::exec::cuda{}, in, o); });
    x.with_inputs<what>(
        0, [&](auto const& in, auto const& o) { op.forward(rd::exec::cuda{}, in, o); });
    auto const got = bench::on_host(x.o.data(), x.s.time * x.s.heads * x.s.width);
    auto const want = bench::on_host(wide.o.data(), x.s.time * x.s.heads * x.s.width);
    std::vector<float> a;
    std::vector<double> b;
    for (rd::index t = 0; t < x.s.time; ++t) {
        for (rd::index e = 0; e < x.s.width; ++e) {
            auto const at = std::size_t(t * x.s.heads * x.s.width + e);
            a.push_back(float(got[at]));
            b.push_back(want[at]);
        }
    }
    return bench::error_of(a, b);
}

template <class Operator>
void forward(report& to, std::string const& name, Operator op, bool ones = false) {
    static constexpr auto what = Operator::composition;
    constexpr rd::index tokens = 32768, heads = 16;
    for (rd::index depth : {64, 128}) {
        for (rd::index time : {2048, 8192, 32768}) {
            std::string const title =
                name + "/D" + std::to_string(depth) + "/T" + std::to_string(time);
            if (!to.wants(title)) continue;
            shape const s{tokens / time, time, heads, depth, depth};
            tensors<half_word> const one(s, what, ones, 1), other(s, what, ones, 11);
            double const error = error_of(op, one, 1);
            double const ms = bench::milliseconds(2, [&](cudaStream_t stream, int turn) {
                (turn == 0 ? one : other)
                    .template with_inputs<what>(0, [&](auto const& in, auto const& o) {
                        op.forward(rd::exec::cuda{stream}, in, o);
                    });
            });
            to.row(title, ms, one.bytes(what), error);
        }
    }
}

template <class Operator>
void step(report& to, std::string const& name, Operator op) {
    static constexpr auto what = Operator::composition;
    constexpr rd::index heads = 16;
    for (rd::index depth : {64, 128}) {
        for (rd::index batch : {64, 256}) {
            std::string const title =
                "step " + name + "/D" + std::to_string(depth) + "/B" + std::to_string(batch);
            if (!to.wants(title)) continue;
            rd::index const rows = batch * heads;
            buffer<half_word> const x(4 * rows * depth, -1, 0, 1);
            auto const part = [&](int i) {
                return rd::bhd(x.data() + i * rows * depth, batch, heads, depth);
            };
            constexpr int sets = 4;  // together beyond the second cache
            std::vector<buffer<float>> states;
            for (int i = 0; i < sets; ++i) {
                states.emplace_back(rows * (depth * depth + 2 * depth), 1, 2, 5 + i);
            }
            auto const call = [&](cudaStream_t stream, int turn) {
                float* const s = states[std::size_t(turn)].data();
                rd::state_view<float> state;
                state.s = s;
                state.max = s + rows * depth * depth;
                state.sum = state.max + rows * depth;
                state.batch = batch, state.heads = heads;
                state.depth = depth, state.width = depth;
                state.gate_width = what.additive() ? depth : 0;
                state.present = true;
                auto const q = part(0), k = part(0), v = part(1), g = part(2), o = part(3);
                rd::exec::cuda const place{stream};
                if constexpr (what.gated()) {
                    op.step(place, {q, k, v, g}, state, o);
                } else {
                    op.step(place, {q, k, v}, state, o);
                }
            };
            double const ms = bench::milliseconds(sets, call);
            to.row(title, ms, double(rows) * (2.0 * 4 * depth * depth + 10 * depth), 0);
        }
    }
}

void all(report& to) {
    using namespace rd;
    forward(to, "none", attention(decay::none));
    forward(to, "constant", attention(decay::constant));
    forward(to, "scalar", attention(decay::scalar));
    forward(to, "vector", attention(decay::vector));
    forward(to, "lightnet", attention(decay::additive), true);
    forward(to, "lightnet bidirectional", attention(decay::additive, bidirectional), true);
    forward(to, "lion_s", attention(decay::scalar, decay::on_write, bidirectional));
    forward(to, "gated delta", attention(decay::scalar, update::delta));
    forward(to, "vector delta", attention(decay::vector, update::delta));
    step(to, "none", attention(decay::none));
    step(to, "vector", attention(decay::vector));
    step(to, "lightnet", attention(decay::additive));
}

}  // namespace

int main(int count, char** arguments) {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        std::puts("skipped: no GPU");
        return 0;
    }
    report to{bench::copy_rate(), count > 1 ? arguments[1] : "",
              count > 2 ? std::fopen(arguments[2], "w") : nullptr};
    std::printf("copy %.2f TB/s\n", to.rate * 1e-12);
    if (to.json != nullptr) std::fprintf(to.json, "[\n");
    all(to);
    if (to.json != nullptr) std::fprintf(to.json, "\n]\n");
}
