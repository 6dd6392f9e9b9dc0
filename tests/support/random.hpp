#pragma once

#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace support {

using index = std::ptrdiff_t;

/// The seed of the whole run: fixed, so that a red test stays red, unless RONDO_SEED asks for
/// another.
inline std::uint64_t base_seed() {
    char const* const text = std::getenv("RONDO_SEED");
    return text ? std::strtoull(text, nullptr, 10) : 20240501;
}

/// Random numbers that do not depend on which standard library draws them.
class random {
public:
    /// The stream of one case: its name goes into the seed, so that it fails alone as in the suite.
    explicit random(std::string_view name) {
        std::uint64_t seed = base_seed() ^ 14695981039346656037U;  // FNV-1a
        for (char c : name) seed = (seed ^ static_cast<unsigned char>(c)) * 1099511628211U;
        engine_.seed(seed);
    }

    double uniform(double low, double high) {
        double const unit = static_cast<double>(engine_() >> 11) * 0x1p-53;
        return low + (high - low) * unit;
    }

    /// One of low, ..., high.
    index integer(index low, index high) {
        return low + static_cast<index>(engine_() % static_cast<std::uint64_t>(high - low + 1));
    }

    bool chance(double probability) { return uniform(0, 1) < probability; }

    template <class Value>
    Value one_of(std::initializer_list<Value> values) {
        return values.begin()[integer(0, static_cast<index>(values.size()) - 1)];
    }

    std::vector<index> permutation(index n) {
        std::vector<index> order(n);
        for (index i = 0; i < n; ++i) order[i] = i;
        for (index i = n - 1; i > 0; --i) std::swap(order[i], order[integer(0, i)]);
        return order;
    }

private:
    std::mt19937_64 engine_;
};

}  // namespace support
