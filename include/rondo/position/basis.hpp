/// @file
/// The fixed unitary matrix P that the linearised family applies before its turn.
#pragma once

#include <rondo/detail/operands.hpp>

#include <numbers>
#include <vector>

namespace rondo::inline RONDO_ISA::detail {

enum class basis_kind : unsigned char {
    identity,
    householder,
    permutation,
    cosine_transform,
    fourier
};

/// Rows of a permutation of each head, [head, n].
using order_view = view<index const, 2>;

/// Refuses rows that are not permutations.
inline void check_order(checker const& check, char const* name, order_view const& order,
                        index heads, index width, char const* because) {
    std::vector<bool> seen(std::size_t(std::max<index>(width, 0)));
    check.extent(name, "head", order.extent(0), heads, "x's heads");
    check.extent(name, "channel", order.extent(1), width, because);
    if (order.data() == nullptr && order.size() != 0) {
        refuse(check.name, {name, " is a null view, expected ", order.size(), " elements"});
    }
    for (index h = 0; h < (order.stride(0) == 0 ? std::min<index>(heads, 1) : heads); ++h) {
        seen.assign(seen.size(), false);
        for (index c = 0; c < width; ++c) {
            index const to = order(h, c);
            bool const inside = to >= 0 && to < width;
            if (inside && !seen[std::size_t(to)]) {
                seen[std::size_t(to)] = true;
                continue;
            }
            refuse(check.name, {name, inside ? " names channel " : " holds ", to,
                                inside ? " twice in the row of head " : " in the row of head ", h,
                                ", expected a permutation of 0 to ", width - 1});
        }
    }
}

/// Entry (e, d) of the orthonormal DCT-II: sqrt((e == 0 ? 1 : 2) / D) cos(pi (d + 1/2) e / D).
/// Or of the discrete Fourier transform of a real row, as its D independent real numbers: the mean,
/// then cosine and sine of each frequency, then for even D the alternating sum.
inline std::vector<double> transform_matrix(basis_kind kind, index D) {
    // Every argument is a multiple of pi / 2 D: a table of one turn, and integers modulo 4 D.
    std::vector<double> table(std::size_t(4 * D));
    for (index i = 0; i < 4 * D; ++i) {
        table[std::size_t(i)] = std::cos(std::numbers::pi * double(i) / double(2 * D));
    }
    std::vector<double> matrix(std::size_t(D * D));
    double const one = std::sqrt(1 / double(D)), two = std::sqrt(2 / double(D));
    for (index e = 0; e < D; ++e) {
        bool const fourier = kind == basis_kind::fourier;
        bool const sine = fourier && e > 0 && e % 2 == 0;
        bool const single = e == 0 || (fourier && D % 2 == 0 && e == D - 1);
        for (index d = 0; d < D; ++d) {
            index const turns = fourier ? 4 * ((e + 1) / 2) * d : (2 * d + 1) * e;
            auto const at = std::size_t((turns + (sine ? 3 * D : 0)) % (4 * D));
            matrix[std::size_t(e * D + d)] = (single ? one : two) * table[at];
        }
    }
    return matrix;
}

/// P of a call, ready to be applied to rows of any head.
template <class L>
class basis {
public:
    using A = typename L::value;

    basis(basis_kind kind, index heads, index channels, operand<A, 2> const& vector,
          order_view const& order)
        : kind_(kind), order_(order), channels_(channels), stride_(padded<L>(channels)) {
        if (kind == basis_kind::householder) reflect(heads, vector);
        bool const matrix = kind == basis_kind::cosine_transform || kind == basis_kind::fourier;
        if (!matrix) return;
        std::vector<double> const entries = transform_matrix(kind, channels);
        values_.resize(std::size_t(channels * stride_));
        transposed_.resize(values_.size());
        for (index e = 0; e < channels; ++e) {
            for (index d = 0; d < channels; ++d) {
                A const entry = A(entries[std::size_t(e * channels + d)]);
                values_[std::size_t(d * stride_ + e)] = entry;
                transposed_[std::size_t(e * stride_ + d)] = entry;
            }
        }
    }

    bool trivial() const noexcept { return kind_ == basis_kind::identity; }

    /// y = P x, rows of padded<L>(channels) with zeros behind.
    void apply(index head, A const* x, A* y) const noexcept {
        if (kind_ == basis_kind::permutation) {
            for (index c = 0; c < channels_; ++c) y[c] = x[order_(head, c)];
        } else {
            multiply(head, values_.data(), x, y);
        }
    }

    /// y = P^T x.
    void apply_back(index head, A const* x, A* y) const noexcept {
        if (kind_ == basis_kind::permutation) {
            for (index c = 0; c < channels_; ++c) y[order_(head, c)] = x[c];
        } else {
            multiply(head, transposed_.data(), x, y);
        }
    }

    /// Adds the gradient of the Householder vector, from x and the gradient g of P x: with
    /// f = 2 / v.v, d_v = -f ((v.x) g + (v.g) x) + f^2 (v.x) (v.g) v.
    void vector_gradient(index head, A const* x, A const* g, double* d_v) const noexcept {
        A const* const v = values_.data() + head * stride_;
        double const f = double(factors_[std::size_t(head)]);
        double along_x = 0, along_g = 0;
        for (index c = 0; c < channels_; ++c) {
            along_x += double(v[c]) * double(x[c]);
            along_g += double(v[c]) * double(g[c]);
        }
        for (index c = 0; c < channels_; ++c) {
            d_v[c] += f * (f * along_x * along_g * double(v[c]) - along_x * double(g[c]) -
                           along_g * double(x[c]));
        }
    }

private:
    /// P = 1 - 2 v v^T / v.v; a vector of zeros reflects nothing.
    void reflect(index heads, operand<A, 2> const& vector) {
        values_.resize(std::size_t(heads * stride_));
        factors_.resize(std::size_t(heads));
        index const size = element_size(vector.kind);
        for (index h = 0; h < heads; ++h) {
            A* const v = values_.data() + h * stride_;
            row const from{const_cast<std::byte*>(vector.data) + h * vector.strides[0] * size,
                           vector.strides[1] * size, vector.kind};
            load_row<L>(v, from, channels_, stride_);
            double square = 0;
            for (index c = 0; c < channels_; ++c) square += double(v[c]) * double(v[c]);
            factors_[std::size_t(h)] = square > 0 ? A(2 / square) : A(0);
        }
    }

    void multiply(index head, A const* matrix, A const* x, A* y) const noexcept {
        if (kind_ == basis_kind::identity) {
            std::copy_n(x, stride_, y);
        } else if (kind_ == basis_kind::householder) {
            A const* const v = values_.data() + head * stride_;
            auto sum = L::broadcast(A(0));
            for (index c = 0; c < stride_; c += L::width) {
                sum = L::fma(L::load(v + c), L::load(x + c), sum);
            }
            auto const along = L::broadcast(-factors_[std::size_t(head)] * L::sum(sum));
            for (index c = 0; c < stride_; c += L::width) {
                L::store(y + c, L::fma(along, L::load(v + c), L::load(x + c)));
            }
        } else {
            for (index c = 0; c < stride_; c += L::width) {
                auto sum = L::broadcast(A(0));
                for (index d = 0; d < channels_; ++d) {
                    sum = L::fma(L::broadcast(x[d]), L::load(matrix + d * stride_ + c), sum);
                }
                L::store(y + c, sum);
            }
        }
    }

    basis_kind kind_;
    order_view order_;
    index channels_, stride_;
    std::vector<A> values_, transposed_, factors_;
};

}  // namespace rondo::inline RONDO_ISA::detail
