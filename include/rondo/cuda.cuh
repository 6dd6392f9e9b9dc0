/// @file
/// The operators on device memory, in the order of a stream: `exec::cuda{stream}`. For nvcc.
#pragma once

#include <rondo/cuda/launch.cuh>
#include <rondo/cuda/positions.cuh>
#include <rondo/cuda/scan_back.cuh>
#include <rondo/rondo.hpp>
