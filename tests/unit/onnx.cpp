// LinearAttention of ONNX beside the standard's recurrence, for every combination of what it takes.

#include "support/catch.hpp"
#include "support/random.hpp"

#include <rondo/onnx.hpp>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

namespace rd = rondo;

namespace {

using doubles = std::vector<double>;

/// A combination of attributes and optional inputs.
struct combination {
    std::string rule;
    bool per_channel, shared_beta, past, present;
    rd::index q_heads, kv_heads, time;
    float scale;

    bool gated() const { return rule == "gated" || rule == "gated_delta"; }
    bool delta() const { return rule == "delta" || rule == "gated_delta"; }
};

constexpr rd::index B = 2, d_k = 5, d_v = 3;

/// The tensors of a call in the standard's layouts.
struct tensors {
    rd::index decay_channels, beta_channels;
    doubles query, key, value, past, decay, beta;

    tensors(combination const& c, support::random& r)
        : decay_channels(c.kv_heads * (c.per_channel ? d_k : 1)),
          beta_channels(c.shared_beta ? 1 : c.kv_heads) {
        auto const draw = [&r](rd::index n, double low, double high) {
            doubles x(static_cast<std::size_t>(n));
            for (double& value : x) value = r.uniform(low, high);
            return x;
        };
        rd::index const tokens = B * c.time;
        query = draw(tokens * c.q_heads * d_k, -1, 1);
        key = draw(tokens * c.kv_heads * d_k, -0.5, 0.5);
        value = draw(tokens * c.kv_heads * d_v, -1, 1);
        if (c.past) past = draw(B * c.kv_heads * d_k * d_v, -1, 1);
        if (c.gated()) decay = draw(tokens * decay_channels, -1, 0);
        if (c.delta()) beta = draw(tokens * beta_channels, 0, 1);
    }

    std::vector<doubles*> all() { return {&query, &key, &value, &past, &decay, &beta}; }
};

struct result {
    doubles output, state;
};

/// The standard's recurrence of one key/value head.
struct reference_head {
    combination const& c;
    tensors const& x;
    rd::index b, kv;
    double s[d_k][d_v] = {};

    double at(doubles const& tensor, rd::index channels, rd::index t, rd::index channel) const {
        return tensor[static_cast<std::size_t>((b * c.time + t) * channels + channel)];
    }
    double key(rd::index t, rd::index d) const {
        return at(x.key, c.kv_heads * d_k, t, kv * d_k + d);
    }
    double decay(rd::index t, rd::index d) const {
        if (!c.gated()) return 1;
        return std::exp(at(x.decay, x.decay_channels, t, c.per_channel ? kv * d_k + d : kv));
    }

    void move(rd::index t) {
        for (rd::index e = 0; e < d_v; ++e) {
            double value = at(x.value, c.kv_heads * d_v, t, kv * d_v + e), known = 0;
            for (rd::index d = 0; d < d_k; ++d) {
                s[d][e] *= decay(t, d);
                known += s[d][e] * key(t, d);
            }
            if (c.delta()) {
                value = at(x.beta, x.beta_channels, t, c.shared_beta ? 0 : kv) * (value - known);
            }
            for (rd::index d = 0; d < d_k; ++d) s[d][e] += key(t, d) * value;
        }
    }

