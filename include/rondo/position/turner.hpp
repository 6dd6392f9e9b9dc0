/// @file
/// A call that turns the channels of tokens by their places, and what one thread needs for it.
#pragma once

#include <rondo/kernel/place_turns.hpp>
#include <rondo/kernel/turn.hpp>
#include <rondo/position/places.hpp>
#include <rondo/position/powers.hpp>

namespace rondo::inline RONDO_ISA::detail {

/// A checked call. Backward reads d_y, and x where a parameter's gradient is wanted.
template <class A>
struct turn_call {
    turn_kind kind = turn_kind::interleaved;
    token_places places;
    tensor x, y, d_y, d_x;
    index batch = 0, heads = 0, length = 0, channels = 0;
    operand<A, 2> theta{};  // absent: base^(-i / block)
    double base = 10000;
    order_view order{};  // of turn_kind::permuted
    operand<A, 2> d_theta{}, d_vector{};

    bool permuted() const noexcept { return kind == turn_kind::permuted; }
    index width() const noexcept { return kind == turn_kind::doubled ? 2 * channels : channels; }
    int axes() const noexcept { return places.shape.axes(); }
    index angles() const noexcept {
        return kind == turn_kind::doubled || permuted() ? channels : channels / 2;
    }
    angle_layout layout() const noexcept { return {permuted() ? 0 : angles(), axes()}; }
    index block() const noexcept { return (angles() + axes() - 1) / axes(); }

    /// Whether every head turns alike, so that one table serves a token of all of them.
    bool shared() const noexcept {
        if (heads == 1) return true;
        return permuted() ? order.stride(0) == 0 : !given(theta) || theta.strides[0] == 0;
    }

    double angle(index head, index i) const noexcept {
        if (!given(theta)) return std::pow(base, -double(i) / double(block()));
        index const at = head * theta.strides[0] + i * theta.strides[1];
        return double(load_element<A>(theta.data + at * element_size(theta.kind), theta.kind));
    }
};

/// Rows of turns that are known at a time: tokens, or heads of them that turn differently.
inline constexpr index turn_tile = 32;

/// Places that share a computed turn, as a power of two. F of them cost F turns at first and T / F
/// later, which is least for F^2 = T; at most 64, and fewer where the tables of all heads would
/// leave the second cache.
template <class A>
constexpr int fine_bits(turn_call<A> const& call, index heads) noexcept {
    index const row = 2 * index(sizeof(A)) * call.block();
    int bits = 0;
    while (bits < 6 && index(1) << 2 * bits < call.length && (heads * row << bits) < 512 * 1024) {
        ++bits;
    }
    return bits;
}

/// The scratch of one thread: the tables of the heads that it takes, and rows on their way.
template <class L>
class turner {
public:
    using A = typename L::value;

    turner(arena& memory, turn_call<A> const& call, basis<L> const& p, index tables)
        : call_(&call),
          basis_(&p),
          tables_(tables),
          tokens_(std::max<index>(turn_tile / tables, 1)),
          stride_(padded<L>(call.channels)),
          row_(call.permuted() ? 0 : padded<L>(std::max(call.channels, 2 * call.angles()))),
          plain_(p.trivial() && !call.permuted() && is_plain<A>(call.x.at(0, 0, 0)) &&
                 is_plain<A>(call.y.at(0, 0, 0))),
          places_(memory, call.layout(), tables, call.kind == turn_kind::interleaved,
                  fine_bits(call, tables)),
          powers_(memory, call.permuted() ? call.block() : 0, call.axes()) {
        turns_ = memory.take<A>(tables * tokens_ * row_ + L::width);
        from_ = memory.take<std::int32_t>(call.permuted() ? tokens_ * stride_ : 0);
        for (A** part : {&x_, &px_, &y_, &back_, &d_angle_}) *part = memory.take<A>(2 * stride_);
    }

    /// Takes the angles or the permutation of `head` as number `table`.
    void begin(index table, index head) noexcept {
        if (call_->permuted()) return powers_.begin(call_->order, head);
        places_.begin(table, [&](index i) { return call_->angle(head, i); });
        for (index t = 0; t < tokens_; ++t) places_.stand_still(turns(table, t), row_);
    }

    /// The tokens of a tile.
    index tokens() const noexcept { return tokens_; }

    /// Goes to the tokens [first, first + count).
    void tile(index first, index count) noexcept {
        first_ = first;
        if (!call_->permuted()) {
            for (index table = 0; table < tables_; ++table) {
                places_.leave(table, call_->places, first, count, {turns(table, 0), row_});
            }
            return;
        }
        for (index t = 0; t < count; ++t) {
            if (call_->places.alone(first + t)) continue;
            powers_.row(call_->places.at(first + t), from_ + t * stride_);
        }
    }

