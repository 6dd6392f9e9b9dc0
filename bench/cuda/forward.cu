/// @file
/// Forward and step on a device, beside the time that memory alone would take (the floor) and the
/// error against the recurrence in double.
#include "programs.hpp"
#include "rows.cuh"

namespace bench {
namespace {

template <class Operator>
void step(report& to, std::string const& name, Operator op) {
    static constexpr auto what = Operator::composition;
    constexpr rd::index heads = 16;
    for (rd::index depth : {64, 128}) {
        for (rd::index batch : {64, 256}) {
            std::string const title =
                "step " + name + "/D" + std::to_string(depth) + "/B" + std::to_string(batch);
            if (!to.wants(title)) continue;
            rd::index const rows = batch * heads;
            buffer<Eigen::bfloat16> const x(4 * rows * depth, -1, 0, 1);
            auto const part = [&](int i) {
                return rd::bhd(x.data() + i * rows * depth, batch, heads, depth);
            };
            constexpr int sets = 4;  // together beyond the second cache
            std::vector<buffer<float>> states;
            for (int i = 0; i < sets; ++i) {
                states.emplace_back(rows * (depth * depth + 2 * depth), 1, 2, 5 + i);
            }
            auto const call = [&](cudaStream_t stream, int turn) {
                float* const s = states[std::size_t(turn)].data();
                rd::state_view<float> state;
                state.s = s;
                state.max = s + rows * depth * depth;
                state.sum = state.max + rows * depth;
                state.batch = batch, state.heads = heads;
                state.depth = depth, state.width = depth;
                state.gate_width = what.additive() ? depth : 0;
                state.present = true;
                auto const q = part(0), k = part(0), v = part(1), g = part(2), o = part(3);
                rd::exec::cuda const place{stream};
                if constexpr (what.gated()) {
                    op.step(place, {q, k, v, g}, state, o);
                } else {
                    op.step(place, {q, k, v}, state, o);
                }
            };
            double const ms = milliseconds(sets, call);
            to.row(title, ms, double(rows) * (2.0 * 4 * depth * depth + 10 * depth), 0);
        }
    }
}

}  // namespace

void sixteen_bits(report& to) {
    using namespace rd;
    using T = Eigen::bfloat16;
    forward<T>(to, "none", attention(decay::none));
    forward<T>(to, "constant", attention(decay::constant));
    forward<T>(to, "scalar", attention(decay::scalar));
    forward<T>(to, "vector", attention(decay::vector));
    forward<T>(to, "vector, gates from -5 to 0", attention(decay::vector), false, -5);
    forward<T>(to, "lightnet", attention(decay::additive), true);
    forward<T>(to, "lightnet bidirectional", attention(decay::additive, bidirectional), true);
    forward<T>(to, "lion_s", attention(decay::scalar, decay::on_write, bidirectional));
    forward<T>(to, "gated delta", attention(decay::scalar, update::delta));
    forward<T>(to, "vector delta", attention(decay::vector, update::delta));
    step(to, "none", attention(decay::none));
    step(to, "vector", attention(decay::vector));
    step(to, "lightnet", attention(decay::additive));
}

}  // namespace bench
