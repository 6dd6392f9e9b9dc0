/// @file
/// What the CUDA runtime refuses, as an exception that names the call.
#pragma once

#include <rondo/error.hpp>

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace rondo::inline RONDO_ISA {

/// Thrown when a call of the CUDA runtime fails; `code` is what it returned.
class cuda_error : public std::runtime_error {
public:
    cuda_error(char const* call, cudaError_t code)
        : std::runtime_error(std::string("rondo: ") + call + ": " + cudaGetErrorString(code)),
          code_(code) {}

    cudaError_t code() const noexcept { return code_; }

private:
    cudaError_t code_;
};

namespace cuda {

/// Throws unless the runtime's `call` went well.
inline void expect(char const* call, cudaError_t code) {
    if (code == cudaSuccess) return;
    static_cast<void>(cudaGetLastError());  // an error that is reported once is not the next call's
    throw cuda_error(call, code);
}

}  // namespace cuda
}  // namespace rondo::inline RONDO_ISA