    void read(rd::index t, doubles& output) const {
        double const scale = c.scale == 0 ? 1 / std::sqrt(double(d_k)) : double(c.scale);
        rd::index const group = c.q_heads / c.kv_heads;
        for (rd::index h = kv * group; h < (kv + 1) * group; ++h) {
            for (rd::index e = 0; e < d_v; ++e) {
                double sum = 0;
                for (rd::index d = 0; d < d_k; ++d) {
                    sum += at(x.query, c.q_heads * d_k, t, h * d_k + d) * s[d][e];
                }
                output[static_cast<std::size_t>(((b * c.time + t) * c.q_heads + h) * d_v + e)] =
                    scale * sum;
            }
        }
    }
};

result reference(combination const& c, tensors const& x) {
    result r{doubles(static_cast<std::size_t>(B * c.time * c.q_heads * d_v)),
             doubles(static_cast<std::size_t>(B * c.kv_heads * d_k * d_v))};
    for (rd::index b = 0; b < B; ++b) {
        for (rd::index kv = 0; kv < c.kv_heads; ++kv) {
            reference_head head{c, x, b, kv};
            auto const first = static_cast<std::size_t>((b * c.kv_heads + kv) * d_k * d_v);
            for (std::size_t i = 0; i < std::size_t(d_k * d_v); ++i) {
                if (c.past) head.s[i / d_v][i % d_v] = x.past[first + i];
            }
            for (rd::index t = 0; t < c.time; ++t) {
                head.move(t);
                head.read(t, r.output);
            }
            for (std::size_t i = 0; i < std::size_t(d_k * d_v); ++i) {
                r.state[first + i] = head.s[i / d_v][i % d_v];
            }
        }
    }
    return r;
}

template <class T>
std::vector<T> as(doubles const& x) {
    std::vector<T> y;
    for (double value : x) y.push_back(static_cast<T>(static_cast<float>(value)));
    return y;
}

template <class T>
doubles back(std::vector<T> const& x) {
    doubles y;
    for (T value : x) y.push_back(static_cast<double>(static_cast<float>(value)));
    return y;
}

template <class T>
rd::view<T const, 3> packed(std::vector<T> const& x, rd::index time, rd::index channels) {
    if (x.empty() && time > 0) return {};
    return {x.data(), {B, time, channels}};
}

/// The library's call with tensors of type T and states of type S; the present state takes the
/// past one's memory when `in_place`.
template <class T, class S>
result run(combination const& c, tensors const& x, bool in_place) {
    auto const q = as<T>(x.query), k = as<T>(x.key), v = as<T>(x.value), g = as<T>(x.decay),
               beta = as<T>(x.beta);
    auto past = as<S>(x.past);
    std::vector<T> output(static_cast<std::size_t>(B * c.time * c.q_heads * d_v));
    std::vector<S> present(static_cast<std::size_t>(B * c.kv_heads * d_k * d_v));
    auto& to = in_place ? past : present;
    rd::onnx::inputs in{.query = packed(q, c.time, c.q_heads * d_k),
                        .key = packed(k, c.time, c.kv_heads * d_k),
                        .value = packed(v, c.time, c.kv_heads * d_v)};
    std::array<rd::index, 4> const extents{B, c.kv_heads, d_k, d_v};
    if (c.past) in.past_state = rd::view<S const, 4>(past.data(), extents);
    if (c.gated()) in.decay = packed(g, c.time, x.decay_channels);
    if (c.delta()) in.beta = packed(beta, c.time, x.beta_channels);
    rd::onnx::outputs out{.output = rd::view<T, 3>(output.data(), {B, c.time, c.q_heads * d_v})};
    if (c.present) out.present_state = rd::view<S, 4>(to.data(), extents);
    rd::onnx::attributes const with{.q_num_heads = c.q_heads,
                                    .kv_num_heads = c.kv_heads,
                                    .update_rule = c.rule,
                                    .scale = c.scale};
    if (c.time > 20) {
        rd::onnx::linear_attention(with, in, out);
    } else {
        rd::onnx::linear_attention(rd::exec::simd, with, in, out);
    }
    return {back(output), c.present ? back(to) : doubles{}};
}

double error(doubles const& got, doubles const& want) {
    if (got.size() != want.size()) return HUGE_VAL;
    double largest = 1e-30, difference = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        largest = std::max(largest, std::abs(want[i]));
        difference = std::max(difference, std::abs(got[i] - want[i]));
        if (std::isnan(got[i])) return HUGE_VAL;
    }
    return difference / largest;
}

template <class T, class S>
void check(combination const& c, double bound, double state_bound) {
    support::random r("onnx " + c.rule);
    tensors x(c, r);
    for (doubles* values : x.all()) {
        *values = values == &x.past ? back(as<S>(*values)) : back(as<T>(*values));
    }
    auto const want = reference(c, x);
    for (bool in_place : {false, true}) {
        if (in_place && !(c.past && c.present)) continue;
        auto const got = run<T, S>(c, x, in_place);
        INFO(c.rule << " per channel " << c.per_channel << " shared beta " << c.shared_beta
                    << " past " << c.past << " heads " << c.q_heads << "/" << c.kv_heads << " T "
                    << c.time << " scale " << c.scale << " in place " << in_place);
        CHECK(error(got.output, want.output) <= bound);
        if (c.present) CHECK(error(got.state, want.state) <= state_bound);
    }
}

/// test(combination) for all that the standard allows.
template <class Test>
void for_all(std::vector<rd::index> const& times, Test test) {
    constexpr rd::index heads[][2] = {{1, 1}, {3, 3}, {4, 2}, {4, 1}};
    for (std::string const rule : {"linear", "gated", "delta", "gated_delta"}) {
        for (int options = 0; options < 32; ++options) {
            combination c{rule,
                          (options & 1) != 0,
                          (options & 2) != 0,
                          (options & 4) != 0,
                          (options & 8) != 0,
                          1,
                          1,
                          1,
                          (options & 16) != 0 ? 0.0F : -0.3F};
            if ((c.per_channel && !c.gated()) || (c.shared_beta && !c.delta())) continue;
            for (auto const& [q, kv] : heads) {
                for (rd::index time : times) {
                    c.q_heads = q;
                    c.kv_heads = kv;
                    c.time = time;
                    test(c);
                }
            }
        }
    }
}

}  // namespace

