/// @file
/// Timing on a device: medians of graph replays between events, over memory beyond its caches.
#pragma once

#include <rondo/cuda.cuh>

#include <Eigen/Core>

#include <algorithm>
#include <vector>

namespace bench {

namespace rd = rondo;
using rd::cuda::expect;

/// Device memory filled with uniform numbers of any element type.
template <class T>
class buffer {
public:
    buffer() = default;
    buffer(rd::index size, double low, double high, unsigned seed);
    buffer(buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
    buffer& operator=(buffer&& other) noexcept {
        std::swap(data_, other.data_);
        return *this;
    }
    ~buffer() { static_cast<void>(cudaFree(data_)); }
    T* data() const { return data_; }

private:
    T* data_ = nullptr;
};

/// A value that depends on its place and the seed alone, the same in every element type but for
/// rounding to bfloat16.
__device__ inline float draw(rd::index i, unsigned seed, float low, float high) {
    unsigned long long x =
        (static_cast<unsigned long long>(i) + seed * 0x9E3779B9ULL) * 0xD1342543DE82EF95ULL;
    x ^= x >> 32;
    x *= 0xBF58476D1CE4E5B9ULL;
    float const unit = static_cast<float>(x >> 40) * 0x1p-24F;
    return __bfloat162float(__float2bfloat16(low + (high - low) * unit));
}

template <class T>
__global__ void fill(T* to, rd::index size, unsigned seed, float low, float high) {
    rd::index const step = rd::index(gridDim.x) * blockDim.x;
    for (rd::index i = rd::index(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += step) {
        float const x = draw(i, seed, low, high);
        if constexpr (std::is_same_v<T, Eigen::half>) {
            reinterpret_cast<__half*>(to)[i] = __float2half(x);
        } else if constexpr (sizeof(T) == 2) {
            reinterpret_cast<__nv_bfloat16*>(to)[i] = __float2bfloat16(x);
        } else {
            to[i] = x;
        }
    }
}

template <class T>
buffer<T>::buffer(rd::index size, double low, double high, unsigned seed) {
    expect("cudaMalloc", cudaMalloc(&data_, std::size_t(size) * sizeof(T)));
    fill<<<2048, 256>>>(data_, size, seed, float(low), float(high));
    expect("launch of fill", cudaGetLastError());
}

/// Milliseconds of one of `calls`, which take turns so that none finds its data in a cache: the
/// median over replays of a graph that holds each of them once.
template <class Call>
double milliseconds(int calls, Call const& call) {
    cudaStream_t stream;
    expect("cudaStreamCreate", cudaStreamCreate(&stream));
    cudaGraph_t graph;
    cudaGraphExec_t ready;
    expect("cudaStreamBeginCapture",
           cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < calls; ++i) call(stream, i);
    expect("cudaStreamEndCapture", cudaStreamEndCapture(stream, &graph));
    expect("cudaGraphInstantiate", cudaGraphInstantiate(&ready, graph, 0));
    cudaEvent_t begin, end;
    expect("cudaEventCreate", cudaEventCreate(&begin));
    expect("cudaEventCreate", cudaEventCreate(&end));
    std::vector<float> times;
    double spent = 0;
    // Warm up first; stop early where one replay takes long.
    for (int i = 0; i < 30 && (i < 7 || spent < 200); ++i) {
        expect("cudaEventRecord", cudaEventRecord(begin, stream));
        expect("cudaGraphLaunch", cudaGraphLaunch(ready, stream));
        expect("cudaEventRecord", cudaEventRecord(end, stream));
        expect("cudaEventSynchronize", cudaEventSynchronize(end));
        float ms = 0;
        expect("cudaEventElapsedTime", cudaEventElapsedTime(&ms, begin, end));
        spent += ms;
        if (i >= 3) times.push_back(ms);
    }
    std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
    expect("cudaGraphExecDestroy", cudaGraphExecDestroy(ready));
    expect("cudaGraphDestroy", cudaGraphDestroy(graph));
    expect("cudaStreamDestroy", cudaStreamDestroy(stream));
    return times[times.size() / 2] / calls;
}

static __global__ void copy(float4 const* from, float4* to) {
    constexpr int each = 4;
    auto const at = (rd::index(blockIdx.x) * each) * blockDim.x + threadIdx.x;
    float4 x[each];
    for (int i = 0; i < each; ++i) x[i] = __ldcs(from + at + i * blockDim.x);
    for (int i = 0; i < each; ++i) __stcs(to + at + i * blockDim.x, x[i]);
}

/// Bytes a second, read and written, of a copy within the device.
inline double copy_rate() {
    constexpr rd::index size = rd::index(1) << 29;
    constexpr unsigned threads = 512, blocks = unsigned(size / 16 / threads);
    buffer<float> const from(size, 0, 1, 1), to(size, 0, 1, 2);
    double const ms = milliseconds(1, [&](cudaStream_t stream, int) {
        copy<<<blocks, threads, 0, stream>>>(reinterpret_cast<float4 const*>(from.data()),
                                             reinterpret_cast<float4*>(to.data()));
    });
    return 2.0 * double(size) * sizeof(float) / (ms * 1e-3);
}

/// ||got - want|| / ||want||
template <class T>
double error_of(std::vector<T> const& got, std::vector<double> const& want) {
    double squares = 0, size = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        double const difference = double(got[i]) - want[i];
        squares += difference * difference;
        size += want[i] * want[i];
    }
    return std::sqrt(squares / size);
}

template <class T>
std::vector<T> on_host(T const* from, rd::index size) {
    std::vector<T> result(static_cast<std::size_t>(size));
    expect("cudaMemcpy",
           cudaMemcpy(result.data(), from, std::size_t(size) * sizeof(T), cudaMemcpyDeviceToHost));
    return result;
}

}  // namespace bench
