/// @file
/// Training on a device: forward and backward of every operator, beside the time that memory alone
/// would take, and the largest error of a gradient against the recurrence in double.
/// Usage: bench_cuda_backward [part of a name] [file.json]
#include "call.cuh"

namespace {

using bench::buffer, bench::report, bench::shape, bench::tensors;
namespace rd = rondo;
using half_word = Eigen::bfloat16;

/// The gradients of a call, each as its input.
template <class T>
struct gradient_tensors {
    buffer<T> d_o, q, k, v, gate, beta;

    gradient_tensors(tensors<T> const& x, rd::detail::composition const& what, unsigned seed) {
        rd::index const n = x.s.tokens(), gates = what.per_channel() ? x.s.depth : 1;
        d_o = {n * x.s.width, -1, 1, seed + 6};
        q = {n * x.s.depth, 7, 8, 0};
        v = {n * x.s.width, 7, 8, 0};
        if (!x.ones) k = {n * x.s.depth, 7, 8, 0};
        if (what.gated()) gate = {n * gates, 7, 8, 0};
        if (what.delta) beta = {n, 7, 8, 0};
    }
};

/// backward on the first `heads` heads of the first sequence, or on all.
template <class Operator, class T>
void differentiate(Operator const& op, tensors<T> const& x, gradient_tensors<T> const& to,
                   cudaStream_t stream, rd::index heads = 0) {
    static constexpr auto what = Operator::composition;
    using gradients = rd::gradients<what, rd::accumulator_t<T>>;
    auto const part = [&](auto view) {
        return heads == 0 ? view : view.slice(0, 0, 1).slice(1, 0, heads);
    };
    auto const rows = [&](buffer<T> const& memory, rd::index channels) {
        return part(x.rows(memory, channels));
    };
    gradients all;
    all.q = rows(to.q, x.s.depth), all.v = rows(to.v, x.s.width);
    if (!x.ones) all.k = rows(to.k, x.s.depth);
    auto const scalars = [&](buffer<T> const& memory) {
        return part(rd::bth(memory.data(), x.s.batch, x.s.time, x.s.heads));
    };
    if constexpr (what.per_channel()) {
        all.gate = rows(to.gate, x.s.depth);
    } else if constexpr (what.gate_rank() == 1) {
        all.gate = rd::view<T, 1>(to.gate.data(), {heads == 0 ? x.s.heads : heads});
    } else if constexpr (what.gated()) {
        all.gate = scalars(to.gate);
    }
    if constexpr (what.delta) all.beta = scalars(to.beta);
    x.template with_inputs<what>(heads, [&](auto const& in, auto const&) {
        op.backward(rd::exec::cuda{stream}, in, rows(to.d_o, x.s.width), all);
    });
}

/// The largest error of a gradient of one head of one sequence.
template <class Operator>
double error_of(Operator const& op, tensors<half_word> const& x,
                gradient_tensors<half_word> const& to, unsigned seed) {
    static constexpr auto what = Operator::composition;
    tensors<double> const wide(x.s, what, x.ones, seed);
    gradient_tensors<double> const exact(wide, what, seed);
    differentiate(rd::attention_t<what>{}, wide, exact, nullptr, 1);
    differentiate(op, x, to, nullptr);
    double worst = 0;
    auto const compare = [&](buffer<half_word> const& got, buffer<double> const& want,
                             rd::index channels) {
        if (got.data() == nullptr) return;
        auto const size = x.s.time * x.s.heads * channels;
        auto const from = bench::on_host(got.data(), size);
        auto const to = bench::on_host(want.data(), size);
        std::vector<float> a;
        std::vector<double> b;
        for (rd::index t = 0; t < x.s.time; ++t) {
            for (rd::index c = 0; c < channels; ++c) {
                auto const at = std::size_t(t * x.s.heads * channels + c);
                a.push_back(float(from[at]));
                b.push_back(to[at]);
            }
        }
        worst = std::max(worst, bench::error_of(a, b));
    };
    compare(to.q, exact.q, x.s.depth);
    compare(to.k, exact.k, x.s.depth);
    compare(to.v, exact.v, x.s.width);
    // One sequence's part of a gate that all sequences share is nowhere by itself.
    if (what.gate_rank() != 1) compare(to.gate, exact.gate, what.per_channel() ? x.s.depth : 1);
    compare(to.beta, exact.beta, 1);
    return worst;
}

template <class Operator>
void train(report& to, std::string const& name, Operator op, bool ones = false,
           double least_gate = shape{}.least_gate) {
    static constexpr auto what = Operator::composition;
    bench::for_each_length(to, name, [&](std::string const& title, shape s) {
        s.least_gate = least_gate;
        tensors<half_word> const one(s, what, ones, 1), other(s, what, ones, 11);
        gradient_tensors<half_word> const d_one(one, what, 1), d_other(other, what, 11);
        double const error = error_of(op, one, d_one, 1);
        double const ms = bench::milliseconds(2, [&](cudaStream_t stream, int turn) {
            auto const& x = turn == 0 ? one : other;
            x.template with_inputs<what>(0, [&](auto const& in, auto const& o) {
                op.forward(rd::exec::cuda{stream}, in, o);
            });
            differentiate(op, x, turn == 0 ? d_one : d_other, stream);
        });
        // Inputs are read twice and their gradients written; the output, and its gradient.
        double const outputs = double(s.tokens() * s.width) * sizeof(half_word);
        to.row(title, ms, 3 * one.bytes(what) - outputs, error);
    });
}

void all(report& to) {
    using namespace rd;
    train(to, "none", attention(decay::none));
    train(to, "constant", attention(decay::constant));
    train(to, "scalar", attention(decay::scalar));
    train(to, "vector", attention(decay::vector));
    train(to, "vector, gates from -5 to 0", attention(decay::vector), false, -5);
    train(to, "lightnet", attention(decay::additive), true);
    train(to, "lightnet bidirectional", attention(decay::additive, bidirectional), true);
    train(to, "gated delta", attention(decay::scalar, update::delta));
    train(to, "vector delta", attention(decay::vector, update::delta));
}

}  // namespace

int main(int count, char** arguments) {
    return bench::measure_all("cuda_training", count, arguments, all);
}
