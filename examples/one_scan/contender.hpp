// An operator that takes part in the comparison, and how it is measured.
#pragma once

#include "definition.hpp"
#include "measure.hpp"
#include "tokens.hpp"

#include <rondo/rondo.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

namespace one_scan {

namespace rd = rondo;

using values = rd::view<float const, 4>;
using outputs = rd::view<float, 4>;

/// One way of mixing the tokens, and its definition for one head and one reader.
struct contender {
    std::string name, title, note;
    int scans;
    std::function<void(values, outputs)> run;
    std::function<void(head_of const&, int reader, double* out)> define;
};

/// Median times of the contenders on the real values.
inline std::vector<double> time_all(std::vector<contender> const& contenders, tokens const& data) {
    std::vector<float> o(data.size());
    auto const v_view = rd::bthd(data.v.data(), 1, data.count, heads, channels);
    auto const o_view = rd::bthd(o.data(), 1, data.count, heads, channels);
    std::vector<std::function<void()>> runs;
    for (auto const& it : contenders) runs.push_back([=, &it] { it.run(v_view, o_view); });
    return median_seconds(runs);
}

struct agreement {
    double error = 0;    // largest difference from the definition over its largest value
    double seconds = 0;  // of the definition for all readers, from those that were evaluated
};

/// Runs an operator on the real values and holds it against its definition at `readers`.
inline agreement hold_against_definition(contender const& it, tokens const& data,
                                         std::vector<int> const& readers) {
    std::vector<float> o(data.size());
    it.run(rd::bthd(data.v.data(), 1, data.count, heads, channels),
           rd::bthd(o.data(), 1, data.count, heads, channels));

    double difference = 0, largest = 0;
    auto const start = std::chrono::steady_clock::now();
    for (int reader : readers) {
        for (int h = 0; h < heads; ++h) {
            head_of const head{data, h};
            double expected[channels] = {};
            it.define(head, reader, expected);
            for (int e = 0; e < channels; ++e) {
                difference = std::max(difference, std::abs(expected[e] - o[head.at(reader, e)]));
                largest = std::max(largest, std::abs(expected[e]));
            }
        }
    }
    double const seconds = seconds_since(start) * data.count / static_cast<double>(readers.size());
    return {largest > 0 ? difference / largest : difference, seconds};
}

}  // namespace one_scan