TEST_CASE("every combination in float is the standard's recurrence") {
    for_all({0, 1, 7, 40}, [](combination const& c) { check<float, float>(c, 1e-5, 1e-5); });
}

TEST_CASE("float16 and bfloat16, with states of their own type or of float") {
    for_all({1, 20}, [](combination const& c) {
        check<Eigen::half, float>(c, 5e-4, 1e-5);
        check<Eigen::half, Eigen::half>(c, 5e-4, 5e-4);
        check<Eigen::bfloat16, float>(c, 4e-3, 1e-5);
        check<Eigen::bfloat16, Eigen::bfloat16>(c, 4e-3, 4e-3);
    });
}

TEST_CASE("a prompt in two calls, the state handed on, is one call; chunk_size changes nothing") {
    constexpr rd::index T = 30, at = 13, H = 2;
    support::random r("onnx split");
    combination const c{"gated_delta", true, false, false, true, H, H, T, 0};
    tensors const x(c, r);
    auto const q = as<float>(x.query), k = as<float>(x.key), v = as<float>(x.value),
               g = as<float>(x.decay), beta = as<float>(x.beta);
    auto const run = [&](std::vector<float>& o, std::vector<float>& state, bool past,
                         rd::index first, rd::index last, rd::index chunk) {
        auto const cut = [&](auto const& from, rd::index channels) {
            return rd::view<float const, 3>(from.data(), {B, T, channels}).slice(1, first, last);
        };
        auto const s = rd::view<float, 4>(state.data(), {B, H, d_k, d_v});
        rd::onnx::inputs in{.query = cut(q, H * d_k),
                            .key = cut(k, H * d_k),
                            .value = cut(v, H * d_v),
                            .decay = cut(g, H * d_k),
                            .beta = cut(beta, H)};
        if (past) in.past_state = s;
        rd::onnx::linear_attention(
            rd::exec::simd, {.q_num_heads = H, .kv_num_heads = H, .chunk_size = chunk}, in,
            {.output = rd::view<float, 3>(o.data(), {B, T, H * d_v}).slice(1, first, last),
             .present_state = s});
    };
    std::vector<float> whole(v.size()), pieces(v.size());
    std::vector<float> state(static_cast<std::size_t>(B * H * d_k * d_v)), carried = state;
    run(whole, state, false, 0, T, 64);
    run(pieces, carried, false, 0, at, 16);
    run(pieces, carried, true, at, T, 1);
    CHECK(error(back(pieces), back(whole)) <= 1e-6);
    CHECK(error(back(carried), back(state)) <= 1e-6);
}

