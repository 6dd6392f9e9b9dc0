/// @file
/// A rival: linear attention without a decay, strung together from a matrix library's products.
#pragma once

#include "case.hpp"

#include <Eigen/Core>

namespace bench {

/// Causal, chunks of 64 tokens, one thread, Eigen's products; heads walk as memory has them.
template <class Inputs, class Output>
void eigen_chunks(shape const& s, Inputs const& in, Output const& o) {
    using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    constexpr rd::index chunk = 64;
    std::vector<matrix> states(std::size_t(s.heads), matrix::Zero(s.depth, s.width));
    matrix scores(chunk, chunk);
    auto const advance = [&](rd::index t, rd::index h) {
        rd::index const count = std::min(chunk, s.time - t);
        auto const rows = [&]<class T>(T* data, auto const& strides, rd::index channels) {
            using values = std::conditional_t<std::is_const_v<T>, matrix const, matrix>;
            return Eigen::Map<values, 0, Eigen::OuterStride<>>(
                data + h * strides[1] + t * strides[2], count, channels,
                Eigen::OuterStride<>(strides[2]));
        };
        auto const read = [&](auto const& x, rd::index channels) {
            return rows(reinterpret_cast<float const*>(x.data), x.strides, channels);
        };
        auto const q = read(in.q, s.depth), k = read(in.k, s.depth), v = read(in.v, s.width);
        auto to = rows(o.data(), std::array{o.stride(0), o.stride(1), o.stride(2)}, s.width);
        matrix& state = states[std::size_t(h)];
        scores.topLeftCorner(count, count).noalias() = q * k.transpose();
        to.noalias() =
            scores.topLeftCorner(count, count).template triangularView<Eigen::Lower>() * v;
        to.noalias() += q * state;
        state.noalias() += k.transpose() * v;
    };
    if (s.memory == layout::bthd) {
        for (rd::index t = 0; t < s.time; t += chunk) {
            for (rd::index h = 0; h < s.heads; ++h) advance(t, h);
        }
    } else {
        for (rd::index h = 0; h < s.heads; ++h) {
            for (rd::index t = 0; t < s.time; t += chunk) advance(t, h);
        }
    }
}

}  // namespace bench
