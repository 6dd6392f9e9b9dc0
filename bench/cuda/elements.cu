/// @file
/// Scans and positions on a device: 32768 tokens of 2048 channels, memory read and written once.
#include "programs.hpp"
#include "rows.cuh"

namespace bench {
namespace {

using T = Eigen::bfloat16;
constexpr rd::index tokens = 32768, channels = 2048, heads = 16;
constexpr rd::index elements_of_tensor = tokens * channels;

/// Tensor number i of a call, or small ones behind them.
T* part(T* all, int i) { return all + i * elements_of_tensor; }

/// Milliseconds of call(place, inputs, outputs) on two sets of tensors in turn. Inputs are log
/// decays as good as any.
template <class Call>
double turns(int reads, int writes, Call const& call) {
    rd::index const in = reads * elements_of_tensor, out = (writes + 1) * elements_of_tensor;
    buffer<T> const x(in, -1, 0, 1), y(out, 0, 1, 2), x2(in, -1, 0, 3), y2(out, 0, 1, 4);
    return milliseconds(2, [&](cudaStream_t stream, int turn) {
        rd::exec::cuda const place{stream};
        turn == 0 ? call(place, x.data(), y.data()) : call(place, x2.data(), y2.data());
    });
}

/// A row for each of three lengths of sequence; call(place, extents, inputs, outputs).
template <class Call>
void row(report& to, std::string const& name, int reads, int writes, Call const& call) {
    for (rd::index time : {2048, 8192, 32768}) {
        std::string const title = name + "/T" + std::to_string(time);
        if (!to.wants(title)) continue;
        rd::index const batch = tokens / time;
        double const ms = turns(
            reads, writes, [&](auto place, T* in, T* out) { call(place, batch, time, in, out); });
        to.row(title, ms, double(elements_of_tensor) * (reads + writes) * sizeof(T), 0);
    }
}

void forward(report& to) {
    using view3 = rd::view<T, 3>;
    row(to, "scan", 2, 1, [](auto place, rd::index B, rd::index n, T* x, T* y) {
        rd::scan(rd::causal)
            .forward(place, {view3(x, {B, n, channels}), view3(part(x, 1), {B, n, channels})},
                     view3(y, {B, n, channels}));
    });
    row(to, "log_cumsum_exp", 1, 1, [](auto place, rd::index B, rd::index n, T* x, T* y) {
        rd::log_cumsum_exp(rd::causal)
            .forward(place, {view3(x, {B, n, channels})}, view3(y, {B, n, channels}));
    });
    constexpr rd::index D = channels / heads;
    row(to, "rope", 1, 1, [](auto place, rd::index B, rd::index n, T* x, T* y) {
        rd::position::rope().forward(place, {rd::bthd(x, B, n, heads, D)},
                                     rd::bthd(y, B, n, heads, D));
    });
    row(to, "rope half_split", 1, 1, [](auto place, rd::index B, rd::index n, T* x, T* y) {
        rd::position::rope(rd::position::half_split)
            .forward(place, {rd::bthd(x, B, n, heads, D)}, rd::bthd(y, B, n, heads, D));
    });
    row(to, "lrpe cosine", 1, 2, [](auto place, rd::index B, rd::index n, T* x, T* y) {
        rd::position::lrpe(rd::lrpe::cosine)
            .forward(place, {rd::bthd(x, B, n, heads, D)}, rd::bthd(y, B, n, heads, 2 * D));
    });
    row(to, "lrpe rotation, cosine transform", 1, 1,
        [](auto place, rd::index B, rd::index n, T* x, T* y) {
            rd::position::lrpe(rd::lrpe::rotation, rd::lrpe::cosine_transform)
                .forward(place, {rd::bthd(x, B, n, heads, D), rd::lrpe::fixed},
                         rd::bthd(y, B, n, heads, D));
        });
    row(to, "tpe m=8", 1, 1, [](auto place, rd::index B, rd::index n, T* x, T* y) {
        rd::view<T, 2> const coefficients(x, {channels, 8});
        rd::position::tpe().forward(place, {view3(x, {B, n, channels}), coefficients, coefficients},
                                    view3(y, {B, n, channels}));
    });
}

/// The gradients of every input.
void backward(report& to) {
    using view3 = rd::view<T, 3>;
    row(to, "scan backward", 3, 2, [](auto place, rd::index B, rd::index n, T* x, T* y) {
        auto const at = [&](T* from, int i) { return view3(part(from, i), {B, n, channels}); };
        rd::scan(rd::causal).backward(place, {at(x, 0), at(x, 1)}, at(x, 2), {at(y, 0), at(y, 1)});
    });
    row(to, "log_cumsum_exp backward", 2, 1, [](auto place, rd::index B, rd::index n, T* x, T* y) {
        auto const at = [&](T* from, int i) { return view3(part(from, i), {B, n, channels}); };
        rd::log_cumsum_exp(rd::causal).backward(place, {at(x, 0)}, at(x, 1), {.x = at(y, 0)});
    });
    constexpr rd::index D = channels / heads;
    row(to, "lrpe rotation backward", 2, 1, [](auto place, rd::index B, rd::index n, T* x, T* y) {
        auto const at = [&](T* from, int i) { return rd::bthd(part(from, i), B, n, heads, D); };
        rd::view<T, 2> const theta(x, {heads, D / 2}), d_theta(part(y, 1), {heads, D / 2});
        rd::position::lrpe(rd::lrpe::rotation)
            .backward(place, {at(x, 0), theta}, at(x, 1), {.x = at(y, 0), .theta = d_theta});
    });
    row(to, "tpe m=8 backward", 2, 1, [](auto place, rd::index B, rd::index n, T* x, T* y) {
        auto const at = [&](T* from, int i) { return view3(part(from, i), {B, n, channels}); };
        auto const coefficients = [](T* from) { return rd::view<T, 2>(from, {channels, 8}); };
        T* const small = part(y, 1);
        rd::position::tpe().backward(
            place, {at(x, 0), coefficients(x), coefficients(x)}, at(x, 1),
            {at(y, 0), coefficients(small), coefficients(small + 8 * channels)});
    });
}

}  // namespace

void elements(report& to) {
    forward(to);
    backward(to);
}

}  // namespace bench
