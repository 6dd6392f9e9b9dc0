/// @file
/// The weights of a decay inside one chunk, in four families with the same functions. With f_t the
/// factor between token t - 1 and token t of the chunk (f_0 in front of the first, f_n behind the
/// last) they are
///
///     pair(i, j) = f_(j+1) ... f_i     read(i) = f_0 ... f_i     write(j) = f_(j+1) ... f_n
///     carry = f_0 ... f_n
///
/// and on_read and on_write differ by one place only: f_t = a_t with f_n = 1, or f_t = a_(t-1) with
/// f_0 = 1. One exponential a gate entry, no exponent of a sum, and a hard reset is an exact zero.
///
/// A family splits its weights: factors of the queries' rows and of the keys' rows, then factors of
/// the pairs, of what readers have of the state in front, and of what the state behind the chunk
/// has of the keys.
#pragma once

#include <rondo/kernel/state.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// values = exp(values)
template <class L>
inline void exp_in_place(typename L::value* values, index count) noexcept {
    for (index i = 0; i < count; i += L::width) {
        index const lanes = std::min<index>(L::width, count - i);
        L::store(values + i, L::exp(L::load(values + i, lanes)), lanes);
    }
}

/// to = values * factors; a `step` of 0 repeats the first pack of factors.
template <class L>
inline void scale_row(typename L::value* to, typename L::value const* values,
                      typename L::value const* factors, index count, index step = 1) noexcept {
    for (index d = 0; d < count; d += L::width) {
        L::store(to + d, L::load(values + d) * L::load(factors + step * d));
    }
}

/// to = factor * values
template <class L>
inline void scale_row(typename L::value* to, typename L::value const* values,
                      typename L::value factor, index count) noexcept {
    auto const factors = L::broadcast(factor);
    for (index d = 0; d < count; d += L::width) L::store(to + d, factors * L::load(values + d));
}

/// Factors of the channels of a chunk's rows. No data: all 1. A step of 0 repeats the first pack.
template <class L>
struct row_factors {
    typename L::value const* data = nullptr;
    index row_step = 0, step = 1;

    row_factors from(index row) const noexcept {
        return {data == nullptr ? data : data + row * row_step, row_step, step};
    }
    void apply(matrix<typename L::value> rows, index count, index channels) const noexcept {
        if (data == nullptr) return;
        for (index i = 0; i < count; ++i) {
            scale_row<L>(rows.at(i), rows.at(i), data + i * row_step, channels, step);
        }
    }
};

/// Keeps factors of keys and queries, pack by pack of a channel d.
template <class L>
struct kept_factors {
    using P = typename L::pack;
    matrix<typename L::value> keys, queries;
    index d;

    void key(index t, P factor) const noexcept { L::store(keys.at(t, d), factor); }
    void both(index t, P of_key, P of_query) const noexcept {
        key(t, of_key);
        L::store(queries.at(t, d), of_query);
    }
};

/// Turns rows and weighs them by their factors at once, and keeps these if they are asked for. By
/// value, or every store would have all of it loaded anew. Lanes: a number, constant where it is
/// all.
template <class L, class Lanes>
struct weighed_rows {
    using P = typename L::pack;
    kept_factors<L> kept;
    bool keeps;
    matrix<typename L::value> from_keys, from_queries, keys, queries;
    pack_turns<L> turns;
    Lanes lanes;

    weighed_rows(chunk<L> const& c, kept_factors<L> const& factors, Lanes count) noexcept
        : kept(factors),
          keeps(c.keeps_factors),
          from_keys(c.unweighed_keys),
          from_queries(c.unweighed_queries),
          keys{c.k, c.depth},
          queries(c.queries()),
          turns(c.turns, factors.d),
          lanes(count) {}

    void key(index t, P factor) const noexcept {
        if (keeps) kept.key(t, factor);
        leave_key(t, factor, turns[t]);
    }
    void both(index t, P of_key, P of_query) const noexcept {
        if (keeps) kept.both(t, of_key, of_query);
        auto const turn = turns[t];
        leave_key(t, of_key, turn);
        if (from_queries.data == nullptr) return;
        P const row = turn(L::load(from_queries.at(t, kept.d), lanes));
        L::store(queries.at(t, kept.d), of_query * row);
    }

private:
    template <class Turn>
    void leave_key(index t, P factor, Turn const& turn) const noexcept {
        L::store(keys.at(t, kept.d), factor * turn(L::load(from_keys.at(t, kept.d), lanes)));
    }
};

/// body(what is done with factors of the channels from d on)
template <class L, class Body>
inline void take_factors(chunk<L> const& c, kept_factors<L> const& kept,
                         Body const& body) noexcept {
    using all = std::integral_constant<index, L::width>;
    index const lanes = c.call->depth - kept.d;
    if (c.unweighed_keys.data == nullptr) return body(kept);
    if (lanes >= L::width) return body(weighed_rows<L, all>(c, kept, {}));
    if constexpr (L::masks) body(weighed_rows<L, index>(c, kept, lanes));
}

