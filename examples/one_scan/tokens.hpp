// From patch features to q, k, v and gates, through seeded random projections, and what positions
// add.
#pragma once

#include "patches.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <random>
#include <vector>

namespace one_scan {

inline constexpr int heads = 4, channels = 32;  // of queries, keys and values alike

/// Memory order [time, head, channel], one batch.
struct tokens {
    int count = 0;
    std::vector<float> q, k, v;
    std::vector<float> log_decay;  // of the vector-decay operator
    std::vector<float> logits;     // of the additive operator

    explicit tokens(int token_count)
        : count(token_count), q(size()), k(size()), v(size()), log_decay(size()), logits(size()) {}
    std::size_t size() const { return static_cast<std::size_t>(count) * heads * channels; }
};

/// Normal numbers by Box and Muller: those of std differ from one standard library to the next.
class normal_numbers {
public:
    explicit normal_numbers(std::uint64_t seed) : bits_(seed) {}
    double operator()() {
        double const radius = std::sqrt(-2 * std::log(1 - uniform()));
        return radius * std::cos(2 * std::numbers::pi * uniform());
    }

private:
    double uniform() { return static_cast<double>(bits_() >> 11) * 0x1p-53; }
    std::mt19937_64 bits_;
};

/// Makes the rows of a matrix orthonormal (Gram and Schmidt, twice for accuracy).
inline void orthonormalise(table& matrix) {
    for (int i = 0; i < matrix.rows; ++i) {
        for (int pass = 0; pass < 2; ++pass) {
            for (int j = 0; j < i; ++j) {
                double dot = 0;
                for (int f = 0; f < matrix.cols; ++f) dot += matrix.row(i)[f] * matrix.row(j)[f];
                for (int f = 0; f < matrix.cols; ++f) matrix.row(i)[f] -= dot * matrix.row(j)[f];
            }
        }
        double square = 0;
        for (int f = 0; f < matrix.cols; ++f) square += matrix.row(i)[f] * matrix.row(i)[f];
        for (int f = 0; f < matrix.cols; ++f) matrix.row(i)[f] /= std::sqrt(square);
    }
}

/// A random `out` x `in` matrix with orthonormal rows, or columns where it is taller than wide.
inline table random_orthogonal(int out, int in, normal_numbers& normal) {
    table wide(std::min(out, in), std::max(out, in));
    for (double& x : wide.values) x = normal();
    orthonormalise(wide);
    if (out <= in) return wide;
    table tall(out, in);
    for (int i = 0; i < out; ++i) {
        for (int j = 0; j < in; ++j) tall.row(i)[j] = wide.row(j)[i];
    }
    return tall;
}

/// `features` times a random orthogonal matrix, scaled so that its entries have mean square 1.
inline table project(table const& features, int out, normal_numbers& normal) {
    auto const matrix = random_orthogonal(out, features.cols, normal);
    table result(features.rows, out);
    double total = 0;
    for (int i = 0; i < features.rows; ++i) {
        for (int o = 0; o < out; ++o) {
            double sum = 0;
            for (int f = 0; f < features.cols; ++f) sum += matrix.row(o)[f] * features.row(i)[f];
            result.row(i)[o] = sum;
            total += sum * sum;
        }
    }
    double const scale =
        total > 0 ? std::sqrt(static_cast<double>(result.values.size()) / total) : 0;
    for (double& x : result.values) x *= scale;
    return result;
}

/// exp(2 p) scaled to length 1: positive, so that influences add and never cancel in the drawing.
inline void write_query(double const* pattern, float* out) {
    double square = 0;
    for (int d = 0; d < channels; ++d) square += std::exp(4 * pattern[d]);
    for (int d = 0; d < channels; ++d) {
        out[d] = static_cast<float>(std::exp(2 * pattern[d]) / std::sqrt(square));
    }
}

inline double log_sigmoid(double x) {
    return std::min(x, 0.0) - std::log1p(std::exp(-std::abs(x)));
}

inline void write_head(table const& features, int head, normal_numbers& normal, tokens& result) {
    auto const halves = project(features, channels / 2, normal);
    auto const gates = project(features, channels, normal);
    auto const values = project(features, channels, normal);
    for (int t = 0; t < result.count; ++t) {
        auto const at =
            (static_cast<std::size_t>(t) * heads + static_cast<std::size_t>(head)) * channels;
        double pattern[channels];
        // a pattern and its opposite: dark as well as bright
        for (int d = 0; d < channels / 2; ++d) {
            pattern[d] = halves.row(t)[d];
            pattern[d + channels / 2] = -halves.row(t)[d];
        }
        write_query(pattern, &result.q[at]);
        for (std::size_t d = 0; d < channels; ++d) {
            result.k[at + d] = result.q[at + d];
            result.logits[at + d] = static_cast<float>(3 * pattern[d]);
            result.log_decay[at + d] = static_cast<float>(log_sigmoid(gates.row(t)[d]) / 16);
            result.v[at + d] = static_cast<float>(values.row(t)[d]);
        }
    }
}

/// MD-TPE weighs the tokens at distance s along each axis by b exp(log_lambda s).
inline constexpr float tpe_b = 0.5F, tpe_log_lambda = -0.7F;

/// The angles of an axis, the channels shared by the axes, in radians a patch: from 1 to about one
/// across the whole picture. A model would learn them.
inline std::vector<float> lrpe_theta(patch_grid const& patches) {
    std::vector<float> theta(
        static_cast<std::size_t>((channels + patches.rank - 1) / patches.rank));
    double const across = std::max(patches.rows_of_frame(), patches.cols);
    for (std::size_t i = 0; i < theta.size(); ++i) {
        double const part = static_cast<double>(i) / static_cast<double>(theta.size());
        theta[i] = static_cast<float>(std::pow(across, -part));
    }
    return theta;
}

/// The same picture gives the same tokens everywhere.
inline tokens make_tokens(table const& features) {
    tokens result(features.rows);
    normal_numbers normal(20260708);
    for (int head = 0; head < heads; ++head) write_head(features, head, normal, result);
    return result;
}

}  // namespace one_scan
