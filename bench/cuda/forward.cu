/// @file
/// Forward and step on a device, beside the time that memory alone would take (the floor) and the
/// error against the recurrence in double. Usage: bench_cuda [part of a name] [file.json]
#include "call.cuh"

namespace {

using bench::buffer, bench::report, bench::shape, bench::tensors;
namespace rd = rondo;
using half_word = Eigen::bfloat16;

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

int main(int count, char** arguments) { return bench::measure_all(count, arguments, all); }