/// Where the factor that a token's gate stands for is kept: f_t on_read, f_(t+1) on_write, of which
/// the last lies behind all others.
template <class L>
inline index factor_of(chunk<L> const& c, index token) noexcept {
    if (!c.call->what.on_write) return token;
    return token + 1 == c.count ? c.rows : token + 1;
}

/// Leaves of the scores of readers [first, first + count) the keys that they see: those before
/// them, and themselves unless `strict`.
template <class L>
inline void mask_pairs(matrix<typename L::value> scores, index first, index count,
                       bool strict) noexcept {
    index const columns = padded<L>(first + whole_tiles(count));
    for (index r = 0; r < count; ++r) {
        index const seen = first + r + (strict ? 0 : 1);
        for (index j = seen / L::width * L::width; j < columns; j += L::width) {
            L::store(scores.at(r, j), L::first(L::load(scores.at(r, j)), seen - j));
        }
    }
    for (index r = count; r < whole_tiles(count); ++r)
        fill<L>(scores.at(r), typename L::value(0), columns);
}

/// decay::none: every weight is 1.
template <class L>
struct unweighted {
    using A = typename L::value;

    /// Loads the gates, rows of `tokens`, sets c.carry and moves the state's max and sum past the
    /// chunk. False, and nothing done, when the chunk must be halved first.
    static bool load_gates(chunk<L>& c, head_state<A> const&, rows_by_token const&, index const*,
                           pass const&) noexcept {
        fill<L>(c.carry, A(1), c.depth);
        return true;
    }
    /// Whether a chunk that writes wants the state in front scaled by c.entry.
    static constexpr bool scales_state = false;
    /// Whether these two are given.
    static constexpr bool weighs_rows = false;
    /// Weighs the rows of the chunk's queries.
    static row_factors<L> query_factors(chunk<L> const&) noexcept { return {}; }
    /// Weighs the rows of the chunk's keys.
    static row_factors<L> key_factors(chunk<L> const&) noexcept { return {}; }
    /// Takes to the state what all readers of a pass that only reads would be weighed by.
    template <class State>
    static void divide(chunk<L>&, State const&) noexcept {}
    /// Adds what one stretch of a window left to what another did.
    static void merge(chunk<L> const& c, head_state<A> const& from,
                      head_state<A> const& to) noexcept {
        fill<L>(c.entry, A(1), c.depth);
        merge_states<L>(c, c.entry, c.entry, from, to);
    }
    /// Weighs the pairs of readers [first, first + count) with the keys that they see, those before
    /// them and themselves unless `strict`, and masks the others; readers are taken in order.
    static void weigh_pairs(chunk<L>&, matrix<A> pairs, index first, index count,
                            bool strict) noexcept {
        mask_pairs<L>(pairs, first, count, strict);
    }
    /// What each reader from `first` on has of the state in front, or null: all of it.
    static A const* read_factors(chunk<L> const&, index) noexcept { return nullptr; }
    /// What the state behind the chunk has of each weighted key, or null: all of it.
    static A const* write_factors(chunk<L> const&) noexcept { return nullptr; }
    /// Whether it has c.carry of the weighted keys too, not of the state in front alone.
    static constexpr bool carries_keys = false;
};

/// decay::constant and decay::scalar: a factor a token.
template <class L>
struct per_token : unweighted<L> {
    using A = typename L::value;

    static bool load_gates(chunk<L>& c, head_state<A> const&, rows_by_token const& gates,
                           index const* tokens, pass const&) noexcept {
        bool const on_write = c.call->what.on_write;
        A* const f = c.gate;
        for (index t = 0; t < c.count; ++t) {
            row const from = gates[tokens[t]];
            f[factor_of(c, t)] = load_element<A>(from.data, from.kind);
        }
        if (on_write) f[0] = A(0);
        exp_in_place<L>(f, c.count);
        f[c.rows] = on_write ? one_exp(f[c.rows]) : A(1);
        A product = A(1);
        for (index t = 0; t < c.count; ++t) read(c)[t] = product *= f[t];
        fill<L>(read(c) + c.count, A(1), whole_tiles(c.count) - c.count);
        fill<L>(c.carry, product * f[c.rows], c.depth);
        A* const write = c.write_factors;
        write[c.count - 1] = f[c.rows];
        for (index t = c.count - 1; t > 0; --t) write[t - 1] = write[t] * f[t];
        fill<L>(write + c.count, A(1), whole_tiles(c.count) - c.count);
        return true;
    }

