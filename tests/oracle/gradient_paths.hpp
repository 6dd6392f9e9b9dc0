#pragma once

#include "oracle/gradient.hpp"
#include "oracle/path.hpp"

namespace oracle {

/// The oracle's gradient: each path its own, all by the division that they share.
inline gradients gradient_along(problem const& p, values const& d_o, std::vector<path> const& paths,
                                index rows, index columns) {
    auto const& n = p.n;
    index const C = gate_channels(p.op, n);
    std::vector<std::vector<index>> orders;
    reading all{values(n.B * n.Hq * n.T * n.E), values(n.B * n.Hq * n.T)};
    for (path way : paths) {
        auto const order = visits(way, rows, columns);
        auto const one = read(permuted(p, order));
        add_block(all.numerator, 0, gathered(one.numerator, inverse(order), n.E));
        add_block(all.denominator, 0, gathered(one.denominator, inverse(order), 1));
        orders.push_back(order);
    }
    gradients sum{values(p.q.size()),    values(p.k.size()),    values(p.v.size()),
                  values(p.gate.size()), values(p.beta.size()), {}};
    for (auto const& order : orders) {
        auto const back = inverse(order);
        reading const shared{gathered(all.numerator, order, n.E),
                             gathered(all.denominator, order, 1)};
        auto const one =
            gradient(permuted(p, order), gathered(d_o, order, n.E), empty_state(p.op, n), shared);
        add_block(sum.q, 0, gathered(one.q, back, n.D));
        add_block(sum.k, 0, gathered(one.k, back, n.D));
        add_block(sum.v, 0, gathered(one.v, back, n.E));
        bool const constant = p.op.decay == decay::constant;
        add_block(sum.gate, 0, constant ? one.gate : gathered(one.gate, back, C));
        add_block(sum.beta, 0, gathered(one.beta, back, 1));
    }
    return sum;
}

}  // namespace oracle