TEST_CASE("what the standard does not allow is refused in a sentence, and nothing is written") {
    constexpr rd::index H = 2, T = 4;
    std::vector<float> const data(200, 0.5F);
    std::vector<Eigen::half> const halves(200);
    std::vector<float> o(static_cast<std::size_t>(B * T * 4 * d_v), 7.0F), s(200, 7.0F);
    auto const tensor = [&](rd::index batch, rd::index time, rd::index channels) {
        return rd::view<float const, 3>(data.data(), {batch, time, channels});
    };
    auto const q = tensor(B, T, 4 * d_k), k = tensor(B, T, H * d_k), v = tensor(B, T, H * d_v);
    auto const g = tensor(B, T, H), beta = tensor(B, T, H);
    auto const half_view = rd::view<Eigen::half const, 3>(halves.data(), {B, T, H * d_k});
    rd::onnx::outputs const to{.output = rd::view<float, 3>(o.data(), {B, T, 4 * d_v}),
                               .present_state = rd::view<float, 4>(s.data(), {B, H, d_k, d_v})};

    auto const refusal = [&](rd::onnx::attributes const& with, rd::onnx::inputs const& in,
                             std::optional<rd::onnx::outputs> const& out = {}) -> std::string {
        try {
            rd::onnx::linear_attention(with, in, out ? *out : to);
        } catch (rd::shape_error const& error) {
            return error.what();
        }
        return "";
    };
    using support::contains;
    rd::onnx::attributes const linear{.q_num_heads = 4, .kv_num_heads = H, .update_rule = "linear"};
    auto rule = [&](std::string_view name) {
        auto with = linear;
        with.update_rule = name;
        return with;
    };
    auto heads = [&](rd::index query_heads, rd::index kv_heads) {
        auto with = linear;
        with.q_num_heads = query_heads;
        with.kv_num_heads = kv_heads;
        return with;
    };
    rd::onnx::inputs const in{.query = q, .key = k, .value = v};
    auto with_gate = in, with_beta = in, with_both = in;
    with_gate.decay = with_both.decay = g;
    with_beta.beta = with_both.beta = beta;

    CHECK_THAT(refusal(rule("retention"), in),
               contains("update_rule is \"retention\", expected \"linear\", \"gated\""));
    CHECK_THAT(refusal(rule("gated"), in), contains("update_rule \"gated\" needs decay"));
    CHECK_THAT(refusal(rule("gated"), with_both), contains("update_rule \"gated\" takes no beta"));
    CHECK_THAT(refusal(rule("delta"), with_both), contains("\"delta\" takes no decay"));
    CHECK_THAT(refusal(rule("gated_delta"), with_gate), contains("\"gated_delta\" needs beta"));
    CHECK_THAT(refusal(linear, with_gate), contains("\"linear\" takes no decay"));
    CHECK_THAT(refusal(linear, {.query = q, .key = k}), contains("\"linear\" needs value"));
    CHECK_THAT(refusal(linear, {.query = q, .key = rd::ones, .value = v}),
               contains("key is rondo::ones"));

    CHECK_THAT(refusal(heads(0, 0), in),
               contains("q_num_heads is 0, expected a positive multiple"));
    CHECK_THAT(refusal(heads(4, 3), in), contains("q_num_heads is 4, expected a positive multiple "
                                                  "of kv_num_heads, which is 3"));
    CHECK_THAT(refusal(heads(6, 2), in), contains("query has 20 channels, expected a multiple of "
                                                  "q_num_heads, which is 6"));
    CHECK_THAT(refusal(heads(4, 4), in), contains("key has 10 channels, expected a multiple of"));
    CHECK_THAT(refusal(heads(2, 2), in), contains("key has extent 10 along channels, expected 20"));

    auto wrong = with_gate;
    wrong.decay = tensor(B, T, 3);
    CHECK_THAT(refusal(rule("gated"), wrong),
               contains("decay has 3 channels, expected "
                        "kv_num_heads = 2 or kv_num_heads d_k = 10"));
    wrong = with_beta;
    wrong.beta = tensor(B, T, 4);
    CHECK_THAT(refusal(rule("delta"), wrong), contains("beta has 4 channels, expected"));
    wrong.beta = tensor(B, T - 1, 1);
    CHECK_THAT(refusal(rule("delta"), wrong), contains("beta has extent 3 along time, expected 4"));
    wrong = in;
    wrong.key = tensor(1, T, H * d_k);
    CHECK_THAT(refusal(linear, wrong), contains("key has extent 1 along batch, expected 2"));
    wrong.key = rd::view<float const, 3>(nullptr, {B, T, H * d_k});
    CHECK_THAT(refusal(linear, wrong), contains("key is a null view, expected 80 elements"));
    wrong.key = half_view;
    CHECK_THAT(refusal(linear, wrong), contains("key holds float16, expected the type of query"));

    wrong = in;
    wrong.past_state = rd::view<float const, 4>(data.data(), {B, H, d_v, d_k});
    CHECK_THAT(refusal(linear, wrong),
               contains("past_state has extent 3 along axis 2, expected 5"));
    wrong.past_state = rd::view<Eigen::half const, 4>(halves.data(), {B, H, d_k, d_v});
    CHECK_THAT(refusal(linear, wrong),
               contains("past_state holds float16, expected the type of query or float"));
    wrong.past_state = rd::view<float const, 4>(s.data() + 1, {B, H, d_k, d_v});
    CHECK_THAT(refusal(linear, wrong), contains("present_state overlaps past_state"));

    auto out = to;
    out.output = rd::view<float, 3>(o.data(), {B, T, 2 * d_v});
    CHECK_THAT(refusal(linear, in, out),
               contains("output has extent 6 along channels, expected 12"));
    out.output = rd::view<float, 3>(s.data(), {B, T, 4 * d_v});
    CHECK_THAT(refusal(linear, in, out), contains("output overlaps present_state"));
    CHECK(o == std::vector<float>(o.size(), 7.0F));
    CHECK(s == std::vector<float>(s.size(), 7.0F));
    CHECK(refusal(linear, in).empty());
}
