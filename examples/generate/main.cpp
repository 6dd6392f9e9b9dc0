// A model of characters, made in a second: fixed random keys, queries and values for RetNet's
// operator, and a read-out fitted to a page of text by gradient descent. The prompt goes in whole,
// in two pieces or character by character, with the same result; then the model writes on.

#include "text.hpp"

#include <rondo/rondo.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace rd = rondo;

namespace {

constexpr rd::index H = 16, D = 16, E = 32, characters = 128, features = H * E;
constexpr auto op = rd::models::retention;
const double scale = 1 / std::sqrt(double(D * features));
using floats = std::vector<float>;

class model {
public:
    explicit model(std::string_view text) {
        // From e^-2 to e^-0.4: the last character only, or the last few.
        float slope = -2;
        for (float& decay : decay_) decay = std::exchange(slope, slope * 0.9F);
        fit(text);
    }

    auto empty_state() const { return op.state<float>(1, H, D, E); }

    /// What the heads find while they read text that follows `before`, [time, features].
    floats read(std::string_view text, char before, rd::state<float>& state) const {
        tokens const t = embed(text, before);
        auto const T = rd::index(text.size());
        floats found(std::size_t(T * features));
        op.forward(rd::exec::openmp,
                   {rd::bthd(t.q, 1, T, H, D), rd::bthd(t.k, 1, T, H, D), rd::bthd(t.v, 1, T, H, E),
                    gate()},
                   rd::bthd(found, 1, T, H, E), {.in = state, .out = state, .scale = scale});
        return found;
    }

    /// The same for one character.
    floats step(char c, char before, rd::state<float>& state) const {
        tokens const t = embed({&c, 1}, before);
        floats found(features);
        op.step(rd::exec::simd,
                {rd::bhd(t.q, 1, H, D), rd::bhd(t.k, 1, H, D), rd::bhd(t.v, 1, H, E), gate()},
                state, rd::bhd(found, 1, H, E), {.scale = scale});
        return found;
    }

    /// Draws the character after what the heads found at the last one.
    char next(float const* found, std::mt19937& random) const {
        auto p = probabilities(found);
        for (float& x : p) x *= x;  // likely ones more so: a page is little to learn from
        return char(std::discrete_distribution<int>(p.begin(), p.end())(random));
    }

    double bits = 0;  // that a character of the page costs at the end of the fit

private:
    struct tokens {
        floats q, k, v;  // [time, head, channel]
    };

    static floats random_table(rd::index channels) {
        static std::mt19937 generator(1);
        std::normal_distribution<float> normal(0, 1);
        floats table(std::size_t(characters * H * channels));
        for (float& x : table) x = normal(generator);
        return table;
    }

    /// A character asks by what it is, and is found by the one before it.
    tokens embed(std::string_view text, char before) const {
        tokens t{floats(text.size() * H * D), floats(text.size() * H * D),
                 floats(text.size() * H * E)};
        auto const put = [](floats& to, std::size_t at, floats const& table, char c) {
            std::size_t const size = table.size() / characters;
            std::copy_n(table.data() + std::size_t(c) * size, size, to.data() + at * size);
        };
        for (std::size_t at = 0; at < text.size(); before = text[at++]) {
            put(t.q, at, queries_, text[at]);
            put(t.k, at, keys_, before);
            put(t.v, at, values_, text[at]);
        }
        return t;
    }

    rd::view<float const, 1> gate() const { return {decay_.data(), {H}}; }

    std::array<float, characters> probabilities(float const* found) const {
        std::array<float, characters> p{};
        for (rd::index f = 0; f < features; ++f) {
            float const* const row = read_out_.data() + f * characters;
            for (std::size_t c = 0; c < characters; ++c) p[c] += found[f] * row[c];
        }
        float const highest = *std::max_element(p.begin(), p.end());
        float sum = 0;
        for (float& x : p) sum += x = std::exp(x - highest);
        for (float& x : p) x /= sum;
        return p;
    }

    /// Logistic regression of the next character on what the heads find, one character at a time.
    void fit(std::string_view text) {
        constexpr int rounds = 30;
        auto state = empty_state();
        floats const found = read(text, ' ', state);
        for (int round = 0; round < rounds; ++round) {
            bits = 0;
            float const rate = 3 * (1 - float(round) / rounds);
            for (std::size_t t = 0; t + 1 < text.size(); ++t) {
                float const* const x = found.data() + t * features;
                auto error = probabilities(x);
                bits -= std::log2(error[std::size_t(text[t + 1])]) / double(text.size() - 1);
                error[std::size_t(text[t + 1])] -= 1;
                for (rd::index f = 0; f < features; ++f) {
                    float* const row = read_out_.data() + f * characters;
                    for (std::size_t c = 0; c < characters; ++c) row[c] -= rate * x[f] * error[c];
                }
            }
        }
    }

    floats const queries_ = random_table(D), keys_ = random_table(D), values_ = random_table(E);
    floats decay_ = floats(H), read_out_ = floats(features * characters);
};

/// How far what the pieces found is from what the whole found.
float difference(floats const& whole, std::vector<floats> const& pieces) {
    float largest = 0;
    auto same = whole.begin();
    for (floats const& piece : pieces) {
        for (float x : piece) largest = std::max(largest, std::abs(x - *same++));
    }
    return largest;
}

double now() {
    using namespace std::chrono;
    return duration<double>(steady_clock::now().time_since_epoch()).count();
}

}  // namespace

int main() {
    double const begun = now();
    model const m(alice);
    std::printf("fitted to %zu characters in %.1f s: %.2f bits a character\n", alice.size(),
                now() - begun, m.bits);

    // The page is the prompt, and the model goes on from its end.
    auto state = m.empty_state();
    floats whole;
    double prompt_seconds = 1e9;
    for (int attempt = 0; attempt < 5; ++attempt) {
        state.reset();
        double const before_prompt = now();
        whole = m.read(alice, ' ', state);
        prompt_seconds = std::min(prompt_seconds, now() - before_prompt);
    }

    auto split = m.empty_state(), steps = m.empty_state();
    std::size_t const half = alice.size() / 2;
    float const in_two = difference(whole, {m.read(alice.substr(0, half), ' ', split),
                                            m.read(alice.substr(half), alice[half - 1], split)});
    std::vector<floats> one_by_one;
    char before = ' ';
    for (char c : alice) {
        one_by_one.push_back(m.step(c, before, steps));
        before = c;
    }
    float const in_steps = difference(whole, one_by_one);

    std::mt19937 random(7);
    std::string written;
    char c = m.next(whole.data() + whole.size() - features, random);
    before = alice.back();
    double const before_writing = now();
    while (written.size() < 600) {
        written += c;
        floats const found = m.step(c, before, state);
        before = c;
        c = m.next(found.data(), random);
    }
    double const writing_seconds = now() - before_writing;

    std::printf("\n%s\n\n", written.c_str());
    std::printf("prefill: %8.0f characters/s\ndecode:  %8.0f characters/s\n",
                double(alice.size()) / prompt_seconds, double(written.size()) / writing_seconds);
    std::printf("the prompt in two pieces changes what is read by %.1e, one by one by %.1e\n",
                double(in_two), double(in_steps));
    return in_two < 1e-4F && in_steps < 1e-4F ? 0 : 1;
}
