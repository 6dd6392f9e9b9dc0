/// @file
/// The operator LinearAttention of ONNX (default domain, opset 27) on its own packed tensors.
#pragma once

#include <Eigen/Core>

#include <rondo/detail/operands.hpp>
#include <rondo/detail/passes.hpp>
#include <rondo/exec/host.hpp>

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

namespace rondo::inline RONDO_ISA {
namespace onnx {

/// The attributes of LinearAttention, with the standard's defaults; the heads have none.
struct attributes {
    index q_num_heads = 0, kv_num_heads = 0;
    std::string_view update_rule = "gated_delta";  // or "linear", "gated", "delta"
    float scale = 0;                               // 0: 1 / sqrt(d_k)
    index chunk_size = 64;  // a hint that changes no value: the operator picks by length
};

/// The inputs of LinearAttention: views of float, Eigen::half or Eigen::bfloat16; those left out
/// are absent.
struct inputs {
    detail::operand<float, 3> query{}, key{}, value{};
    detail::operand<float, 4> past_state{};
    detail::operand<float, 3> decay{}, beta{};
};

/// The outputs of LinearAttention; present_state may be left out.
struct outputs {
    detail::target<float, 3> output{};
    detail::target<float, 4> present_state{};
};

}  // namespace onnx

namespace detail {

/// A call of LinearAttention, checked, as a problem; owns copies of states that are not dense
/// float.
class onnx_call {
public:
    onnx_call(onnx::attributes const& with, onnx::inputs const& in, onnx::outputs const& out)
        : with_(with), in_(in), out_(out) {
        check_rule();
        check_presence();
        check_heads();
        check_shapes();
        check_types();
        check_memory();
        describe();
        bind_states();
    }
    onnx_call(onnx_call const&) = delete;

    problem<float> const& described() const noexcept { return problem_; }

    /// Leaves the state where the caller wants it, once the problem is computed.
    void finish() const noexcept {
        if (!kept_out_.empty()) {
            move_state(out_.present_state, [&](row const& to, index number) {
                store_row<one_lane<float>>(to, kept_out_.data() + number * d_v_, d_v_);
            });
        }
    }

private:
    static constexpr checker check{"onnx::linear_attention"};

    template <int Rank>
    static bool present(operand<float, Rank> const& x) noexcept {
        return x.data != nullptr ||
               std::any_of(x.extents.begin(), x.extents.end(), [](index n) { return n != 0; });
    }

    [[noreturn]] void refuse(std::initializer_list<word> words) const {
        detail::refuse(check.name, words);
    }

    void check_rule() {
        std::string_view const rule = with_.update_rule;
        gated_ = rule == "gated" || rule == "gated_delta";
        delta_ = rule == "delta" || rule == "gated_delta";
        if (!gated_ && !delta_ && rule != "linear") {
            refuse({"update_rule is \"", std::string(rule),
                    "\", expected \"linear\", \"gated\", \"delta\" or \"gated_delta\""});
        }
    }

    void check_presence() const {
        expect(true, "query", in_.query);
        expect(true, "key", in_.key);
        expect(true, "value", in_.value);
        expect(gated_, "decay", in_.decay);
        expect(delta_, "beta", in_.beta);
        expect(true, "output", out_.output);
        check.present("past_state", in_.past_state);
        check.present("present_state", out_.present_state);
    }

    template <int Rank>
    void expect(bool wanted, char const* name, operand<float, Rank> const& x) const {
        std::string const rule(with_.update_rule);
        if (x.ones) refuse({name, " is rondo::ones, expected a tensor"});
        if (present(x) && !wanted) refuse({"update_rule \"", rule, "\" takes no ", name});
        if (!present(x) && wanted) refuse({"update_rule \"", rule, "\" needs ", name});
        check.present(name, x);
    }

    void check_heads() const {
        index const q = with_.q_num_heads, kv = with_.kv_num_heads;
        if (q <= 0 || kv <= 0 || q % kv != 0) {
            refuse({"q_num_heads is ", q,
                    ", expected a positive multiple of kv_num_heads, which is ", kv});
        }
        divides("query", in_.query, q, "q_num_heads");
        divides("key", in_.key, kv, "kv_num_heads");
        divides("value", in_.value, kv, "kv_num_heads");
    }

    void divides(char const* name, operand<float, 3> const& x, index heads,
                 char const* attribute) const {
        if (x.extents[2] % heads == 0) return;
        refuse({name, " has ", x.extents[2], " channels, expected a multiple of ", attribute,
                ", which is ", heads});
    }

