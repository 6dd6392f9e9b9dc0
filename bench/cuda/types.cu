/// @file
/// Forward in half, on tensor cores, and in float, in float throughout.
#include "programs.hpp"
#include "rows.cuh"

namespace bench {

void other_types(report& to) {
    using namespace rd;
    forward<Eigen::half>(to, "half none", attention(decay::none));
    forward<Eigen::half>(to, "half scalar", attention(decay::scalar));
    forward<float>(to, "float none", attention(decay::none));
    forward<float>(to, "float scalar", attention(decay::scalar));
    forward<float>(to, "float vector", attention(decay::vector));
    forward<float>(to, "float lightnet", attention(decay::additive), true);
}

}  // namespace bench
