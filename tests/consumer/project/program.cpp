#include <cstdio>
#include <rondo/rondo.hpp>
#include <vector>

int main() {
    std::vector<float> ones(3, 1), sums(3);
    auto const x = rondo::bthd(ones.data(), 1, 3, 1, 1);
    rondo::attention().forward(rondo::exec::simd, {x, x, x}, rondo::bthd(sums.data(), 1, 3, 1, 1));
    std::printf("%g %g %g\n", sums[0], sums[1], sums[2]);
    return sums == std::vector<float>{1, 2, 3} ? 0 : 1;
}
