/// @file
/// The only macros of the library: the instruction set in every symbol, and the host/device marks.
#pragma once

// Translation units built with different -m flags may be linked into one program: each instruction
// set lives in an inline namespace of its own, so the linker never merges their inline functions.
#if !defined(RONDO_ISA)
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define RONDO_ISA_ avx512
#elif defined(__AVX512F__)
#define RONDO_ISA_ avx512f
#elif defined(__AVX2__) && defined(__FMA__)
#define RONDO_ISA_ avx2_fma
#elif defined(__AVX2__)
#define RONDO_ISA_ avx2
#elif defined(__AVX__)
#define RONDO_ISA_ avx
#elif defined(__SSE4_2__)
#define RONDO_ISA_ sse4
#elif defined(__SSE2__)
#define RONDO_ISA_ sse2
#elif defined(__ARM_FEATURE_SVE)
#define RONDO_ISA_ sve
#elif defined(__ARM_NEON)
#define RONDO_ISA_ neon
#else
#define RONDO_ISA_ generic
#endif
// Code with and without OpenMP differs too.
#define RONDO_JOIN_(a, b) a##b
#define RONDO_JOIN(a, b) RONDO_JOIN_(a, b)
#if defined(_OPENMP)
#define RONDO_ISA RONDO_JOIN(RONDO_ISA_, _omp)
#else
#define RONDO_ISA RONDO_ISA_
#endif
#endif

#if defined(__CUDACC__)
#define RONDO_HOST_DEVICE __host__ __device__
#else
#define RONDO_HOST_DEVICE
#endif

// Before a loop of constant length whose body works on an array of registers: without it g++ -O2
// leaves the loop and keeps the array in memory, which is four times slower.
#if defined(__GNUC__)
#define RONDO_UNROLL _Pragma("GCC unroll 16")
#else
#define RONDO_UNROLL
#endif

#define RONDO_VERSION_MAJOR 0
#define RONDO_VERSION_MINOR 1
#define RONDO_VERSION_PATCH 0
