// The units hand over pointers, not rondo types: those differ with the instruction set.
#include <cmath>
#include <cstdio>

void generic(float const* x, float* y);
void avx2(float const* x, float* y);

int main() {
    float x[512], by_generic[512], by_avx2[512];
    for (int i = 0; i < 512; ++i) x[i] = std::sin(static_cast<float>(i));
    generic(x, by_generic);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        avx2(x, by_avx2);
        for (int i = 0; i < 512; ++i) {
            if (!(std::abs(by_generic[i] - by_avx2[i]) < 1e-4F)) return 1;
        }
    } else {
        std::puts("this CPU lacks AVX2: only the generic unit ran");
    }
}
