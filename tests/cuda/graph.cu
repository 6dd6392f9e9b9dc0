#include "cuda/run.cuh"

#include <iostream>

namespace device {

using rondo::cuda::expect;

bool present() {
    static bool const found = [] {
        int count = 0;
        bool const some = cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
        if (!some) std::cout << "skipped: no GPU\n";
        return some;
    }();
    return found;
}

namespace {

namespace rd = rondo;
using views = support::call_views<double, 4, 4>;

void run(views x, std::vector<rd::index> const& offsets, cudaStream_t stream) {
    constexpr auto op = rd::attention(rd::decay::vector);
    if (offsets.empty()) {
        op.forward(rd::exec::cuda{stream}, {x.q, x.k, x.v, x.gate}, x.o);
    } else {
        op.forward(
            rd::exec::cuda{stream},
            {x.q.packed(offsets), x.k.packed(offsets), x.v.packed(offsets), x.gate.packed(offsets)},
            x.o.packed(offsets));
    }
}

oracle::values output(problem const& p, std::vector<rd::index> const& offsets) {
    device_tensors<double, 4> x(p, support::memory::bthd);
    run(x.views(false), offsets, nullptr);
    return x.taken({}).o;
}

}  // namespace

bool replays(problem const& first, problem const& second, std::vector<rd::index> const& offsets) {
    device_tensors<double, 4> x(first, support::memory::bthd), y(second, support::memory::bthd);
    cudaStream_t stream;
    expect("cudaStreamCreate", cudaStreamCreate(&stream));
    cudaGraph_t graph;
    cudaGraphExec_t ready;
    expect("cudaStreamBeginCapture",
           cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    {
        auto const gone = offsets;  // memory of the host that the graph must not need
        run(x.views(false), gone, stream);
    }
    expect("cudaStreamEndCapture", cudaStreamEndCapture(stream, &graph));
    expect("cudaGraphInstantiate", cudaGraphInstantiate(&ready, graph, 0));
    auto const replay = [&] {
        expect("cudaGraphLaunch", cudaGraphLaunch(ready, stream));
        expect("cudaStreamSynchronize", cudaStreamSynchronize(stream));
        return x.taken({}).o;
    };
    bool same = replay() == output(first, offsets);
    auto const move = [](auto const& from, auto const& to, std::size_t size) {
        expect("cudaMemcpy", cudaMemcpy(to, from, size * sizeof(double), cudaMemcpyDeviceToDevice));
    };
    move(y.views(false).q.data(), const_cast<double*>(x.views(false).q.data()), second.q.size());
    move(y.views(false).k.data(), const_cast<double*>(x.views(false).k.data()), second.k.size());
    move(y.views(false).v.data(), const_cast<double*>(x.views(false).v.data()), second.v.size());
    move(y.views(false).gate.data(), const_cast<double*>(x.views(false).gate.data()),
         second.gate.size());
    same = same && replay() == output(second, offsets);
    expect("cudaGraphExecDestroy", cudaGraphExecDestroy(ready));
    expect("cudaGraphDestroy", cudaGraphDestroy(graph));
    expect("cudaStreamDestroy", cudaStreamDestroy(stream));
    return same;
}

bool names_the_call() {
    // The denominators of 2^40 tokens, kept between two passes, need more memory than there is.
    constexpr auto op = rd::attention(rd::decay::constant, rd::bidirectional, rd::normalize::sum);
    constexpr rd::index many = rd::index(1) << 40;
    double one[2] = {};
    rd::view<double const, 4> const in(one, {1, 1, many, 1}, {0, 0, 0, 0});
    rd::view<double const, 1> const gate(one, {1});
    rd::view<double, 4> const out(one + 1, {1, 1, many, 1});
    try {
        op.forward(rd::exec::cuda{}, {in, in, in, gate}, out);
    } catch (rd::cuda_error const& error) {
        return std::string(error.what()).find("cudaMallocAsync") != std::string::npos &&
               error.code() == cudaErrorMemoryAllocation;
    }
    return false;
}

}  // namespace device
