#pragma once

#include "attention.hpp"

namespace oracle {

enum class path { raster, raster_reversed, column, column_reversed, snake, snake_column };

/// The raster number of the token that the path visits at each step, on a grid of rows x columns.
inline std::vector<index> visits(path way, index rows, index columns) {
    std::vector<index> order;
    if (way == path::raster || way == path::raster_reversed) {
        for (index i = 0; i < rows * columns; ++i) order.push_back(i);
    } else if (way == path::snake) {
        for (index row = 0; row < rows; ++row) {
            for (index i = 0; i < columns; ++i) {
                order.push_back(row * columns + (row % 2 == 0 ? i : columns - 1 - i));
            }
        }
    } else if (way == path::snake_column) {
        for (index column = 0; column < columns; ++column) {
            for (index i = 0; i < rows; ++i) {
                order.push_back((column % 2 == 0 ? i : rows - 1 - i) * columns + column);
            }
        }
    } else {
        for (index column = 0; column < columns; ++column) {
            for (index row = 0; row < rows; ++row) order.push_back(row * columns + column);
        }
    }
    if (way == path::raster_reversed || way == path::column_reversed) {
        std::reverse(order.begin(), order.end());
    }
    return order;
}

/// x [blocks, T, channels] with token order[s] of every block moved to place s.
inline values gathered(values const& x, std::vector<index> const& order, index channels) {
    values y(x.size());
    auto const T = static_cast<index>(order.size());
    for (index i = 0; i < static_cast<index>(x.size()); ++i) {
        index const channel = i % channels, step = i / channels % T, block = i / channels / T;
        index const token = order[step];
        y[i] = x[(block * T + token) * channels + channel];
    }
    return y;
}

inline std::vector<index> inverse(std::vector<index> const& order) {
    std::vector<index> back(order.size());
    for (std::size_t step = 0; step < order.size(); ++step) {
        back[order[step]] = static_cast<index>(step);
    }
    return back;
}

inline problem permuted(problem p, std::vector<index> const& order) {
    p.q = gathered(p.q, order, p.n.D);
    p.k = gathered(p.k, order, p.n.D);
    p.v = gathered(p.v, order, p.n.E);
    if (p.op.decay != decay::constant) p.gate = gathered(p.gate, order, gate_channels(p.op, p.n));
    p.beta = gathered(p.beta, order, 1);
    return p;
}

/// The operator along every path, in grid order; numerators and denominators summed before the
/// division.
inline values multiscan(problem const& p, std::vector<path> const& paths, index rows,
                        index columns) {
    index const readers = p.n.B * p.n.Hq * p.n.T;
    reading sum{values(readers * p.n.E), values(readers)};
    for (path way : paths) {
        auto const order = visits(way, rows, columns);
        auto const along = read(permuted(p, order));
        auto const numerator = gathered(along.numerator, inverse(order), p.n.E);
        auto const denominator = gathered(along.denominator, inverse(order), 1);
        for (std::size_t i = 0; i < numerator.size(); ++i) sum.numerator[i] += numerator[i];
        for (std::size_t i = 0; i < denominator.size(); ++i) sum.denominator[i] += denominator[i];
    }
    return output(p, sum);
}

}  // namespace oracle