    /// y = Lambda^s P x of one token of the tile. `ahead` is how far on a row lies that will be
    /// read soon.
    template <bool Streamed>
    void forward(index table, index b, index h, index t, index ahead) noexcept {
        turn_call<A> const& call = *call_;
        row const from = call.x.at(b, h, first_ + t), to = call.y.at(b, h, first_ + t);
        if (call.places.alone(first_ + t)) return leave_alone(from, to);
        ask_for(from, ahead, call.channels);
        if (plain_) {
            return turn<false, Streamed>(turns(table, t), reinterpret_cast<A const*>(from.data),
                                         reinterpret_cast<A*>(to.data));
        }
        A const* x = x_;
        if (basis_->trivial()) {
            x = read_row<L>(from, x_, call.channels);
        } else {
            load_row<L>(x_, from, call.channels, stride_);
            basis_->apply(h, x_, px_);
            x = px_;
        }
        A* const y = open_row(to, y_);
        if (call.permuted()) {
            std::int32_t const* const source = from_ + t * stride_;
            for (index c = 0; c < call.channels; ++c) y[c] = x[source[c]];
        } else {
            turn<false, false>(turns(table, t), x, y);
        }
        close_row<L>(to, y, call.width());
    }

    /// d_x of one token, and what it adds to the sums of theta [block] and of the vector
    /// [channels]; sums not wanted are null.
    void backward(index b, index h, index t, double* d_theta, double* d_vector) noexcept {
        turn_call<A> const& call = *call_;
        row const d_y = call.d_y.at(b, h, first_ + t), d_x = call.d_x.at(b, h, first_ + t);
        if (call.places.alone(first_ + t)) {
            load_row<L>(y_, d_y, call.channels, call.channels);
            if (!call.d_x.empty()) store_row<L>(d_x, y_, call.channels);
            return;
        }
        load_row<L>(y_, d_y, call.width(), 2 * stride_);
        fill<L>(back_, A(0), stride_);
        turn_back(t);
        if (d_theta != nullptr || d_vector != nullptr) {
            load_row<L>(x_, call.x.at(b, h, first_ + t), call.channels, stride_);
        }
        if (d_theta != nullptr) add_angles(h, t, d_theta);
        if (d_vector != nullptr) basis_->vector_gradient(h, x_, back_, d_vector);
        if (call.d_x.empty()) return;
        basis_->apply_back(h, back_, px_);
        store_row<L>(d_x, px_, call.channels);
    }

private:
    A* turns(index table, index t) const noexcept { return turns_ + (table * tokens_ + t) * row_; }

    template <bool Back, bool Streamed>
    void turn(A const* turns, A const* x, A* y) const noexcept {
        with_turn_kind(call_->kind, [&](auto kind) {
            turn_row<L, decltype(kind)::value, Back, Streamed>(turns, call_->angles(), x, y,
                                                               call_->channels);
        });
    }

    void leave_alone(row const& from, row const& to) noexcept {
        load_row<L>(y_, from, call_->channels, call_->channels);
        fill<L>(y_ + call_->channels, A(0), call_->width() - call_->channels);
        store_row<L>(to, y_, call_->width());
    }

    void turn_back(index t) noexcept {
        turn_call<A> const& call = *call_;
        if (call.permuted()) {
            std::int32_t const* const source = from_ + t * stride_;
            for (index c = 0; c < call.channels; ++c) back_[source[c]] = y_[c];
            return;
        }
        turn<true, false>(turns(0, t), y_, back_);
    }

    /// theta_i turns angle i of every axis, by that axis' coordinate.
    void add_angles(index h, index t, double* d_theta) noexcept {
        turn_call<A> const& call = *call_;
        basis_->apply(h, x_, px_);
        angle_gradients<L>(call.kind, turns(0, t), call.angles(), px_, back_, y_, d_angle_);
        angle_layout const layout = call.layout();
        auto const at = call.places.at(first_ + t);
        for (int k = 0; k < layout.axes; ++k) {
            A const* const from = d_angle_ + layout.begin(k);
            for (index i = 0; i < layout.width(k); ++i) {
                d_theta[i] += double(at[std::size_t(k)]) * double(from[i]);
            }
        }
    }

    turn_call<A> const* call_;
    basis<L> const* basis_;
    index tables_, tokens_, stride_, row_, first_ = 0;
    bool plain_;  // rows are turned from the user's memory to the user's memory
    place_turns<L> places_;
    power_rows powers_;
    A* turns_;  // [tables, tokens, row]
    A *x_, *px_, *y_, *back_, *d_angle_;
    std::int32_t* from_;
};

}  // namespace rondo::inline RONDO_ISA::detail
