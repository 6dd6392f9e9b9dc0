// The code blocks of README.md, compiled and run. Two markers of the same name hold a block.

// [operators]
#include <rondo/rondo.hpp>

constexpr auto gla = rondo::attention(rondo::decay::vector, rondo::causal);
constexpr auto lightnet = rondo::attention(rondo::decay::additive, rondo::bidirectional);

void mix(auto q, auto k, auto v, auto g, auto z, auto o) {  // views [batch, head, time, channel]
    gla.forward(rondo::exec::openmp, {q, k, v, g}, o);      // g: a log decay per token and channel
    lightnet.forward(rondo::exec::openmp, {q, rondo::ones, v, z}, o);  // z: logits, one scan
}
// [operators]

#include <vector>

void decode(std::vector<float> const& data) {
    // [decode]
    constexpr rondo::index B = 1, T = 64, H = 2, D = 16, prompt = 63;
    auto x = rondo::bthd(data.data(), B, T, H, D);  // memory [batch, time, head, channel], no copy
    std::vector<float> memory(data.size());
    auto o = rondo::bthd(memory.data(), B, T, H, D);

    auto state = gla.state<float>(B, H, D, D);  // whatever the operator carries from token to token
    auto read = x.slice(2, 0, prompt);          // axis 2 is time in every view
    gla.forward(rondo::exec::simd, {read, read, read, read}, o.slice(2, 0, prompt), {.out = state});

    auto token = rondo::bhd(data.data() + prompt * H * D, B, H, D);
    auto out = rondo::bhd(memory.data() + prompt * H * D, B, H, D);
    gla.step(rondo::exec::simd, {token, token, token, token}, state, out);
    // [decode]
}

#include <algorithm>
#include <limits>

void pad(std::vector<float> const& values, std::vector<float> logits, std::vector<float> keys,
         std::vector<float> log_decays, auto o) {
    // [padding]
    constexpr rondo::index B = 1, T = 8, H = 2, D = 16, first = 3;  // tokens 0 to 2 are padding
    float const nothing = -std::numeric_limits<float>::infinity();
    std::fill_n(logits.data(), first * H * D, nothing);  // memory [batch, time, head, channel]
    std::fill_n(keys.data(), first * H * D, 0.0F);
    std::fill_n(log_decays.data(), first * H * D, 0.0F);

    auto v = rondo::bthd(values, B, T, H, D);
    lightnet.forward(rondo::exec::simd, {v, rondo::ones, v, rondo::bthd(logits, B, T, H, D)}, o);
    gla.forward(rondo::exec::simd,
                {v, rondo::bthd(keys, B, T, H, D), v, rondo::bthd(log_decays, B, T, H, D)}, o);
    // [padding]
}

int main() {
    std::vector<float> const data(64 * 2 * 16, -0.5F);
    std::vector<float> memory(data.size());
    auto x = rondo::bthd(data.data(), 1, 64, 2, 16);
    mix(x, x, x, x, x, rondo::bthd(memory.data(), 1, 64, 2, 16));
    decode(data);
    std::vector<float> const tokens(8 * 2 * 16, -0.5F);
    pad(tokens, tokens, tokens, tokens, rondo::bthd(memory.data(), 1, 8, 2, 16));
}
