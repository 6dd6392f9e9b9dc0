/// @file
/// Element-wise recurrences along lines: a block of neighbouring lines walked from one end to the
/// other, the carried values in the first cache.
#pragma once

#include <rondo/detail/arena.hpp>
#include <rondo/detail/lines.hpp>
#include <rondo/simd/log.hpp>

namespace rondo::inline RONDO_ISA::detail {

enum class recurrence_kind : unsigned char { linear, log_sum };

/// Lines that one unit walks side by side: 4 packs of the widest lanes, and forwards as many of
/// these as threads leave, since whole rows are what memory is fast at.
inline constexpr index scan_block = 64, widest_scan = 16 * scan_block;

/// A checked call; absent operands are empty.
struct scan_problem {
    line_space space;
    lines x, log_a, y, in, out;            // y: what forward writes
    lines d_y, d_out, d_x, d_log_a, d_in;  // what backward reads and writes
    bool reversed = false;
    index block = scan_block;  // lines of a unit

    index blocks() const noexcept { return (space.width + block - 1) / block; }
    index units() const noexcept { return space.count() * blocks(); }
    /// Units as wide as leaves two to every thread.
    void widen(int threads) noexcept {
        index const fair = threads > 1 ? units() / (2 * threads) : units();
        block = scan_block * std::clamp<index>(fair, 1, widest_scan / scan_block);
    }
    index place(index step) const noexcept { return reversed ? space.length - 1 - step : step; }
};

/// A unit: the operands of its line, and which neighbours it takes.
struct scan_unit {
    scan_problem const* call;
    index line, first, count;

    scan_unit(scan_problem const& problem, index number) noexcept
        : call(&problem), line(number / problem.blocks()) {
        first = number % problem.blocks() * problem.block;
        count = std::min(problem.block, problem.space.width - first);
    }

    /// Row `step` of the walk.
    row at(lines const& of, index step) const noexcept {
        return of.line(call->space, line).at(call->place(step), first);
    }
    row only(lines const& of) const noexcept { return of.line(call->space, line).at(0, first); }
};

/// `to` = what the row holds, or `otherwise` when the operand is absent.
template <class L, class A>
inline void load_or(A* to, scan_unit const& unit, lines const& from, A otherwise) noexcept {
    if (from.empty()) return fill<L>(to, otherwise, unit.count);
    load_row<L>(to, unit.only(from), unit.count, unit.count);
}

/// y_t = exp(log_a_t) y_(t-1) + x_t.
template <class L>
struct linear_scan {
    using A = typename L::value;

    /// The recurrence over a unit. `leave(step, y)` takes every row.
    template <class Leave>
    static void walk(scan_unit const& unit, A* h, Leave const& leave) noexcept {
        scan_problem const& call = *unit.call;
        alignas(cache_line) A x_buffer[widest_scan], a_buffer[widest_scan];
        lines const x_line = call.x.line(call.space, unit.line);
        lines const a_line = call.log_a.line(call.space, unit.line);
        for (index step = 0; step < call.space.length; ++step) {
            index const t = call.place(step);
            A const* const x = read_row<L>(x_line.at(t, unit.first), x_buffer, unit.count);
            A const* const a = read_row<L>(a_line.at(t, unit.first), a_buffer, unit.count);
            for_packs<L>(unit.count, [&](index c, auto n) {
                auto const decay = L::exp(L::load(a + c, n));
                L::store(h + c, L::fma(decay, L::load(h + c), L::load(x + c, n)));
            });
            leave(t, h);
        }
    }

    static void forward(scan_unit const& unit, A*) noexcept {
        scan_problem const& call = *unit.call;
        alignas(cache_line) A h[widest_scan];
        fill<L>(h, A(0), padded<L>(unit.count));
        load_or<L>(h, unit, call.in, A(0));
        lines const y_line = call.y.line(call.space, unit.line);
        walk(unit, h,
             [&](index t, A const* y) { store_row<L>(y_line.at(t, unit.first), y, unit.count); });
        if (!call.out.empty()) store_row<L>(unit.only(call.out), h, unit.count);
    }

    /// r_t = d_y_t + a_(t+1) r_(t+1), d_x_t = r_t, d_log_a_t = a_t y_(t-1) r_t, d_in = a_0 r_0.
    /// `memory` holds y_(t-1) of every step when d_log_a is wanted.
    static void backward(scan_unit const& unit, A* memory) noexcept {
        scan_problem const& call = *unit.call;
        alignas(cache_line) A r[scan_block] = {}, before[scan_block] = {}, buffer[scan_block];
        alignas(cache_line) A a_buffer[scan_block];
        index const n = call.space.length;
        if (!call.d_log_a.empty()) {
            load_or<L>(before, unit, call.in, A(0));
            std::copy_n(before, scan_block, memory);
            A* to = memory;
            walk(unit, before, [&](index, A const* y) {
                to += scan_block;
                std::copy_n(y, scan_block, to);
            });
        }
        load_or<L>(r, unit, call.d_out, A(0));
        for (index step = n - 1; step >= 0; --step) {
            load_row<L>(buffer, unit.at(call.d_y, step), unit.count, unit.count);
            for (index c = 0; c < unit.count; ++c) r[c] += buffer[c];
            if (!call.d_x.empty()) store_row<L>(unit.at(call.d_x, step), r, unit.count);
            load_row<L>(a_buffer, unit.at(call.log_a, step), unit.count, scan_block);
            for (index c = 0; c < scan_block; c += L::width) {
                L::store(r + c, L::load(r + c) * L::exp(L::load(a_buffer + c)));
            }
            if (call.d_log_a.empty()) continue;
            A const* const y = memory + step * scan_block;
            for (index c = 0; c < unit.count; ++c) buffer[c] = r[c] * y[c];
            store_row<L>(unit.at(call.d_log_a, step), buffer, unit.count);
        }
        if (!call.d_in.empty()) store_row<L>(unit.only(call.d_in), r, unit.count);
    }
};

/// y_t = log(exp(y_(t-1)) + exp(x_t)), as a running maximum m and the sum s of exp(x - m). -inf is
/// kept as the lowest finite number, so that differences of maxima are never NaN.
template <class L>
struct log_sum_scan {
    using A = typename L::value;
    static constexpr A infinity = std::numeric_limits<A>::infinity();
    static constexpr A lowest = std::numeric_limits<A>::lowest();