    void check_shapes() {
        batch_ = in_.query.extents[0];
        time_ = in_.query.extents[1];
        d_k_ = in_.query.extents[2] / with_.q_num_heads;
        d_v_ = in_.value.extents[2] / with_.kv_num_heads;
        index const heads = with_.kv_num_heads;
        fits("key", in_.key, heads * d_k_, "kv_num_heads d_k, with query's d_k");
        fits("value", in_.value, heads * d_v_, "kv_num_heads d_v");
        fits("output", out_.output, with_.q_num_heads * d_v_, "q_num_heads d_v");
        if (gated_) {
            index const channels = in_.decay.extents[2];
            per_channel_ = channels != heads;
            if (per_channel_ && channels != heads * d_k_) {
                refuse({"decay has ", channels, " channels, expected kv_num_heads = ", heads,
                        " or kv_num_heads d_k = ", heads * d_k_});
            }
            fits("decay", in_.decay, channels, "");
        }
        if (delta_) {
            index const channels = in_.beta.extents[2];
            if (channels != heads && channels != 1) {
                refuse(
                    {"beta has ", channels, " channels, expected kv_num_heads = ", heads, " or 1"});
            }
            fits("beta", in_.beta, channels, "");
        }
        std::array<index, 4> const state{batch_, heads, d_k_, d_v_};
        constexpr char const* because = "past and present are [batch, kv_num_heads, d_k, d_v]";
        if (present(in_.past_state)) {
            check_extents(check, "past_state", in_.past_state, state, because);
        }
        if (present(out_.present_state)) {
            check_extents(check, "present_state", out_.present_state, state, because);
        }
    }

    void fits(char const* name, operand<float, 3> const& x, index channels,
              char const* because) const {
        check.extent(name, "batch", x.extents[0], batch_, "query's batch");
        check.extent(name, "time", x.extents[1], time_, "query's time");
        check.extent(name, "channels", x.extents[2], channels, because);
    }

    /// The standard's types: T of all tensors, and S of both states, which is T or float.
    void check_types() const {
        element const t = in_.query.kind, s = in_.past_state.kind;
        has_type("key", in_.key, t, "query");
        has_type("value", in_.value, t, "query");
        has_type("decay", in_.decay, t, "query");
        has_type("beta", in_.beta, t, "query");
        has_type("output", out_.output, t, "query");
        if (s != element::float32) has_type("past_state", in_.past_state, t, "query or float");
        element const present_type = out_.present_state.kind;
        if (present(in_.past_state)) {
            has_type("present_state", out_.present_state, s, "past_state");
        } else if (present_type != element::float32) {
            has_type("present_state", out_.present_state, t, "query or float");
        }
    }

    template <int Rank>
    void has_type(char const* name, operand<float, Rank> const& x, element wanted,
                  char const* whose) const {
        if (!present(x) || x.kind == wanted) return;
        constexpr std::array names{"float", "double", "bfloat16", "float16"};
        refuse({name, " holds ", names[std::size_t(x.kind)], ", expected the type of ", whose});
    }

    /// Outputs have memory of their own, but for a present state in the place of the past one.
    void check_memory() const {
        detail::check_output(check, "output", out_.output);
        auto const apart = [&](char const* name, auto const& x) {
            check_apart(check, "output", out_.output, name, x);
            check_apart(check, "present_state", out_.present_state, name, x);
        };
        apart("query", in_.query);
        apart("key", in_.key);
        apart("value", in_.value);
        apart("decay", in_.decay);
        apart("beta", in_.beta);
        check_apart(check, "output", out_.output, "past_state", in_.past_state);
        check_apart(check, "output", out_.output, "present_state", out_.present_state);
        if (!present(out_.present_state)) return;
        detail::check_output(check, "present_state", out_.present_state);
        bool const same = in_.past_state.data == out_.present_state.data &&
                          in_.past_state.strides == out_.present_state.strides;
        if (!same) {
            check_apart(check, "present_state", out_.present_state, "past_state", in_.past_state);
        }
    }

    /// [B, T, H * D] as [B, H, T, D].
    static tensor unpacked(operand<float, 3> const& x, index heads) noexcept {
        index const size = element_size(x.kind), channels = x.extents[2] / heads;
        return {const_cast<std::byte*>(x.data),
                x.strides[0] * size,
                channels * x.strides[2] * size,
                x.strides[1] * size,
                x.strides[2] * size,
                x.kind};
    }

    void describe() {
        index const heads = with_.kv_num_heads;
        problem<float>& p = problem_;
        p.what.decay = !gated_        ? decay_kind::none
                       : per_channel_ ? decay_kind::vector
                                      : decay_kind::scalar;
        p.what.delta = delta_;
        p.sequences = batch_;
        p.query_heads = with_.q_num_heads;
        p.heads = heads;
        p.length = time_;
        p.depth = d_k_;
        p.width = p.state_width = d_v_;
        p.q = unpacked(in_.query, p.query_heads);
        p.k = unpacked(in_.key, heads);
        p.v = unpacked(in_.value, heads);
        p.o = unpacked(out_.output, p.query_heads);
        if (gated_) p.gate = unpacked(in_.decay, heads);
        // A gate of one value a head fills all its channels.
        if (gated_ && !per_channel_) p.gate.channel = 0;
        if (delta_) {
            p.beta = unpacked(in_.beta, heads);
            if (in_.beta.extents[2] == 1) p.beta.head = 0;
            p.beta.channel = 0;
        }
        float const root = std::sqrt(static_cast<float>(std::max<index>(d_k_, 1)));
        p.scale = with_.scale == 0 ? 1 / root : with_.scale;
        passes_ = passes_of(p.what);
        p.passes = {passes_.items.data(), passes_.count};
    }

