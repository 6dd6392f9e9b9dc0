/// @file
/// The CUDA benchmark. Usage: bench_cuda [part of a name] [file.json]
#include "call.cuh"
#include "programs.hpp"

namespace {

void all(bench::report& to) {
    bench::sixteen_bits(to);
    bench::other_types(to);
    bench::elements(to);
    bench::grids(to);
}

}  // namespace

int main(int count, char** arguments) { return bench::measure_all("cuda", count, arguments, all); }
