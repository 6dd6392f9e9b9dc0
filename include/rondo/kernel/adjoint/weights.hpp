/// @file
/// The adjoint of the weights: how each family takes part in dq, dk and dv, and the gradient of its
/// gate. With P and dP the pairs and their gradients, and f_t the factors of the chunk,
///
///     dq_i = read(i) S dO_i + sum_(j <= i) pair(i, j) dP(i, j) k_j
///     dk_j = write(j) dS v_j + sum_(i >= j) pair(i, j) dP(i, j) q_i
///
/// and as in the forward pass no product of factors is ever divided by another.
#pragma once

#include <rondo/kernel/adjoint/gate.hpp>
#include <rondo/kernel/adjoint/pairs.hpp>

namespace rondo::inline RONDO_ISA::detail {

template <class L, class Weights>
struct adjoint_weights;

/// decay::none, and what families with one weight a pair share.
template <class L>
struct adjoint_weights<L, unweighted<L>> {
    using A = typename L::value;
    /// Whether the state is brought to a new reference before the chunk's first token.
    static constexpr bool rescales = false;

    /// Begins another walk over the chunk's tiles.
    static void restart(chunk<L>&) noexcept {}
    /// Brings keys, and what dS says of them when `gradients` is set, to the chunk's end; leaves
    /// the state's factor.
    static void weigh_written(chunk<L>& c, adjoint_chunk<L>& a,
                              [[maybe_unused]] bool gradients) noexcept {
        fill<L>(a.carry, A(1), c.depth);
    }
    static matrix<A> written_keys(chunk<L> const& c, adjoint_chunk<L> const&) noexcept {
        return c.keys();
    }
    /// Keeps the tile's queries as the state in front of the chunk meets them, and weighs its
    /// d_pairs with the first `keys` tokens.
    static void weigh_readers(chunk<L> const&, adjoint_chunk<L>&, index, index) noexcept {}
    static matrix<A> read_queries(adjoint_chunk<L> const& a) noexcept { return a.queries(); }

    /// d_q of the tile's readers, which holds S dO_i, with the first `keys` tokens.
    static void read(chunk<L> const& c, adjoint_chunk<L>& a, index tile, index keys) noexcept {
        constexpr A whole[tile_rows] = {1, 1, 1, 1};
        add(c, a, whole, tile, keys);
    }
    /// d_k of all tokens, over the whole chunk's readers.
    static void write(chunk<L> const& c, adjoint_chunk<L>& a) noexcept {
        add_transposed<L>(a.key_gradients(), a.pair_gradients(), a.queries(), c.count, c.depth);
    }

    /// What the readers add to the gradients of the gates.
    static void add_readers(chunk<L> const& c, adjoint_chunk<L>& a) noexcept {
        if (a.call->wants_gate()) {
            add_terms<L>(a, c.count, a.queries(), a.query_gradients(), A(1));
        }
    }
    /// The gradients of the chunk's gates, all readers and the written side known.
    static void finish_gates(chunk<L> const& c, adjoint_chunk<L>& a, head_state<A> const&,
                             bool) noexcept {
        if (!a.call->wants_gate()) return;
        add_terms<L>(a, c.count, c.keys(), a.key_gradients(), A(-1));
        sum_terms<L>(c, a);
    }

protected:
    static void add(chunk<L> const& c, adjoint_chunk<L>& a, A const* factors, index tile,
                    index keys) noexcept {
        add_rows<L>({a.query_gradients().at(tile), a.depth}, factors,
                    {a.pair_gradients().at(tile), a.rows}, c.keys(), keys, c.depth);
    }
};

/// decay::constant and decay::scalar: the weights go into dP.
template <class L>
struct adjoint_weights<L, per_token<L>> : adjoint_weights<L, unweighted<L>> {
    using A = typename L::value;
    using plain = adjoint_weights<L, unweighted<L>>;

    static void restart(chunk<L>& c) noexcept {
        c.running[0] = A(1);
        fill<L>(c.weight_rows().at(tile_rows), A(0), c.rows);
    }

    static void weigh_written(chunk<L>& c, adjoint_chunk<L>& a,
                              [[maybe_unused]] bool gradients) noexcept {
        A after = c.call->what.on_write ? c.gate[c.rows] : A(1);
        for (index j = c.count - 1; j >= 0; --j) {
            auto const factor = L::broadcast(after);
            for (index d = 0; d < c.depth; d += L::width) {
                L::store(a.written_keys().at(j, d), factor * L::load(c.keys().at(j, d)));
                A* const gradient = a.key_gradients().at(j, d);
                if (gradients) L::store(gradient, factor * L::load(gradient));
            }
            after *= c.gate[j];
        }
        fill<L>(a.carry, after, c.depth);
    }
    static matrix<A> written_keys(chunk<L> const&, adjoint_chunk<L> const& a) noexcept {
        return a.written_keys();
    }
    static void weigh_readers(chunk<L> const& c, adjoint_chunk<L>& a, index tile,
                              index keys) noexcept {
        std::copy_n(c.state_queries().data, tile_rows * c.depth, a.read_queries().at(tile));
        for (index r = 0; r < tile_rows; ++r) {
            A* const d_pairs = a.pair_gradients().at(tile + r);
            A const* const weights = c.weight_rows().at(r);
            for (index j = 0; j < keys; ++j) d_pairs[j] *= weights[j];
        }
    }
    static matrix<A> read_queries(adjoint_chunk<L> const& a) noexcept { return a.read_queries(); }

    static void read(chunk<L> const& c, adjoint_chunk<L>& a, index tile, index keys) noexcept {
        plain::add(c, a, c.prefix, tile, keys);
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
