/// @file
/// How a Toeplitz encoding is computed: sweeps of exponentials along the axes of a grid.
#pragma once

#include <rondo/exec/host.hpp>
#include <rondo/kernel/exponentials.hpp>
#include <rondo/position/places.hpp>

#include <vector>

namespace rondo::inline RONDO_ISA::detail {

/// lambda, b and b lambda of every channel along one axis, [block, exponentials,
/// exponential_block].
template <class L>
struct exponential_table {
    using A = typename L::value;
    index exponentials = 0, blocks = 0;
    std::vector<A> lambda, b, strict_b, ones;

    /// `from_b` and `from_lambda` are lines whose neighbours are channels, walked over m.
    exponential_table(lines const& from_b, lines const& from_lambda, index channels, index count)
        : exponentials(count), blocks((channels + exponential_block - 1) / exponential_block) {
        auto const size = std::size_t(blocks * count * exponential_block);
        for (auto* part : {&lambda, &b, &strict_b}) part->assign(size, A(0));
        ones.assign(size, A(1));
        for (index row = 0; row < blocks * count; ++row) {
            index const first = row / count * exponential_block, m = row % count;
            index const width = std::min(exponential_block, channels - first);
            A* const to = lambda.data() + row * exponential_block;
            A* const to_b = b.data() + row * exponential_block;
            A* const to_strict = strict_b.data() + row * exponential_block;
            load_row<L>(to, from_lambda.at(m, first), width, exponential_block);
            load_row<L>(to_b, from_b.at(m, first), width, exponential_block);
            for (index c = 0; c < exponential_block; c += L::width) {
                auto const decay = L::exp(L::load(to + c));
                L::store(to + c, decay);
                L::store(to_strict + c, decay * L::load(to_b + c));
            }
        }
    }
};

/// One walk over all lines of one axis. `in` and `out` are the states, walked over m; an absent x
/// is zero.
template <class A>
struct sweep {
    line_space space;
    lines x, y, in, out;
    bool reversed = false, strict = false, accumulate = false;

    index blocks() const noexcept {
        return (space.width + exponential_block - 1) / exponential_block;
    }
};

/// Blocks of neighbours that one unit takes: what lies side by side in memory is walked together,
/// as far as states and coefficients stay in the second cache; fewer where threads would be idle.
template <class A>
inline index blocks_of_unit(sweep<A> const& s, index exponentials, int threads) noexcept {
    index const bytes = 3 * exponentials * exponential_block * index(sizeof(A));
    index const held = std::max<index>(512 * 1024 / std::max<index>(bytes, 1), 1);
    index const fair = threads > 1 ? s.space.count() * s.blocks() / (2 * threads) : held;
    return std::clamp<index>(std::min(held, fair), 1, std::max<index>(s.blocks(), 1));
}

/// The scratch of one thread and the line that it walks.
template <class L>
class sweeper {
public:
    using A = typename L::value;

    sweeper(arena& memory, index exponentials, index blocks) : count_(exponentials) {
        h_ = memory.template take<A>(blocks * exponentials * exponential_block);
        x_ = memory.template take<A>(exponential_tokens * exponential_block);
        y_ = memory.template take<A>(exponential_tokens * exponential_block);
        for (A** part : {&p_, &d_b_, &d_lambda_}) {
            *part = memory.template take<A>(exponentials * exponential_block);
        }
    }

    /// y (+)= the sum of exponentials of x, for the blocks [first, last) of one line.
    void run(sweep<A> const& s, exponential_table<L> const& table, A const* b, index line,
             index first, index last) noexcept {
        lines const x = s.x.line(s.space, line), y = s.y.line(s.space, line);
        for (index block = first; block < last; ++block) {
            choose(s, table, b, block, first);
            start(s, line);
        }
        for (index begin = 0; begin < s.space.length; begin += exponential_tokens) {
            index const count = std::min(exponential_tokens, s.space.length - begin);
            for (index block = first; block < last; ++block) {
                choose(s, table, b, block, first);
                run_tile(s, x, y, begin, count);
            }
        }
        if (s.out.empty()) return;
        lines const out = s.out.line(s.space, line);
        for (index block = first; block < last; ++block) {
            choose(s, table, b, block, first);
            for (index m = 0; m < count_; ++m) {
                store_row<L>(out.at(m, first_), rows_.h + m * exponential_block, width_);
            }
        }
    }

