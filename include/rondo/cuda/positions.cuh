/// @file
/// Positions on the device: what their kernels need beside the tensors, and where the operators
/// find them.
#pragma once

#include <rondo/cuda/place.cuh>
#include <rondo/cuda/toeplitz_back.cuh>
#include <rondo/cuda/turn_back.cuh>

#include <vector>

namespace rondo::inline RONDO_ISA {
namespace cuda {

/// detail::transform_matrix transposed, entry (d, e), and behind it as it is.
template <class A>
__global__ void fill_transform(basis_kind kind, index D, A* matrix, index size) {
    index const number = index(blockIdx.x) * blockDim.x + threadIdx.x;
    if (number >= size) return;
    bool const transposed = number < D * D;
    index const row = number / D % D, column = number % D;
    index const d = transposed ? row : column, e = transposed ? column : row;
    bool const fourier = kind == basis_kind::fourier;
    bool const sine = fourier && e > 0 && e % 2 == 0;
    bool const single = e == 0 || (fourier && D % 2 == 0 && e == D - 1);
    index const turns = fourier ? 4 * ((e + 1) / 2) * d : (2 * d + 1) * e;
    double const angle = double((turns + (sine ? 3 * D : 0)) % (4 * D)) / double(2 * D);
    matrix[number] = A(sqrt((single ? 1 : 2) / double(D)) * cospi(angle));
}

/// Rows of a Householder vector in A, side by side.
template <class A>
__global__ void gather_rows(std::byte const* from, element kind, index row, index step, index width,
                            index size, A* to) {
    index const number = index(blockIdx.x) * blockDim.x + threadIdx.x;
    if (number < size)
        to[number] = load<A>(from + number / width * row + number % width * step, kind);
}

/// The cycles of one permutation, one after the other, and of each channel: where its cycle begins,
/// how long it is, and where in it the channel stands.
inline void append_cycles(std::vector<int>& to, detail::order_view const& order, index head,
                          index block) {
    auto const at = to.size();
    to.resize(at + std::size_t(4 * block));
    int *const cycle = to.data() + at, *const start = cycle + block;
    int *const length = start + block, *const within = length + block;
    int used = 0;
    for (index c = 0; c < block; ++c) {
        if (length[c] != 0) continue;
        int const first = used;
        index channel = c;
        do {
            within[channel] = used - first;
            start[channel] = first;
            length[channel] = 1;  // met
            cycle[used++] = int(channel);
            channel = order(head, channel);
        } while (channel != c);
        for (int i = first; i < used; ++i) length[cycle[i]] = used - first;
    }
}

/// The angles base^(-i / block) as the processor rounds them: at a place of a million the last bit
/// of an angle counts.
inline std::vector<double> fixed_angles(double base, index block) {
    std::vector<double> result;
    for (index i = 0; i < block; ++i) {
        result.push_back(std::pow(base, -double(i) / double(block)));
    }
    return result;
}

/// What a call needs in device memory.
template <class A>
class turn_tables {
public:
    turn_tables(cudaStream_t stream, turn_plan<A>& plan, detail::turn_call<A> const& call,
                detail::turn_request<A> const& request)
        : stream_(stream) {
        layout bytes;
        if (!given(call.theta)) theta_ = fixed_angles(call.base, call.block());
        index const tables = call.shared() ? std::min<index>(call.heads, 1) : call.heads;
        for (index h = 0; call.permuted() && h < tables; ++h) {
            append_cycles(cycles_, call.order, h, call.block());
        }
        for (index h = 0; plan.basis == basis_kind::permutation && h < call.heads; ++h) {
            for (index c = 0; c < call.channels; ++c) {
                order_.push_back(int(request.basis_order(h, c)));
            }
        }
        bool const reflects = plan.basis == basis_kind::householder;
        bool const transforms =
            plan.basis == basis_kind::cosine_transform || plan.basis == basis_kind::fourier;
        index const vector = reflects ? call.heads * call.channels : 0;
        index const matrix = transforms ? (plan.back ? 2 : 1) * call.channels * call.channels : 0;
        std::size_t const theta_at = bytes.take(theta_.size() * sizeof(double));
        std::size_t const cycles_at = bytes.take(cycles_.size() * sizeof(int));
        std::size_t const order_at = bytes.take(order_.size() * sizeof(int));
        std::size_t const vector_at = bytes.take(std::size_t(vector) * sizeof(A));
        std::size_t const matrix_at = bytes.take(std::size_t(matrix) * sizeof(A));
        memory_.emplace(stream, bytes.bytes);
        if (!theta_.empty()) plan.angles.fixed = uploaded<double>(theta_, theta_at);
        if (!cycles_.empty()) plan.cycles = uploaded<int>(cycles_, cycles_at);
        if (!order_.empty()) plan.basis_order = uploaded<int>(order_, order_at);
        constexpr unsigned threads = 256;
        auto const blocks = [](index size) { return unsigned((size + threads - 1) / threads); };
        if (vector > 0) {
            auto const& v = request.vector;
            index const size = detail::element_size(v.kind);
            A* const to = memory_->template at<A>(vector_at);
            gather_rows<A><<<blocks(vector), threads, 0, stream>>>(
                v.data, v.kind, v.strides[0] * size, v.strides[1] * size, call.channels, vector,
                to);
            expect("launch of gather_rows", cudaGetLastError());
            plan.vector = to;
        }
        if (matrix > 0) {
            A* const to = memory_->template at<A>(matrix_at);
            fill_transform<A>
                <<<blocks(matrix), threads, 0, stream>>>(plan.basis, call.channels, to, matrix);
            expect("launch of fill_transform", cudaGetLastError());
            plan.matrix = to;
        }
    }

private:
    template <class T>
    T const* uploaded(std::vector<T> const& from, std::size_t at) const {
        T* const to = memory_->template at<T>(at);
        upload(stream_, from.data(), from.size() * sizeof(T), to);
        return to;
    }

