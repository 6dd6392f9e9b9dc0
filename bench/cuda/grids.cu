/// @file
/// A grid of 256 x 256 tokens, 16 heads: one additive scan of all of it against what decays need to
/// see the whole of it.
#include "programs.hpp"
#include "rows.cuh"

namespace bench {
namespace {

using T = Eigen::bfloat16;
constexpr rd::grid image{256, 256};

template <class Operator, class Scans>
void row(report& to, std::string const& name, Operator, Scans scans, bool ones) {
    static constexpr auto what = Operator::composition;
    for (rd::index depth : {64, 128}) {
        std::string const title = "grid " + name + "/D" + std::to_string(depth);
        if (!to.wants(title)) continue;
        shape const s{1, image.size(), 16, depth, depth};
        tensors<T> const x(s, what, ones, 1);
        double const ms = milliseconds(1, [&](cudaStream_t stream, int) {
            x.with_inputs<what>(0, [&](auto const& in, auto const& o) {
                scans.forward(rd::exec::cuda{stream}, image, in, o);
            });
        });
        double const error = error_of<what>(x, 1, [&](auto place, auto const& in, auto const& o) {
            scans.forward(place, image, in, o);
        });
        to.row(title, ms, x.bytes(what), error);
    }
}

}  // namespace

void grids(report& to) {
    using namespace rd;
    constexpr auto single = attention(decay::additive, bidirectional);
    constexpr auto scalar = attention(decay::scalar);
    constexpr auto vector = attention(decay::vector);
    row(to, "single additive scan", single, multiscan(single, path::raster), true);
    row(to, "four paths, scalar", scalar, multiscan(scalar, path::cross), false);
    row(to, "four paths, vector", vector, multiscan(vector, path::cross), false);
    row(to, "two snakes, scalar", scalar, multiscan(scalar, path::snake, path::snake_column),
        false);
}

}  // namespace bench