    /// Adds the gradients of b and of log_lambda / b that one line gives to double sums
    /// [exponentials, exponential_block]. s.y holds the gradient of y, d_out that of s.out; the
    /// latter meets dh/dlog_lambda of the last token, which is without the factor b.
    void differentiate(sweep<A> const& s, exponential_table<L> const& table, index line,
                       index block, lines const& d_out, double* d_b, double* d_lambda,
                       double* d_state) noexcept {
        choose(s, table, table.b.data(), block, block);
        start(s, line);
        lines const x = s.x.line(s.space, line), d_y = s.y.line(s.space, line);
        index const size = count_ * exponential_block;
        std::fill_n(p_, size, A(0));
        for (index begin = 0; begin < s.space.length; begin += exponential_tokens) {
            index const count = std::min(exponential_tokens, s.space.length - begin);
            load(s, x, begin, count, x_);
            load(s, d_y, begin, count, y_);
            std::fill_n(d_b_, size, A(0));
            std::fill_n(d_lambda_, size, A(0));
            exponential_kernel<L>::sensitivities(rows_, p_, d_b_, d_lambda_, count_, s.strict, x_,
                                                 y_, count, width_);
            // Sums over many tokens are kept in double, those over a tile need not be.
            for (index i = 0; i < size; ++i) d_b[i] += double(d_b_[i]);
            for (index i = 0; i < size; ++i) d_lambda[i] += double(d_lambda_[i]);
        }
        if (d_out.empty()) return;
        lines const last = d_out.line(s.space, line);
        for (index m = 0; m < count_; ++m) {
            load_row<L>(y_, last.at(m, first_), width_, exponential_block);
            for (index c = 0; c < width_; ++c) {
                index const at = m * exponential_block + c;
                d_state[at] += double(y_[c]) * double(p_[at]);
            }
        }
    }

private:
    static index place(sweep<A> const& s, index step) noexcept {
        return s.reversed ? s.space.length - 1 - step : step;
    }

    /// Goes to one block; `first` is the one whose states lie first.
    void choose(sweep<A> const& s, exponential_table<L> const& table, A const* b, index block,
                index first) noexcept {
        first_ = block * exponential_block;
        width_ = std::min(exponential_block, s.space.width - first_);
        index const size = count_ * exponential_block;
        rows_ = {table.lambda.data() + block * size, b + block * size, h_ + (block - first) * size};
    }

    void start(sweep<A> const& s, index line) noexcept {
        std::fill_n(rows_.h, count_ * exponential_block, A(0));
        if (s.in.empty()) return;
        lines const in = s.in.line(s.space, line);
        for (index m = 0; m < count_; ++m) {
            load_row<L>(rows_.h + m * exponential_block, in.at(m, first_), width_,
                        exponential_block);
        }
    }

    void run_tile(sweep<A> const& s, lines const& x, lines const& y, index begin,
                  index count) noexcept {
        token_rows_of<A> const from = tokens(s, x, begin, x_), to = tokens(s, y, begin, y_);
        if (from.data == x_) load(s, x, begin, count, x_);
        if (to.data == y_ && s.accumulate) load(s, y, begin, count, y_);
        index const packs = (width_ + L::width - 1) / L::width;
        exponential_kernel<L>::tile(rows_, count_, s.strict, !s.accumulate, {from.data, from.step},
                                    to, count, packs * L::width);
        for (index t = 0; to.data == y_ && t < count; ++t) {
            store_row<L>(y.at(place(s, begin + t), first_), y_ + t * exponential_block, width_);
        }
    }

    /// Where the tokens of a tile are: in place when their values are whole packs of A, else in
    /// `buffer`.
    token_rows_of<A> tokens(sweep<A> const& s, lines const& of, index begin,
                            A* buffer) const noexcept {
        row const first = of.at(place(s, begin), first_);
        bool const plain = !of.empty() && is_plain<A>(first) && width_ % L::width == 0 &&
                           of.along % index(sizeof(A)) == 0;
        if (!plain) return {buffer, exponential_block};
        index const step = of.along / index(sizeof(A));
        return {reinterpret_cast<A*>(first.data), s.reversed ? -step : step};
    }

    void load(sweep<A> const& s, lines const& from, index begin, index count, A* to) noexcept {
        if (from.empty()) return fill<L>(to, A(0), count * exponential_block);
        index const wide = padded<L>(width_);
        for (index t = 0; t < count; ++t) {
            load_row<L>(to + t * exponential_block, from.at(place(s, begin + t), first_), width_,
                        wide);
        }
    }

    index count_, first_ = 0, width_ = 0;
    exponential_rows<A> rows_{};
    A *h_, *x_, *y_, *p_, *d_b_, *d_lambda_;
};

/// body(sweeper, unit) for `units` units, each by one thread that keeps the states of `blocks`.
template <class L, class Body>
inline void share_sweeps(int threads, index units, index exponentials, index blocks,
                         Body const& body) {
    threads = int(std::clamp<index>(units, 1, threads));
    arena measure;
    sweeper<L>(measure, exponentials, blocks);
    scratch_block const block(measure.used() * std::size_t(threads));
    share(threads, units, [&](index unit, int thread) {
        flush_subnormals const guard;
        arena memory(block.get() + measure.used() * std::size_t(thread));
        sweeper<L> walk(memory, exponentials, blocks);
        body(walk, unit);
    });
}

/// Computes one sweep with the given b.
template <class L>
inline void run_sweep(sweep<typename L::value> const& s, exponential_table<L> const& table,
                      typename L::value const* b, int threads) {
    index const wide = blocks_of_unit(s, table.exponentials, threads);
    index const groups = (s.blocks() + wide - 1) / wide;
    share_sweeps<L>(threads, s.space.count() * groups, table.exponentials, wide,
                    [&](sweeper<L>& walk, index unit) {
                        index const first = unit % groups * wide;
                        walk.run(s, table, b, unit / groups, first,
                                 std::min(first + wide, s.blocks()));
                    });
}

}  // namespace rondo::inline RONDO_ISA::detail