    cudaStream_t stream_;
    std::vector<double> theta_;
    std::vector<int> cycles_, order_;
    std::optional<scratch> memory_;
};

/// The angles of a call.
template <class A>
inline angle_source<A> angles_of(detail::turn_call<A> const& call) {
    angle_source<A> result{};
    if (call.permuted()) return result;
    index const size = detail::element_size(call.theta.kind);
    result.count = call.angles();
    result.block = call.block();
    result.theta = call.theta.data;
    result.kind = call.theta.kind;
    result.head = call.theta.strides[0] * size;
    result.angle = call.theta.strides[1] * size;
    return result;
}

/// The call as kernels take it, without what only some calls need.
template <class A>
inline turn_plan<A> plan_of(detail::turn_call<A> const& call) {
    return {call.kind,
            call.x,
            call.y,
            call.batch,
            call.heads,
            call.length,
            call.channels,
            standing(call.places),
            angles_of(call),
            call.shared(),
            call.shared() && call.x.head < call.x.batch};
}

/// Computes a checked call; `finish(plan)` adds what only some callers know.
template <class A, class Finish>
inline void turn_forward(cudaStream_t stream, detail::turn_call<A> const& call,
                         detail::turn_request<A> const& request, Finish const& finish) {
    if (call.batch * call.heads * call.length * call.channels == 0) return;
    turn_plan<A> plan = plan_of(call);
    plan.basis = request.basis_of;
    finish(plan);
    turn_tables<A> const tables(stream, plan, call, request);
    turn_launch<A> const launch(plan);
    scratch const wide(stream, launch.scratch_bytes());
    launch(stream, wide.template at<A>(0));
}

/// Computes the gradients of a checked call.
template <class A, class Finish>
inline void turn_backward(cudaStream_t stream, detail::turn_call<A> const& call,
                          detail::turn_request<A> const& request, Finish const& finish) {
    turn_plan<A> plan = plan_of(call);
    plan.x = call.d_y, plan.y = call.d_x;
    plan.back = plan.angles.inverse = true;
    plan.basis = request.basis_of;
    finish(plan);
    turn_tables<A> const tables(stream, plan, call, request);
    turn_back_launch<A> const rows(plan, call);
    if (rows.needed()) return rows(stream);
    if (!call.d_x.empty()) turn_launch<A>{plan}(stream, nullptr);
}

}  // namespace cuda

namespace exec {

template <class A>
inline void turn_on(cuda const& place, detail::turn_call<A> const& call,
                    detail::turn_request<A> const& request) {
    rondo::cuda::turn_forward(place.stream, call, request, [](auto&) {});
}
template <class A>
inline void turn_back_on(cuda const& place, detail::turn_call<A> const& call,
                         detail::turn_request<A> const& request) {
    rondo::cuda::turn_backward(place.stream, call, request, [](auto&) {});
}

template <class A, int Rank, int CoefficientRank>
inline void encode_on(cuda const& place, detail::operand<A, Rank> const& x,
                      detail::operand<A, Rank> const& y, index alone,
                      detail::encoding<A, Rank, CoefficientRank> const& e,
                      detail::operand<A, Rank> const& others) {
    if (alone > 0) rondo::cuda::copy_on(place.stream, x, y, alone);
    rondo::cuda::encode_on(place.stream, e, others, false, false, [](auto const&) {});
}
template <class A, int Rank, int CoefficientRank>
inline void encode_back_on(cuda const& place, detail::operand<A, Rank> const& d_y,
                           detail::operand<A, Rank> const& d_x, index alone,
                           detail::encoding<A, Rank, CoefficientRank> const& e,
                           detail::operand<A, Rank> const& others,
                           detail::operand<A, Rank> const& d_out,
                           detail::operand<A, Rank> const& d_in) {
    if (alone > 0 && given(d_x)) rondo::cuda::copy_on(place.stream, d_y, d_x, alone);
    rondo::cuda::encode_back(place.stream, e, others, d_out, d_in);
}
template <class A, int Rank, int CoefficientRank>
inline void differentiate_on(cuda const& place, detail::encoding<A, Rank, CoefficientRank> const& e,
                             detail::operand<A, Rank> const& d_y,
                             detail::operand<A, Rank> const& d_out,
                             detail::operand<A, CoefficientRank> const& d_b,
                             detail::operand<A, CoefficientRank> const& d_log_lambda) {
    rondo::cuda::differentiate(place.stream, e, d_y, d_out, d_b, d_log_lambda);
}

}  // namespace exec
}  // namespace rondo::inline RONDO_ISA
