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

int main() {
    std::vector<float> const data(64 * 2 * 16, -0.5F);
    std::vector<float> memory(data.size());
    auto x = rondo::bthd(data.data(), 1, 64, 2, 16);
    mix(x, x, x, x, x, rondo::bthd(memory.data(), 1, 64, 2, 16));
    decode(data);
}
