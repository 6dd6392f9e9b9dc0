// Where the patches stand: MD-LRPE on queries and keys, MD-TPE on the values of the single scan.
#pragma once

#include "tokens.hpp"

#include <rondo/rondo.hpp>

#include <algorithm>
#include <vector>

namespace one_scan {

namespace rd = rondo;

/// body(the grid), of rank 2 or 3.
template <class Body>
void with_grid(patch_grid const& patches, Body const& body) {
    auto const [frames, rows, cols] = patches.extents();
    patches.rank == 3 ? body(rd::grid{frames, rows, cols}) : body(rd::grid{rows, cols});
}

/// The additive single scan over tokens that know their places. Turned in the complex plane, a
/// channel takes two, and so do its logits; then
///     q~_i . (w_j k~_j) = sum_d w_j[d] q_i[d] cos((s_i - s_j) theta)[d]
class positioned_scan {
public:
    positioned_scan(tokens const& data, patch_grid const& patches, int threads)
        : patches_(patches),
          place_(rd::exec::openmp.threads(threads)),
          count_(data.count),
          theta_(lrpe_theta(patches)) {
        auto const n = static_cast<std::size_t>(data.count) * heads;
        for (auto* part : {&q_, &k_, &logits_}) part->resize(2 * n * channels);
        for (std::size_t row = 0; row < n; ++row) {
            auto const from = data.logits.begin() + static_cast<std::ptrdiff_t>(row * channels);
            auto const to = logits_.begin() + static_cast<std::ptrdiff_t>(2 * row * channels);
            std::copy_n(from, channels, to);
            std::copy_n(from, channels, to + channels);
        }
        float const one = 1;  // the keys are ones, turned once: they know nothing but their places
        rd::view<float const, 4> const ones(&one, {1, heads, count_, channels}, {0, 0, 0, 0});
        turn(ones, k_);
    }

    void forward(rd::view<float const, 4> q, rd::view<float const, 4> v, rd::view<float, 4> o,
                 double scale) {
        encoded_.resize(static_cast<std::size_t>(v.size()));
        auto const encoded = rd::bthd(encoded_.data(), 1, count_, heads, v.extent(3));
        auto const shared = [&](float const& x) {  // by both axes and all channels
            return rd::view<float const, 3>(&x, {patches_.rank, v.extent(3), 1}, {0, 0, 1});
        };
        with_grid(patches_, [&](auto tokens) {
            rd::position::tpe(tokens, rd::bidirectional)
                .forward(place_, {v, shared(tpe_b), shared(tpe_log_lambda)}, encoded);
        });
        turn(q, q_);
        rd::attention(rd::decay::additive, rd::bidirectional)
            .forward(place_, {wide(q_), wide(k_), encoded, wide(logits_)}, o, {.scale = scale});
    }

private:
    void turn(rd::view<float const, 4> x, std::vector<float>& to) {
        auto const run = static_cast<rd::index>(theta_.size());
        rd::view<float const, 2> const theta(theta_.data(), {heads, run}, {0, 1});
        with_grid(patches_, [&](auto tokens) {
            rd::position::lrpe(rd::lrpe::cosine, tokens).forward(place_, {x, theta}, wide(to));
        });
    }
    rd::view<float, 4> wide(std::vector<float>& memory) {
        return rd::bthd(memory.data(), 1, count_, heads, 2 * channels);
    }

    patch_grid patches_;
    rd::exec::openmp_t place_;
    rd::index count_;
    std::vector<float> theta_, q_, k_, logits_, encoded_;
};

}  // namespace one_scan
