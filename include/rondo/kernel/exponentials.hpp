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

/// Tokens and neighbours of one tile. Few tokens, since rows a power of two apart share few sets
/// of the first cache.
inline constexpr index exponential_tokens = 32, exponential_block = 64;

/// lambda, b and the states of one block of neighbours, each [exponentials, exponential_block].
template <class A>
struct exponential_rows {
    A const *lambda, *b;
    A* h;
};

/// Tokens of a tile in memory: the values of one are next to each other, `step` elements from
/// token to token.
template <class A>
struct token_rows_of {
    A* data;
    index step;
};

template <class L>
struct exponential_kernel {
    using A = typename L::value;
    using P = typename L::pack;
    using input = token_rows_of<A const>;
    using output = token_rows_of<A>;

    /// y = what the exponentials give for `count` tokens x, added to what y holds unless it is
    /// `fresh`; moves their states on. A strict reader is read before its own token is added: b
    /// then holds b lambda. `width` is a number of whole packs.
    static void tile(exponential_rows<A> const& rows, index exponentials, bool strict, bool fresh,
                     input x, output y, index count, index width) noexcept {
        for (index c = 0; c < width; c += L::width) {
            strict ? column<true>(rows, exponentials, fresh, c, x, y, count)
                   : column<false>(rows, exponentials, fresh, c, x, y, count);
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
    /// One pack of neighbours. Where several groups of exponentials pass, all but the last leave
    /// their sums in the first cache, and all but the first read the tokens there: in memory, rows
    /// a power of two apart would drive each other out between two groups.
    template <bool Strict>
    static void column(exponential_rows<A> const& rows, index exponentials, bool fresh, index c,
                       input x, output y, index count) noexcept {
        alignas(cache_line) A tokens[exponential_tokens * L::width];
        alignas(cache_line) A sums[exponential_tokens * L::width];
        constexpr input none{nullptr, 0};
        x.data += c;
        y.data += c;
        index m = 0;
        auto const body = [&]<int Count>() {
            bool const first = m == 0, last = m + Count == exponentials;
            index const at = m * exponential_block + c;
            input const from = first ? x : input{tokens, L::width};
            input const before = first ? input{y.data, y.step} : input{sums, L::width};
            output const to = last ? y : output{sums, L::width};
            input const next = first ? input{x.data + count * x.step, x.step}
                                     : input{y.data + count * y.step, y.step};
            pass<Count, Strict>(rows, at, from, first && fresh ? none : before, to,
                                first && !last ? tokens : nullptr, first && last ? none : next,
                                count);
            m += Count;
        };
        // As many states at once as leave registers for their lambda and b: 24 of 32, 12 of 16.
        if constexpr (L::packs == 4) {
            while (m + 8 <= exponentials) body.template operator()<8>();
        }
        while (m + 4 <= exponentials) body.template operator()<4>();
        while (m < exponentials) body.template operator()<1>();
        if (m > 0 || !fresh) return;
        for (index t = 0; t < count; ++t) L::store(y.data + t * y.step, L::broadcast(A(0)));
    }

    /// y = before (none: zero) + what a group gives; `kept` takes a copy of the tokens.
    template <int Count, bool Strict>
    static void pass(exponential_rows<A> const& rows, index at, input x, input before, output y,
                     A* kept, input next, index count) noexcept {
        P lambda[Count], b[Count], h[Count];
        for (int m = 0; m < Count; ++m) {
            index const place = at + m * exponential_block;
            lambda[m] = L::load(rows.lambda + place);
            b[m] = L::load(rows.b + place);
            h[m] = L::load(rows.h + place);
        }
        P const zero = L::broadcast(A(0));
        for (index t = 0; t < count; ++t) {
            P const token = L::load(x.data + t * x.step);
            if (kept != nullptr) L::store(kept + t * L::width, token);
            // Rows of the next tile: those of a wide tensor lie pages apart, where the processor's
            // own prefetcher does not follow.
            if (next.data != nullptr) __builtin_prefetch(next.data + t * next.step, 0, 2);
            // Two sums: one would be a chain of dependent additions.
            P sums[2] = {before.data == nullptr ? zero : L::load(before.data + t * before.step),
                         zero};
#pragma GCC unroll 8
            for (int m = 0; m < Count; ++m) {
                if (Strict) sums[m % 2] = L::fma(b[m], h[m], sums[m % 2]);
                h[m] = L::fma(lambda[m], h[m], token);
                if (!Strict) sums[m % 2] = L::fma(b[m], h[m], sums[m % 2]);
            }
            L::store(y.data + t * y.step, sums[0] + sums[1]);
        }
        for (int m = 0; m < Count; ++m) L::store(rows.h + at + m * exponential_block, h[m]);
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
