/// @file
/// The CUDA benchmark. Usage: bench_cuda [part of a name] [file.json]
#include "programs.hpp"
#include "rows.cuh"

int main(int count, char** arguments) {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        std::puts("skipped: no GPU");
        return 0;
    }
    bench::report to{bench::copy_rate(), count > 1 ? arguments[1] : "",
                     count > 2 ? std::fopen(arguments[2], "w") : nullptr};
    std::printf("copy %.2f TB/s\n", to.rate * 1e-12);
    if (to.json != nullptr) std::fprintf(to.json, "[\n");
    bench::sixteen_bits(to);
    bench::other_types(to);
    bench::elements(to);
    bench::grids(to);
    if (to.json != nullptr) std::fprintf(to.json, "\n]\n");
}