    static void weigh_pairs(chunk<L>& c, matrix<A> pairs, index first, index count,
                            bool strict) noexcept {
        // A pack of keys at a time: its weights pass from reader to reader in a register.
        index const columns = padded<L>(first + whole_tiles(count));
        auto const zero = L::broadcast(A(0)), one = L::broadcast(A(1));
        for (index j = 0; j < columns; j += L::width) {
            auto weights = j < first ? L::load(c.pair_weights + j) : zero;
            index r = 0;
            for (; r < count && first + r < j; ++r) L::store(pairs.at(r, j), zero);
            for (; r < count && first + r < j + L::width; ++r) {
                index const own = first + r - j;
                weights = weights * L::broadcast(c.gate[first + r]);
                weights = weights + (L::first(one, own + 1) - L::first(one, own));
                auto const weighed = weights * L::load(pairs.at(r, j));
                L::store(pairs.at(r, j), L::first(weighed, own + (strict ? 0 : 1)));
            }
            for (; r < count; ++r) {
                weights = weights * L::broadcast(c.gate[first + r]);
                L::store(pairs.at(r, j), weights * L::load(pairs.at(r, j)));
            }
            for (; r < whole_tiles(count); ++r) L::store(pairs.at(r, j), zero);
            L::store(c.pair_weights + j, weights);
        }
    }

    static A const* read_factors(chunk<L> const& c, index first) noexcept {
        return read(c) + first;
    }

    static A const* write_factors(chunk<L> const& c) noexcept { return c.write_factors; }

private:
    static A* read(chunk<L> const& c) noexcept { return c.inverse; }
    static A one_exp(A x) noexcept {
        exp_in_place<L>(&x, 1);
        return x;
    }
};

/// decay::vector: a factor a token and key channel. With F_t = f_0 ... f_t,
///
///     pair(i, j) = F_i / F_j     read(i) = F_i     write(j) = F_n / F_j,
///
/// factors of queries and keys. A chunk in which some F_t is too small or large to be divided by is
/// refused, and the walk halves it; in a chunk of one token only f_0 can be, and a steep f_0 is
/// taken by the state itself.
template <class L>
struct per_channel : unweighted<L> {
    using A = typename L::value;
    using P = typename L::pack;
    /// F_t between exp(-limit) and exp(limit), where neither it nor a usual key over it leaves the
    /// normal numbers; half as much for f_0.
    static constexpr double limit = sizeof(A) == 4 ? 40 : 300;
    static constexpr bool scales_state = true, weighs_rows = true;

    static bool load_gates(chunk<L>& c, head_state<A> const&, rows_by_token const& gates,
                           index const* tokens, pass const& how) noexcept {
        bool const on_write = c.call->what.on_write;
        matrix<A> const f = c.gate_rows();
        if (on_write) fill<L>(f.at(0), A(0), c.gates);
        auto const take = [&](index t) {
            load_row<L>(f.at(factor_of(c, t)), gates[tokens[t]], c.call->depth, c.gates);
        };
        matrix<A> logs;
        bool const whole = tokens == c.tokens && c.call->depth == c.depth;
        if (whole) logs = c.in_place(gates, how, 0, c.count);
        index const shift = logs.data != nullptr && on_write ? 1 : 0;
        if (logs.data != nullptr) {
            take(on_write ? c.count - 1 : 0);
        } else {
            for (index t = 0; t < c.count; ++t) take(t);
            logs = f;
        }
        A* const exit = f.at(c.rows);
        if (on_write) {
            exp_in_place<L>(exit, c.gates);
        } else {
            fill<L>(exit, A(1), c.gates);
        }
        exp_in_place<L>(f.at(0), c.gates);
        bool const steep = !within(f.at(0), c.gates, limit / 2);
        fill<L>(c.entry, A(1), c.depth);
        if (steep) std::swap_ranges(c.entry, c.entry + c.depth, f.at(0));
        return multiply_up(c, logs, shift) || c.count == 1;
    }

    static row_factors<L> query_factors(chunk<L> const& c) noexcept { return {c.gate, c.gates}; }
    static row_factors<L> key_factors(chunk<L> const& c) noexcept { return {c.inverse, c.gates}; }
    static constexpr bool carries_keys = true;

private:
    static bool within(A const* factors, index count, double range) noexcept {
        P const low = L::broadcast(A(std::exp(-range))), high = L::broadcast(A(std::exp(range)));
        for (index d = 0; d < count; d += L::width) {
            P const f = L::load(factors + d);
            if (L::any_less(f, low) || L::any_less(high, f)) return false;
        }
        return true;
    }

    /// Turns logs, that of f_t in row t - shift, into F_t and 1 / F_t behind the first row, or
    /// weighs rows by them; whether all are within the limit.
    static bool multiply_up(chunk<L>& c, matrix<A> logs, index shift) noexcept {
        matrix<A> const f = c.gate_rows();
        P low = L::broadcast(A(1)), high = low;
        for (index d = 0; d < c.depth; d += L::width) {
            take_factors<L>(c, {c.inverse_rows(), f, d}, [&](auto const& rows) {
                P product = L::load(f.at(0, d));
                for (index t = 0;;) {
                    rows.both(t, L::inverse(product), product);
                    if (++t == c.count) break;
                    product = product * L::exp(L::load(logs.at(t - shift, d)));
                    low = L::min(low, product);
                    high = L::max(high, product);
                }
                L::store(c.carry + d, product * L::load(f.at(c.rows, d)));
            });
        }
        return !L::any_less(low, L::broadcast(A(std::exp(-limit)))) &&
               !L::any_less(L::broadcast(A(std::exp(limit))), high);
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
