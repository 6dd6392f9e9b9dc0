/// @file
/// Places: where an operator runs. `exec::cuda` comes with <rondo/cuda.cuh>, `exec::sharded` with
/// <rondo/mpi.hpp>.
#pragma once

#include <rondo/error.hpp>

namespace rondo::inline RONDO_ISA::exec {

/// One thread, plain loops: the readable twin of `simd`, for checking and for machines without
/// lanes.
struct serial_t {};
inline constexpr serial_t serial{};

/// One thread, the lanes of the instruction set that the translation unit is compiled for.
struct simd_t {};
inline constexpr simd_t simd{};

/// Several threads over batch x head, and over a head's time and columns where heads are too few,
/// with the lanes of `simd`. Results are the same bits for any number of threads. Without OpenMP
/// (-fopenmp) it is one thread.
struct openmp_t {
    int count = 0;  // 0: as many as OpenMP would take

    constexpr openmp_t threads(int n) const { return {n < 1 ? 1 : n}; }
};
inline constexpr openmp_t openmp{};

}  // namespace rondo::inline RONDO_ISA::exec
