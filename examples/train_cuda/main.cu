// The gradient descent of examples/fit on a device: everything stays in its memory but the loss.
// The processor takes the same steps beside it, and both losses agree within rounding.

#include <rondo/cuda.cuh>

#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

namespace rd = rondo;

namespace {

constexpr rd::index B = 2, H = 2, T = 128, D = 16, E = 16;
constexpr rd::index gate_count = B * T * H * D, value_count = B * T * H * E;
constexpr auto gla = rd::attention(rd::decay::vector);

std::vector<float> uniform(rd::index n, float low, float high) {
    static std::mt19937 generator(1);
    std::uniform_real_distribution<float> values(low, high);
    std::vector<float> x(static_cast<std::size_t>(n));
    for (float& a : x) a = values(generator);
    return x;
}

/// Numbers in host memory.
struct host_numbers {
    std::vector<float> x;
    explicit host_numbers(std::vector<float> const& from) : x(from) {}
    float* data() { return x.data(); }
    std::vector<float> values() const { return x; }
};

/// Numbers in device memory.
struct device_numbers {
    float* x = nullptr;
    std::size_t size;

    explicit device_numbers(std::vector<float> const& from) : size(from.size()) {
        rd::cuda::expect("cudaMalloc", cudaMalloc(&x, size * sizeof(float)));
        rd::cuda::expect("cudaMemcpy",
                         cudaMemcpy(x, from.data(), size * sizeof(float), cudaMemcpyHostToDevice));
    }
    device_numbers(device_numbers const&) = delete;
    ~device_numbers() { static_cast<void>(cudaFree(x)); }
    float* data() { return x; }
    std::vector<float> values() const {
        std::vector<float> to(size);
        rd::cuda::expect("cudaMemcpy",
                         cudaMemcpy(to.data(), x, size * sizeof(float), cudaMemcpyDeviceToHost));
        return to;
    }
};

/// One element of each loop of the training, for both places.
struct difference {
    float const *output, *target;
    float* to;
    __host__ __device__ void operator()(rd::index i) const { to[i] = output[i] - target[i]; }
};

/// Adam (Kingma & Ba 2015) on the raw parameters r of the log decays g = -log(1 + exp(-r)).
struct adam {
    float *raw, *mean, *square, *log_decay;
    float const* gradient;
    float fade, fade2;

    __host__ __device__ void operator()(rd::index i) const {
        float const slope = gradient[i] / (1 + expf(raw[i]));  // dg / dr
        mean[i] = 0.9F * mean[i] + 0.1F * slope;
        square[i] = 0.99F * square[i] + 0.01F * slope * slope;
        raw[i] -= 0.05F * (mean[i] / fade) / (sqrtf(square[i] / fade2) + 1e-8F);
        log_decay[i] = -log1pf(expf(-raw[i]));
    }
};

template <class Body>
__global__ void each(Body const body, rd::index count) {
    rd::index const i = rd::index(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < count) body(i);
}

template <class Body>
void for_each(rd::exec::cuda const& place, rd::index count, Body const& body) {
    each<<<unsigned((count + 255) / 256), 256, 0, place.stream>>>(body, count);
    rd::cuda::expect("launch of each", cudaGetLastError());
}
template <class Body>
void for_each(rd::exec::simd_t, rd::index count, Body const& body) {
    for (rd::index i = 0; i < count; ++i) body(i);
}

/// The losses of every 50th step, in a place whose memory `Numbers` are in.
template <class Numbers, class Place>
std::vector<double> train(Place const& place, std::vector<float> const& q_data,
                          std::vector<float> const& k_data, std::vector<float> const& v_data,
                          std::vector<float> const& true_gates) {
    std::vector<float> const no_gates(gate_count), no_values(value_count);
    std::vector<float> const start(gate_count, -std::log1p(1.0F));  // of r = 0
    Numbers q_numbers(q_data), k_numbers(k_data), v_numbers(v_data), wanted(true_gates);
    Numbers target(no_values), output(no_values), d_output(no_values), d_gate(no_gates);
    Numbers raw(no_gates), mean(no_gates), square(no_gates), log_decay(start);

    auto const keys = [](Numbers& x) { return rd::bthd(x.data(), B, T, H, D); };
    auto const values = [](Numbers& x) { return rd::bthd(x.data(), B, T, H, E); };
    auto const q = keys(q_numbers), k = keys(k_numbers), v = values(v_numbers);
    gla.forward(place, {q, k, v, keys(wanted)}, values(target));

    std::vector<double> losses;
    for (int step = 0; step <= 300; ++step) {
        gla.forward(place, {q, k, v, keys(log_decay)}, values(output));
        for_each(place, value_count, difference{output.data(), target.data(), d_output.data()});
        gla.backward(place, {q, k, v, keys(log_decay)}, values(d_output), {.gate = keys(d_gate)});
        if (step % 50 == 0) {
            double loss = 0;
            for (float x : d_output.values()) loss += 0.5 * double(x) * double(x);
            losses.push_back(loss / double(value_count));
        }
        float const t = float(step + 1);
        for_each(place, gate_count,
                 adam{raw.data(), mean.data(), square.data(), log_decay.data(), d_gate.data(),
                      1 - std::pow(0.9F, t), 1 - std::pow(0.99F, t)});
    }
    return losses;
}

}  // namespace

int main() {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        std::puts("skipped: no GPU");
        return 0;
    }
    auto const q = uniform(B * T * H * D, -1, 1), k = uniform(B * T * H * D, -1, 1);
    auto const v = uniform(B * T * H * E, -1, 1), gates = uniform(gate_count, -0.7F, 0);
    auto const there = train<device_numbers>(rd::exec::cuda{}, q, k, v, gates);
    auto const here = train<host_numbers>(rd::exec::simd, q, k, v, gates);
    bool same = true;
    for (std::size_t i = 0; i < there.size(); ++i) {
        std::printf("step %3d  loss %.6f  on the processor %.6f\n", int(50 * i), there[i], here[i]);
        same = same && std::abs(there[i] - here[i]) <= 1e-3 * here[i];
    }
    std::printf("the loss fell to %.2f %% of its start\n", 100 * there.back() / there.front());
    return same && there.back() < 0.01 * there.front() ? 0 : 1;
}
