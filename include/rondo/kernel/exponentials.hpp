/// @file
/// A sum of exponentials applied to lines: per neighbour c and exponential m a state
/// h <- lambda h + x, and y = sum_m b h.
///
/// Floor: 2 fused multiply-adds an element and exponential, 4 m flops, against 8 bytes of memory
/// traffic in float: from m = 2 on the multipliers are the limit. A group of states, its lambdas
/// and its b stay in registers while a tile of tokens passes.
#pragma once

#include <rondo/detail/arena.hpp>
#include <rondo/detail/lines.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// Tokens and neighbours of one tile: x and y take 2 * 16 KiB of the first cache in float.
inline constexpr index exponential_tokens = 64, exponential_block = 64;

/// lambda, b and the states of one block of neighbours, each [exponentials, exponential_block].
template <class A>
struct exponential_rows {
    A *lambda, *b, *h;

    static exponential_rows carve(arena& memory, index exponentials) noexcept {
        index const size = exponentials * exponential_block;
        A* const lambda = memory.template take<A>(size);
        A* const b = memory.template take<A>(size);
        return {lambda, b, memory.template take<A>(size)};
    }
};

template <class L>
struct exponential_kernel {
    using A = typename L::value;
    using P = typename L::pack;

    /// Adds to y [count, exponential_block] what the exponentials give for x of the same shape, and
    /// moves their states on. A strict reader is read before its own token is added: b then holds
    /// b lambda.
    static void tile(exponential_rows<A> const& rows, index exponentials, bool strict, A const* x,
                     A* y, index count, index width) noexcept {
        for (index c = 0; c < width; c += L::width) {
            index m = 0;
            // As many states at once as leave registers for their lambda and b: 24 of 32, 12 of 16.
            if constexpr (L::packs == 4) {
                for (; m + 8 <= exponentials; m += 8) group<8>(rows, m, c, strict, x, y, count);
            }
            for (; m + 4 <= exponentials; m += 4) group<4>(rows, m, c, strict, x, y, count);
            for (; m < exponentials; ++m) group<1>(rows, m, c, strict, x, y, count);
        }
    }

    /// Adds sum_t d_y_t dy_t/db to d_b and the same of log_lambda, but for the factor b, to
    /// d_lambda. `p` is dh/dlog_lambda: p <- lambda (h + p) before h moves on, so that nothing is
    /// kept along time.
    static void sensitivities(exponential_rows<A> const& rows, A* p, A* d_b, A* d_lambda,
                              index exponentials, bool strict, A const* x, A const* d_y,
                              index count, index width) noexcept {
        for (index m = 0; m < exponentials; ++m) {
            for (index c = 0; c < width; c += L::width) {
                index const at = m * exponential_block + c;
                P const lambda = L::load(rows.lambda + at);
                P h = L::load(rows.h + at), q = L::load(p + at);
                P to_b = L::load(d_b + at), to_lambda = L::load(d_lambda + at);
                for (index t = 0; t < count; ++t) {
                    P const g = L::load(d_y + t * exponential_block + c);
                    P const decayed = lambda * h;
                    q = L::fma(lambda, q, decayed);
                    h = decayed + L::load(x + t * exponential_block + c);
                    to_b = L::fma(g, strict ? decayed : h, to_b);
                    to_lambda = L::fma(g, q, to_lambda);
                }
                L::store(rows.h + at, h);
                L::store(p + at, q);
                L::store(d_b + at, to_b);
                L::store(d_lambda + at, to_lambda);
            }
        }
    }

private:
    template <int Count>
    static void group(exponential_rows<A> const& rows, index m, index c, bool strict, A const* x,
                      A* y, index count) noexcept {
        if (strict) {
            pass<Count, true>(rows, m * exponential_block + c, x + c, y + c, count);
        } else {
            pass<Count, false>(rows, m * exponential_block + c, x + c, y + c, count);
        }
    }

    template <int Count, bool Strict>
    static void pass(exponential_rows<A> const& rows, index at, A const* x, A* y,
                     index count) noexcept {
        P lambda[Count], b[Count], h[Count];
        for (int m = 0; m < Count; ++m) {
            index const place = at + m * exponential_block;
            lambda[m] = L::load(rows.lambda + place);
            b[m] = L::load(rows.b + place);
            h[m] = L::load(rows.h + place);
        }
        for (index t = 0; t < count; ++t) {
            P const token = L::load(x + t * exponential_block);
            // Two sums: one would be a chain of dependent additions.
            P sums[2] = {L::load(y + t * exponential_block), L::broadcast(A(0))};
#pragma GCC unroll 8
            for (int m = 0; m < Count; ++m) {
                if (Strict) sums[m % 2] = L::fma(b[m], h[m], sums[m % 2]);
                h[m] = L::fma(lambda[m], h[m], token);
                if (!Strict) sums[m % 2] = L::fma(b[m], h[m], sums[m % 2]);
            }
            L::store(y + t * exponential_block, sums[0] + sums[1]);
        }
        for (int m = 0; m < Count; ++m) L::store(rows.h + at + m * exponential_block, h[m]);
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
