/// @file
/// Scans and positions on a device: 32768 tokens of 2048 channels, memory read and written once.
#include "programs.hpp"
#include "rows.cuh"

namespace bench {
namespace {

using T = Eigen::bfloat16;
constexpr rd::index tokens = 32768, channels = 2048, heads = 16;

/// Milliseconds of call(stream, x, a, y) on two sets of tensors of `elements` in turn.
template <class Call>
double turns(rd::index elements, rd::index outputs, Call const& call) {
    buffer<T> const x(elements, -1, 1, 1), a(elements, -1, 0, 2), y(outputs, 0, 1, 3);
    buffer<T> const x2(elements, -1, 1, 4), a2(elements, -1, 0, 5), y2(outputs, 0, 1, 6);
    return milliseconds(2, [&](cudaStream_t stream, int turn) {
        rd::exec::cuda const place{stream};
        turn == 0 ? call(place, x.data(), a.data(), y.data())
                  : call(place, x2.data(), a2.data(), y2.data());
    });
}

/// A row for each of three lengths of sequence; call(place, extents, x, a, y).
template <class Call>
void row(report& to, std::string const& name, int reads, int writes, Call const& call) {
    constexpr rd::index elements = tokens * channels;
    for (rd::index time : {2048, 8192, 32768}) {
        std::string const title = name + "/T" + std::to_string(time);
        if (!to.wants(title)) continue;
        rd::index const batch = tokens / time;
        double const ms = turns(elements, writes * elements, [&](auto place, T* x, T* a, T* y) {
            call(place, batch, time, x, a, y);
        });
        to.row(title, ms, double(elements) * (reads + writes) * sizeof(T), 0);
    }
}

}  // namespace

void elements(report& to) {
    using view3 = rd::view<T, 3>;
    row(to, "scan", 2, 1, [](auto place, rd::index B, rd::index n, T* x, T* a, T* y) {
        rd::scan(rd::causal)
            .forward(place, {view3(x, {B, n, channels}), view3(a, {B, n, channels})},
                     view3(y, {B, n, channels}));
    });
    row(to, "log_cumsum_exp", 1, 1, [](auto place, rd::index B, rd::index n, T* x, T*, T* y) {
        rd::log_cumsum_exp(rd::causal)
            .forward(place, {view3(x, {B, n, channels})}, view3(y, {B, n, channels}));
    });
    constexpr rd::index D = channels / heads;
    row(to, "rope", 1, 1, [](auto place, rd::index B, rd::index n, T* x, T*, T* y) {
        rd::position::rope().forward(place, {rd::bthd(x, B, n, heads, D)},
                                     rd::bthd(y, B, n, heads, D));
    });
    row(to, "rope half_split", 1, 1, [](auto place, rd::index B, rd::index n, T* x, T*, T* y) {
        rd::position::rope(rd::position::half_split)
            .forward(place, {rd::bthd(x, B, n, heads, D)}, rd::bthd(y, B, n, heads, D));
    });
    row(to, "lrpe cosine", 1, 2, [](auto place, rd::index B, rd::index n, T* x, T*, T* y) {
        rd::position::lrpe(rd::lrpe::cosine)
            .forward(place, {rd::bthd(x, B, n, heads, D)}, rd::bthd(y, B, n, heads, 2 * D));
    });
    row(to, "lrpe rotation, cosine transform", 1, 1,
        [](auto place, rd::index B, rd::index n, T* x, T*, T* y) {
            rd::position::lrpe(rd::lrpe::rotation, rd::lrpe::cosine_transform)
                .forward(place, {rd::bthd(x, B, n, heads, D), rd::lrpe::fixed},
                         rd::bthd(y, B, n, heads, D));
        });
    row(to, "tpe m=8", 1, 1, [](auto place, rd::index B, rd::index n, T* x, T* a, T* y) {
        rd::view<T, 2> const coefficients(a, {channels, 8});
        rd::position::tpe().forward(place, {view3(x, {B, n, channels}), coefficients, coefficients},
                                    view3(y, {B, n, channels}));
    });
}

}  // namespace bench
