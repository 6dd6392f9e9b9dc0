// Times and errors, and the table they are printed in.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

namespace one_scan {

inline double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Median times of several runs. They take turns, so that a busy moment of the machine falls on all
/// of them; nine turns after one that is not counted, or fewer, at least three, if they are slow.
inline std::vector<double> median_seconds(std::vector<std::function<void()>> const& runs) {
    std::vector<std::vector<double>> times(runs.size());
    for (auto const& run : runs) run();
    auto const begin = std::chrono::steady_clock::now();
    for (int turn = 0; turn < 9 && (turn < 3 || seconds_since(begin) < 3); ++turn) {
        for (std::size_t n = 0; n < runs.size(); ++n) {
            auto const start = std::chrono::steady_clock::now();
            runs[n]();
            times[n].push_back(seconds_since(start));
        }
    }
    std::vector<double> medians;
    for (auto& t : times) {
        auto const middle = t.begin() + static_cast<std::ptrdiff_t>(t.size() / 2);
        std::nth_element(t.begin(), middle, t.end());
        medians.push_back(*middle);
    }
    return medians;
}

/// One line of the table; no scans and no error: the definition itself.
struct table_row {
    std::string name;
    int scans = 0;
    double seconds = 0;
    double error = 0;
    int reach = 0;
};

/// "4.47 ms", "9.64 s"
inline std::string duration_text(double seconds) {
    char text[32];
    std::snprintf(text, sizeof text, seconds < 1 ? "%.2f ms" : "%.2f s",
                  seconds < 1 ? 1e3 * seconds : seconds);
    return text;
}

/// "917 k", "1.43 M"
inline std::string amount_text(double amount) {
    char text[32];
    if (amount >= 1e6) {
        std::snprintf(text, sizeof text, "%.3g M", amount / 1e6);
    } else if (amount >= 1e3) {
        std::snprintf(text, sizeof text, "%.0f k", amount / 1e3);
    } else {
        std::snprintf(text, sizeof text, "%.0f", amount);
    }
    return text;
}

/// Ratios are to the first row.
inline void print_table(std::vector<table_row> const& rows, int tokens) {
    std::printf("%-52s %5s %11s %9s %8s %9s %6s\n", "operator", "scans", "time", "tokens/s",
                "ratio", "error", "reach");
    for (auto const& row : rows) {
        bool const scanned = row.scans > 0;
        std::string const time = (scanned ? "" : "~ ") + duration_text(row.seconds);
        std::printf("%-52s %5s %11s %9s %8.2f", row.name.c_str(),
                    scanned ? std::to_string(row.scans).c_str() : "-", time.c_str(),
                    amount_text(tokens / row.seconds).c_str(), row.seconds / rows.front().seconds);
        if (scanned) std::printf(" %9.1e %6d", row.error, row.reach);
        std::printf("\n");
    }
}

}  // namespace one_scan
