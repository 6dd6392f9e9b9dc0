/// @file
/// A call that turns the channels of tokens by their places, and what one thread needs for it.
#pragma once

#include <rondo/kernel/angles.hpp>
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
    bool inverse = false;

    bool permuted() const noexcept { return kind == turn_kind::permuted; }
    index width() const noexcept { return kind == turn_kind::doubled ? 2 * channels : channels; }
    int axes() const noexcept { return places.shape.axes(); }
    index angles() const noexcept {
        return kind == turn_kind::doubled || permuted() ? channels : channels / 2;
    }
    angle_layout layout() const noexcept {
        return {permuted() ? 0 : angles(), axes(), kind == turn_kind::interleaved ? 2 : 1};
    }
    /// A last channel without a partner.
    bool leftover() const noexcept {
        return kind != turn_kind::doubled && !permuted() && channels % 2 == 1;
    }
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

/// Tokens whose coordinates are known at a time.
inline constexpr index turn_tile = 16;

/// Places that share a computed turn, as a power of two. F of them cost F turns at first and T / F
/// later, which is least for F^2 = T; at most 64, and fewer where the tables of all heads would
/// leave the second cache.
template <class A>
constexpr int fine_bits(turn_call<A> const& call, index heads) noexcept {
    index const row = 2 * index(sizeof(A)) * call.block() * call.layout().stretch;
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
          stride_(padded<L>(call.channels)),
          angles_(memory, call.layout(), tables, fine_bits(call, tables)),
          powers_(memory, call.permuted() ? call.block() : 0, call.axes()) {
        from_ = memory.take<std::int32_t>(call.permuted() ? turn_tile * stride_ : 0);
        for (A** part : {&x_, &px_, &y_, &back_, &d_angle_}) *part = memory.take<A>(2 * stride_);
    }

    /// Takes the angles or the permutation of `head` as number `table`.
    void begin(index table, index head) noexcept {
        if (call_->permuted()) return powers_.begin(call_->order, head);
        auto const theta = [&](index i) { return call_->angle(head, i); };
        angles_.begin(table, theta, call_->inverse);
    }

    /// Goes to the tokens [first, first + count).
    void tile(index first, index count) noexcept {
        first_ = first;
        bool known = false;
        std::array<index, max_axes> at{};
        for (index t = 0; t < count; ++t) {
            if (call_->places.alone(first + t)) continue;
            known ? call_->places.advance(at) : void(at = call_->places.at(first + t));
            known = true;
            for (std::size_t k = 0; k < std::size_t(call_->axes()); ++k) {
                places_[k][std::size_t(t)] = at[k];
            }
            if (call_->permuted()) powers_.row(at, from_ + t * stride_);
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
            each_axis(table, t, [&](angle_sum<L> const& angles, index) {
                turn_kernel<L, Streamed>::turn(call.kind, x, angles, y, call.channels);
            });
            if (call.leftover()) y[call.channels - 1] = x[call.channels - 1];
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
    /// body(angles, coordinate) for every axis of a token.
    template <class Body>
    void each_axis(index table, index t, Body const& body) noexcept {
        for (int k = 0; k < call_->axes(); ++k) {
            index const s = places_[std::size_t(k)][std::size_t(t)];
            body(angles_.at(table, k, s), s);
        }
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
        each_axis(0, t, [&](angle_sum<L> const& angles, index) {
            turn_kernel<L, false>::turn_back(call.kind, y_, angles, back_, call.channels);
        });
        if (call.leftover()) back_[call.channels - 1] = y_[call.channels - 1];
    }

    /// theta_i turns angle i of every axis, by that axis' coordinate.
    void add_angles(index h, index t, double* d_theta) noexcept {
        turn_call<A> const& call = *call_;
        basis_->apply(h, x_, px_);
        index const stretch = call.layout().stretch;
        each_axis(0, t, [&](angle_sum<L> const& angles, index s) {
            turn_kernel<L, false>::angle_gradients(call.kind, px_, back_, y_, angles, d_angle_,
                                                   call.channels);
            A const* const from = d_angle_ + angles.first / stretch;
            for (index i = 0; i < angles.count / stretch; ++i) {
                d_theta[i] += double(s) * double(from[i]);
            }
        });
    }

    turn_call<A> const* call_;
    basis<L> const* basis_;
    index stride_, first_ = 0;
    angle_tables<L> angles_;
    power_rows powers_;
    A *x_, *px_, *y_, *back_, *d_angle_;
    std::int32_t* from_;
    std::array<std::array<index, std::size_t(turn_tile)>, max_axes> places_{};
};

}  // namespace rondo::inline RONDO_ISA::detail
