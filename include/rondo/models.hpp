/// @file
/// Operators by the name of the model that brought them: values of `attention(...)`, nothing more.
/// What a model does to q, k, v and the gate before (projections, sigmoids, rotations, norms) and
/// to the output after stays with the caller; `.scale` is an option of every call.
#pragma once

#include <rondo/attention.hpp>

#include <iterator>

namespace rondo::inline RONDO_ISA::models {

/// o_i = sum_(j <= i) phi(q_i).phi(k_j) v_j / sum_(j <= i) phi(q_i).phi(k_j), phi = elu + 1.
/// Inputs {q, k, v}. Source: Katharopoulos et al. 2020.
inline constexpr auto linear_attention = attention(normalize::sum, feature::elu_plus_one);

/// S_t = gamma_h S_(t-1) + k_t v_t^T, o_t = S_t^T q_t, gamma_h = 1 - 2^(-5-h): RetNet.
/// Inputs {q, k, v, gate}, the gate as `retention_slopes` fills it; q and k come rotated
/// (position::rope). Source: Sun et al. 2023, sections 2.1 and 2.2.
inline constexpr auto retention = attention(decay::constant);

/// S_t = lambda_h S_(t-1) + k_t v_t^T, o_t = S_t^T q_t: Lightning Attention of TransNormerLLM.
/// Inputs {q, k, v, gate}, the gate as `lightning_slopes` fills it; q and k come after silu and
/// position::lrpe. Source: Qin et al. 2024 (Lightning Attention-2); Qin et al. 2023
/// (TransNormerLLM).
inline constexpr auto lightning = attention(decay::constant);

/// h_t = a_t h_(t-1) + B_t x_t^T, y_t = h_t^T C_t, one a_t = exp(dt_t A) a head: Mamba-2's SSD.
/// Inputs {q = C, k = B, v = dt x, gate = dt A}. Source: Dao & Gu 2024.
inline constexpr auto mamba2 = attention(decay::scalar);

/// S_t = diag(alpha_t) S_(t-1) + k_t v_t^T, o_t = S_t^T q_t.
/// Inputs {q, k, v, gate = log alpha}. Source: Yang et al. 2023 (GLA).
inline constexpr auto gla = attention(decay::vector);

/// S_t = diag(f_t) S_(t-1) + (1 - f_t) v_t^T, o_t = S_t^T q_t: the key is what the gate forgets.
/// Inputs {q, k = 1 - f, v, gate = log f}. Source: Qin et al. 2024 (HGRN2).
inline constexpr auto hgrn2 = attention(decay::vector);

/// o_i = sum_j (q_i . softmax_j(z)) v_j, the softmax over all tokens for each channel: every token
/// in one scan.
/// Inputs {q, ones, v, gate = z}. Source: Qin et al. 2024 (LightNet).
inline constexpr auto lightnet = attention(decay::additive, bidirectional);

/// o_i = sum_j phi(q_i).phi(k_j) v_j / sum_j phi(q_i).phi(k_j) over the whole sequence,
/// phi = elu + 1.
/// Inputs {q, k, v}. Source: Afzal et al. 2025 (LION); Katharopoulos et al. 2020.
inline constexpr auto lion_lit = attention(bidirectional, normalize::sum, feature::elu_plus_one);

/// The same with the weights lambda_h^|i-j|, phi(x) = (silu(x) + 1/2) / |silu(x) + 1/2|.
/// Inputs {q, k, v, gate = log lambda, [head]}. Source: Afzal et al. 2025 (LION).
inline constexpr auto lion_d = attention(decay::constant, decay::on_write, bidirectional,
                                         normalize::sum, feature::silu_half_unit);

/// The same with the decays a_t of the tokens from the written one (with it) to the reader
/// (without it), in both directions.
/// Inputs {q, k, v, gate = log a}. Source: Afzal et al. 2025 (LION).
inline constexpr auto lion_s = attention(decay::scalar, decay::on_write, bidirectional,
                                         normalize::sum, feature::silu_half_unit);

/// S_t = (I - beta_t k_t k_t^T) S_(t-1) + beta_t k_t v_t^T, o_t = S_t^T q_t, |k_t| = 1.
/// Inputs {q, k, v, beta}. Source: Schlag et al. 2021; Yang et al. 2024 (DeltaNet).
inline constexpr auto delta_net = attention(update::delta);

/// S_t = alpha_t (I - beta_t k_t k_t^T) S_(t-1) + beta_t k_t v_t^T, o_t = S_t^T q_t, |k_t| = 1.
/// Inputs {q, k, v, gate = log alpha, beta}. Source: Yang et al. 2024 (Gated DeltaNet).
inline constexpr auto gated_delta_net = attention(decay::scalar, update::delta);

/// S_t = (I - beta_t k_t k_t^T) diag(alpha_t) S_(t-1) + beta_t k_t v_t^T, o_t = S_t^T q_t.
/// Inputs {q, k, v, gate = log alpha, beta}. Source: Kimi Team 2025 (Kimi Linear).
inline constexpr auto kda = attention(decay::vector, update::delta);

/// Fills a gate [head] with RetNet's log decays: log gamma_h = log(1 - 2^(-5-h)), h = 0, 1, ...
/// `gate`: a std::vector, std::span or std::array. Source: Sun et al. 2023, section 2.2.
template <class Gate>
constexpr void retention_slopes(Gate&& gate) {
    double forgotten = 1.0 / 32;
    for (auto& slope : gate) {
        // log(1 - x) = -(x + x^2 / 2 + x^3 / 3 + ...): x <= 1/32, 12 terms are 60 bits
        double sum = 0, power = forgotten;
        for (int n = 1; n <= 12; ++n, power *= forgotten) sum += power / n;
        slope = static_cast<std::remove_reference_t<decltype(slope)>>(-sum);
        forgotten /= 2;
    }
}

/// Fills a gate [head] with TransNormerLLM's log decays: -(8 h / H) (1 - l / L) for the heads
/// h = 0, ..., H - 1 of layer l = 0, ..., L - 1, counted as flash-linear-attention counts them.
/// Weights trained with the authors' own programs want -2^(-8 (h + 1) / H) (1 - l / (L - 1) + 1e-5)
/// instead. Source: Qin et al. 2023 (TransNormerLLM).
template <class Gate>
constexpr void lightning_slopes(Gate&& gate, index layer, index layers) {
    double const strength = 1 - static_cast<double>(layer) / static_cast<double>(layers);
    double const heads = static_cast<double>(std::size(gate));
    double head = 0;
    for (auto& slope : gate) {
        slope = static_cast<std::remove_reference_t<decltype(slope)>>(-8 * head / heads * strength);
        head += 1;
    }
}

}  // namespace rondo::inline RONDO_ISA::models