    static A clamped(A x) noexcept { return x < lowest ? lowest : x > -lowest ? -lowest : x; }

    template <class Leave>
    static void walk(scan_unit const& unit, A* y, Leave const& leave) noexcept {
        scan_problem const& call = *unit.call;
        alignas(cache_line) A m[widest_scan], s[widest_scan], x[widest_scan];
        index const wide = padded<L>(unit.count);
        lines const line = call.x.line(call.space, unit.line);
        for (index c = 0; c < wide; ++c) m[c] = clamped(y[c]), s[c] = A(1);
        for (index step = 0; step < call.space.length; ++step) {
            index const t = call.place(step);
            load_row<L>(x, line.at(t, unit.first), unit.count, wide);
            for (index c = 0; c < wide; c += L::width) advance(x + c, m + c, s + c, y + c);
            leave(t, y);
        }
    }

    static void forward(scan_unit const& unit, A*) noexcept {
        scan_problem const& call = *unit.call;
        alignas(cache_line) A y[widest_scan];
        fill<L>(y, -infinity, padded<L>(unit.count));
        load_or<L>(y, unit, call.in, -infinity);
        lines const y_line = call.y.line(call.space, unit.line);
        walk(unit, y, [&](index t, A const* values) {
            store_row<L>(y_line.at(t, unit.first), values, unit.count);
        });
        if (!call.out.empty()) store_row<L>(unit.only(call.out), y, unit.count);
    }

    /// r_t = d_y_t + exp(y_t - y_(t+1)) r_(t+1), d_x_t = exp(x_t - y_t) r_t,
    /// d_in = exp(y_(-1) - y_0) r_0; every exponent is <= 0, and an empty window passes nothing on.
    static void backward(scan_unit const& unit, A* memory) noexcept {
        scan_problem const& call = *unit.call;
        alignas(cache_line) A r[scan_block] = {}, y[scan_block], buffer[scan_block];
        std::fill_n(y, scan_block, -infinity);
        load_or<L>(y, unit, call.in, -infinity);
        std::copy_n(y, scan_block, memory);
        A* to = memory;
        walk(unit, y, [&](index, A const* values) {
            to += scan_block;
            std::copy_n(values, scan_block, to);
        });
        load_or<L>(r, unit, call.d_out, A(0));
        for (index step = call.space.length - 1; step >= 0; --step) {
            A const *const before = memory + step * scan_block, *const after = before + scan_block;
            load_row<L>(buffer, unit.at(call.d_y, step), unit.count, unit.count);
            for (index c = 0; c < unit.count; ++c) r[c] += buffer[c];
            if (!call.d_x.empty()) {
                load_row<L>(buffer, unit.at(call.x, step), unit.count, unit.count);
                for (index c = 0; c < unit.count; ++c)
                    buffer[c] = r[c] * ratio(buffer[c], after[c]);
                store_row<L>(unit.at(call.d_x, step), buffer, unit.count);
            }
            for (index c = 0; c < unit.count; ++c) r[c] *= ratio(before[c], after[c]);
        }
        if (!call.d_in.empty()) store_row<L>(unit.only(call.d_in), r, unit.count);
    }

private:
    /// Takes one pack of x into m and s, and gives y = m + log s.
    static void advance(A const* x, A* m, A* s, A* y) noexcept {
        using P = typename L::pack;
        P const low = L::broadcast(lowest), high = L::broadcast(-lowest);
        P value = L::load(x), before = L::load(m), sum = L::load(s);
        value = L::where_less(value, low, low, value);
        value = L::where_less(high, value, high, value);
        P const part = L::exp(L::where_less(before, value, before - value, value - before));
        P const rescaled = L::fma(sum, part, L::broadcast(A(1)));
        sum = L::where_less(before, value, rescaled, sum + part);
        P const largest = L::where_less(before, value, value, before);
        P const finite = largest + log_pack<L>(sum);
        P const bounded = L::where_less(largest, high, finite, L::broadcast(infinity));
        L::store(y, L::where_less(low, largest, bounded, L::broadcast(-infinity)));
        L::store(m, largest);
        L::store(s, sum);
    }

    static A ratio(A part, A whole) noexcept {
        return part == -infinity ? A(0) : std::exp(part - whole);
    }
};

}  // namespace rondo::inline RONDO_ISA::detail