    /// Hands dense float states to the problem as they are, and others as dense copies.
    void bind_states() {
        auto const size = std::size_t(batch_ * with_.kv_num_heads * d_k_ * d_v_);
        if (size == 0) return;
        if (is_dense(in_.past_state)) {
            problem_.in.s = floats(in_.past_state);
        } else if (present(in_.past_state)) {
            kept_in_.resize(size);
            problem_.in.s = kept_in_.data();
            move_state(in_.past_state, [&](row const& from, index number) {
                load_row<one_lane<float>>(kept_in_.data() + number * d_v_, from, d_v_, d_v_);
            });
        }
        if (is_dense(out_.present_state)) {
            problem_.out.s = floats(out_.present_state);
        } else if (present(out_.present_state)) {
            kept_out_.resize(size);
            problem_.out.s = kept_out_.data();
        }
    }

    static float* floats(operand<float, 4> const& x) noexcept {
        return reinterpret_cast<float*>(const_cast<std::byte*>(x.data));
    }

    static bool is_dense(operand<float, 4> const& x) noexcept {
        if (x.data == nullptr || x.kind != element::float32) return false;
        return x.strides == view<float, 4>(nullptr, x.extents).strides();
    }

    /// visit(row, its number) for the rows [d_v] of a state.
    template <class Visit>
    static void move_state(operand<float, 4> const& x, Visit const& visit) {
        index const size = element_size(x.kind);
        index number = 0;
        for (index b = 0; b < x.extents[0]; ++b) {
            for (index h = 0; h < x.extents[1]; ++h) {
                for (index d = 0; d < x.extents[2]; ++d) {
                    index const at = b * x.strides[0] + h * x.strides[1] + d * x.strides[2];
                    visit({const_cast<std::byte*>(x.data) + at * size, x.strides[3] * size, x.kind},
                          number++);
                }
            }
        }
    }

    onnx::attributes const& with_;
    onnx::inputs const& in_;
    onnx::outputs const& out_;
    bool gated_ = false, delta_ = false, per_channel_ = false;
    index batch_ = 0, time_ = 0, d_k_ = 0, d_v_ = 0;
    problem<float> problem_;
    pass_list passes_;
    std::vector<float> kept_in_, kept_out_;
};

}  // namespace detail

namespace onnx {

/// Computes LinearAttention: with S of key/value head h / (q_num_heads / kv_num_heads),
///
///     linear       S_t = S_(t-1) + k_t v_t^T
///     gated        S_t = exp(g_t) S_(t-1) + k_t v_t^T
///     delta        S_t = S_(t-1) + beta_t k_t (v_t - S_(t-1)^T k_t)^T
///     gated_delta  S_t = exp(g_t) S_(t-1) + beta_t k_t (v_t - (exp(g_t) S_(t-1))^T k_t)^T
///
/// and o_t = scale S_t^T q_t, scale = 1 / sqrt(d_k) where the attribute is 0.
///
/// Shapes: query [B, T, Hq d_k], key [B, T, Hkv d_k], value [B, T, Hkv d_v], output [B, T, Hq d_v];
///   decay [B, T, Hkv] or [B, T, Hkv d_k]; beta [B, T, Hkv] or [B, T, 1]; past_state and
///   present_state [B, Hkv, d_k, d_v]. Any strides; present_state may be past_state's memory.
/// Units: decay is a logarithm. Elements are float, Eigen::half or Eigen::bfloat16, one type for
/// all
///   but the states, which have it too or are float; all arithmetic is in float.
/// Scratch: as attention's, and a dense copy of each state that is not float or not dense.
/// Accuracy: 1e-5 of the largest output in float (tests/unit/onnx.cpp).
/// Errors: shape_error, before anything is written, for what the standard does not allow: an
///   update_rule without its decay or beta or with one that it does not take, heads that do not
///   divide, tensors that do not fit.
/// Source: ONNX, Operators.md, LinearAttention-27.
template <class Place>
    requires detail::runs_on_host<Place>
inline void linear_attention(Place const& place, attributes const& with, inputs const& in,
                             outputs const& out) {
    using lanes = detail::lanes_of<Place, float>;
    using detail::decay_kind, detail::kernel_kind, detail::run;
    detail::onnx_call const call(with, in, out);
    auto const& problem = call.described();
    int const threads = detail::threads_of(place);
    constexpr auto with_delta = [](decay_kind decay) { return kernel_kind{decay, true, false}; };
    switch (problem.what.decay) {
        case decay_kind::scalar:
            run<lanes, with_delta(decay_kind::scalar)>(problem, threads);
            break;
        case decay_kind::vector:
            run<lanes, with_delta(decay_kind::vector)>(problem, threads);
            break;
        default: run<lanes, with_delta(decay_kind::none)>(problem, threads); break;
    }
    call.finish();
}

/// The same in exec::openmp.
inline void linear_attention(attributes const& with, inputs const& in, outputs const& out) {
    linear_attention(exec::openmp, with, in, out);
}

}  // namespace onnx
}  // namespace rondo::inline RONDO_ISA
