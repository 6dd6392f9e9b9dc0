/// @file
/// Device memory in the order of a stream: no call here waits for the device, and all of them may
/// be captured in a graph.
#pragma once

#include <rondo/cuda/error.cuh>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <utility>

namespace rondo::inline RONDO_ISA::cuda {

/// Memory of one call, given back to the stream's pool behind the work that uses it.
class scratch {
public:
    scratch(cudaStream_t stream, std::size_t bytes) : stream_(stream) {
        if (bytes > 0) expect("cudaMallocAsync", cudaMallocAsync(&data_, bytes, stream));
    }
    scratch(scratch&& other) noexcept
        : stream_(other.stream_), data_(std::exchange(other.data_, nullptr)) {}
    scratch& operator=(scratch&&) = delete;
    ~scratch() {
        if (data_ != nullptr) static_cast<void>(cudaFreeAsync(data_, stream_));
    }

    template <class T>
    T* at(std::size_t offset) const noexcept {
        return reinterpret_cast<T*>(static_cast<std::byte*>(data_) + offset);
    }

private:
    cudaStream_t stream_;
    void* data_ = nullptr;
};

/// Adds up the parts of a scratch block, each on a boundary that suits every access.
struct layout {
    std::size_t bytes = 0;

    std::size_t take(std::size_t wanted) noexcept {
        constexpr std::size_t line = 256;
        return std::exchange(bytes, bytes + (wanted + line - 1) / line * line);
    }
};

/// Words that travel as an argument of a kernel: their memory may go once the launch returns, in a
/// graph too, where a copy would be read again at every replay.
struct parcel {
    unsigned words[960];
};

static __global__ void unpack(parcel const from, unsigned* to, unsigned count) {
    for (unsigned i = threadIdx.x; i < count; i += blockDim.x) to[i] = from.words[i];
}

/// Copies host memory that may go when this returns.
inline void upload(cudaStream_t stream, void const* from, std::size_t bytes, void* to) {
    // Beyond this the copy engine is faster than launches; it reads pageable memory before it
    // returns, but a graph would only keep the address.
    constexpr std::size_t short_enough = 16 * sizeof(parcel);
    cudaStreamCaptureStatus status{};
    expect("cudaStreamIsCapturing", cudaStreamIsCapturing(stream, &status));
    if (bytes > short_enough && status == cudaStreamCaptureStatusNone) {
        return expect("cudaMemcpyAsync",
                      cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream));
    }
    auto const* source = static_cast<std::byte const*>(from);
    auto* target = static_cast<std::byte*>(to);
    for (std::size_t at = 0; at < bytes; at += sizeof(parcel)) {
        parcel one;
        std::size_t const size = std::min(bytes - at, sizeof one);
        std::memcpy(one.words, source + at, size);
        unpack<<<1, 256, 0, stream>>>(one, reinterpret_cast<unsigned*>(target + at),
                                      unsigned(size / sizeof(unsigned)));
        expect("launch of unpack", cudaGetLastError());
    }
}

}  // namespace rondo::inline RONDO_ISA::cuda
