// Fits a recurrence with a log decay for each key channel to the output of another one, by gradient
// descent: the gates are the only thing that is not known. The loss falls below 1 % of its start.

#include <rondo/rondo.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

namespace rd = rondo;

namespace {

constexpr rd::index B = 2, H = 2, T = 128, D = 16, E = 16;
constexpr auto gla = rd::attention(rd::decay::vector);

std::vector<float> uniform(rd::index n, float low, float high) {
    static std::mt19937 generator(1);
    std::uniform_real_distribution<float> values(low, high);
    std::vector<float> x(static_cast<std::size_t>(n));
    for (float& a : x) a = values(generator);
    return x;
}

/// Adam (Kingma & Ba 2015) on the raw parameters r of the log decays g = -log(1 + exp(-r)).
class gates {
public:
    explicit gates(std::size_t n) : raw_(n, 0), mean_(n), square_(n), log_decay(n) { apply(); }

    void step(std::vector<float> const& gradient, int t) {
        float const fade = 1 - std::pow(0.9F, float(t)), fade2 = 1 - std::pow(0.99F, float(t));
        for (std::size_t i = 0; i < raw_.size(); ++i) {
            float const slope = gradient[i] / (1 + std::exp(raw_[i]));  // dg / dr
            mean_[i] = 0.9F * mean_[i] + 0.1F * slope;
            square_[i] = 0.99F * square_[i] + 0.01F * slope * slope;
            raw_[i] -= 0.05F * (mean_[i] / fade) / (std::sqrt(square_[i] / fade2) + 1e-8F);
        }
        apply();
    }

private:
    void apply() {
        for (std::size_t i = 0; i < raw_.size(); ++i)
            log_decay[i] = -std::log1p(std::exp(-raw_[i]));
    }
    std::vector<float> raw_, mean_, square_;

public:
    std::vector<float> log_decay;
};

}  // namespace

int main() {
    auto const q_data = uniform(B * T * H * D, -1, 1), k_data = uniform(B * T * H * D, -1, 1);
    auto const v_data = uniform(B * T * H * E, -1, 1);
    auto const q = rd::bthd(q_data, B, T, H, D), k = rd::bthd(k_data, B, T, H, D);
    auto const v = rd::bthd(v_data, B, T, H, E);

    // What is to be found: gates between exp(-0.7) and 1, and the output that they make.
    auto const true_gates = uniform(B * T * H * D, -0.7F, 0);
    std::vector<float> target(v_data.size()), output(v_data.size()), d_output(v_data.size());
    std::vector<float> d_gate(true_gates.size());
    gla.forward(rd::exec::simd, {q, k, v, rd::bthd(true_gates, B, T, H, D)},
                rd::bthd(target, B, T, H, E));

    gates parameters(true_gates.size());
    auto const gate = rd::bthd(parameters.log_decay, B, T, H, D);
    double first = 0, loss = 0;
    constexpr int steps = 300;
    for (int step = 0; step <= steps; ++step) {
        gla.forward(rd::exec::simd, {q, k, v, gate}, rd::bthd(output, B, T, H, E));
        loss = 0;
        for (std::size_t i = 0; i < output.size(); ++i) {
            d_output[i] = output[i] - target[i];
            loss += 0.5 * d_output[i] * d_output[i] / double(output.size());
        }
        if (step == 0) first = loss;
        if (step % 50 == 0) std::printf("step %3d  loss %.6f\n", step, loss);
        gla.backward(rd::exec::simd, {q, k, v, gate}, rd::bthd(d_output, B, T, H, E),
                     {.gate = rd::bthd(d_gate, B, T, H, D)});
        parameters.step(d_gate, step + 1);
    }
    std::printf("the loss fell to %.2f %% of its start\n", 100 * loss / first);
    return loss < 0.01 * first ? 0 : 1;
}
