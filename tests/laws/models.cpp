// The named operators beside their papers' formulas, written out in double precision as the papers
// have them: recurrences over a matrix state, or sums over all pairs. Neither the oracle nor the
// library's own notation is used.

#include "support/catch.hpp"
#include "support/random.hpp"

#include <rondo/rondo.hpp>

#include <array>
#include <cmath>
#include <vector>

namespace rd = rondo;

namespace {

using doubles = std::vector<double>;
constexpr rd::index H = 2, T = 37, D = 5, E = 3;

/// The inputs of one sequence, [time, head, channel], and what a formula may read of them.
struct sequence {
    doubles q, k, v, a, f, z, beta, slopes;  // a [T, H] and f [T, H, D]: decays in (0, 1)

    explicit sequence(char const* name) {
        support::random r(name);
        auto const draw = [&r](rd::index n, double low, double high) {
            doubles x(static_cast<std::size_t>(n));
            for (double& value : x) value = r.uniform(low, high);
            return x;
        };
        q = draw(T * H * D, -1, 1);
        k = draw(T * H * D, -1, 1);
        v = draw(T * H * E, -1, 1);
        a = draw(T * H, 0.5, 1);
        f = draw(T * H * D, 0.3, 1);
        z = draw(T * H * D, -3, 3);
        beta = draw(T * H, 0, 1);
        slopes = draw(H, -0.5, -0.1);
    }

    static std::size_t at(rd::index t, rd::index h, rd::index channels, rd::index c) {
        return static_cast<std::size_t>((t * H + h) * channels + c);
    }
    double q_at(rd::index t, rd::index h, rd::index d) const { return q[at(t, h, D, d)]; }
    double k_at(rd::index t, rd::index h, rd::index d) const { return k[at(t, h, D, d)]; }
    double v_at(rd::index t, rd::index h, rd::index e) const { return v[at(t, h, E, e)]; }
    double a_at(rd::index t, rd::index h) const { return a[at(t, h, 1, 0)]; }
    double f_at(rd::index t, rd::index h, rd::index d) const { return f[at(t, h, D, d)]; }
    double z_at(rd::index t, rd::index h, rd::index d) const { return z[at(t, h, D, d)]; }
    double beta_at(rd::index t, rd::index h) const { return beta[at(t, h, 1, 0)]; }
};

doubles logs(doubles x) {
    for (double& value : x) value = std::log(value);
    return x;
}

using matrix = std::array<std::array<double, std::size_t(E)>, std::size_t(D)>;

/// Every head from an empty state: move(S, t, h) makes S_t of S_(t-1), and o_t = S_t^T q_t.
template <class Move>
doubles recurrence(sequence const& x, Move move) {
    doubles o(static_cast<std::size_t>(T * H * E));
    for (rd::index h = 0; h < H; ++h) {
        matrix s{};
        for (rd::index t = 0; t < T; ++t) {
            move(s, t, h);
            for (rd::index e = 0; e < E; ++e) {
                for (rd::index d = 0; d < D; ++d) {
                    o[x.at(t, h, E, e)] += s[std::size_t(d)][std::size_t(e)] * x.q_at(t, h, d);
                }
            }
        }
    }
    return o;
}

/// S = S * decay(d) + key(d) value(e)
template <class Decay, class Key, class Value>
void write(matrix& s, Decay decay, Key key, Value value) {
    for (rd::index d = 0; d < D; ++d) {
        for (rd::index e = 0; e < E; ++e) {
            double& entry = s[std::size_t(d)][std::size_t(e)];
            entry = entry * decay(d) + key(d) * value(e);
        }
    }
}

/// (I - beta k k^T) S + beta k v^T with the key k of token t, as matrices.
void delta_write(matrix& s, sequence const& x, rd::index t, rd::index h) {
    matrix const before = s;
    for (rd::index d = 0; d < D; ++d) {
        for (rd::index e = 0; e < E; ++e) {
            double projected = 0;
            for (rd::index i = 0; i < D; ++i) {
                double const identity = i == d ? 1 : 0;
                projected += (identity - x.beta_at(t, h) * x.k_at(t, h, d) * x.k_at(t, h, i)) *
                             before[std::size_t(i)][std::size_t(e)];
            }
            s[std::size_t(d)][std::size_t(e)] =
                projected + x.beta_at(t, h) * x.k_at(t, h, d) * x.v_at(t, h, e);
        }
    }
}

/// The quotient of sums over the tokens j with weight(i, j, h) != 0; phi maps a token's channels.
template <class Weight, class Phi>
doubles quotient(sequence const& x, Weight weight, Phi phi) {
    auto const mapped = [&](doubles const& of, rd::index t, rd::index h) {
        auto const first = of.begin() + static_cast<std::ptrdiff_t>(x.at(t, h, D, 0));
        return phi(doubles(first, first + D));
    };
    doubles o(static_cast<std::size_t>(T * H * E));
    for (rd::index h = 0; h < H; ++h) {
        for (rd::index i = 0; i < T; ++i) {
            doubles const q = mapped(x.q, i, h);
            doubles above(static_cast<std::size_t>(E));
            double below = 0;
            for (rd::index j = 0; j < T; ++j) {
                doubles const k = mapped(x.k, j, h);
                double score = 0;
                for (std::size_t d = 0; d < std::size_t(D); ++d) score += q[d] * k[d];
                score *= weight(i, j, h);
                for (rd::index e = 0; e < E; ++e) {
                    above[std::size_t(e)] += score * x.v_at(j, h, e);
                }
                below += score;
            }
            for (rd::index e = 0; e < E; ++e) {
                o[x.at(i, h, E, e)] = above[std::size_t(e)] / (below + 1e-6);
            }
        }
    }
    return o;
}

doubles elu_plus_one(doubles x) {
    for (double& value : x) value = value > 0 ? value + 1 : std::exp(value);
    return x;
}

doubles shifted_silu(doubles x) {
    double squares = 0;
    for (double& value : x) {
        value = value / (1 + std::exp(-value)) + 0.5;
        squares += value * value;
    }
    for (double& value : x) value /= std::sqrt(squares);
    return x;
}

/// The largest difference between the operator's output and `want`.
template <class Run>
double difference(doubles const& want, Run run) {
    doubles o(want.size());
    run(rd::bthd(o, 1, T, H, E));
    double largest = 0;
    for (std::size_t i = 0; i < o.size(); ++i) {
        largest = std::max(largest, std::abs(o[i] - want[i]));
    }
    return largest;
}

auto channels(doubles const& x) { return rd::bthd(x, 1, T, H, D); }
auto values(doubles const& x) { return rd::bthd(x, 1, T, H, E); }
auto tokens(doubles const& x) { return rd::bth(x, 1, T, H); }
auto heads(doubles const& x) { return rd::view<double const, 1>(x.data(), {H}); }

void normalize_keys(sequence& x) {
    for (auto token = x.k.begin(); token != x.k.end(); token += D) {
        double squares = 0;
        for (auto c = token; c != token + D; ++c) squares += *c * *c;
        for (auto c = token; c != token + D; ++c) *c /= std::sqrt(squares);
    }
}

constexpr double bound = 1e-12;

}  // namespace

TEST_CASE("linear_attention: phi(q).phi(k) over the past, divided by its sum") {
    sequence const x("linear");
    auto const past = [](rd::index i, rd::index j, rd::index) { return j <= i ? 1.0 : 0.0; };
    CHECK(difference(quotient(x, past, elu_plus_one), [&](auto o) {
              rd::models::linear_attention.forward(rd::exec::simd,
                                                   {channels(x.q), channels(x.k), values(x.v)}, o);
          }) <= bound);
}

TEST_CASE("retention and lightning: S = lambda S + k v^T with one lambda a head") {
    sequence const x("retention");
    auto const want = recurrence(x, [&](matrix& s, rd::index t, rd::index h) {
        write(
            s, [&](rd::index) { return std::exp(x.slopes[std::size_t(h)]); },
            [&](rd::index d) { return x.k_at(t, h, d); },
            [&](rd::index e) { return x.v_at(t, h, e); });
    });
    auto const check = [&](auto const& op) {
        CHECK(difference(want, [&](auto o) {
                  op.forward(rd::exec::simd,
                             {channels(x.q), channels(x.k), values(x.v), heads(x.slopes)}, o);
              }) <= bound);
    };
    check(rd::models::retention);
    check(rd::models::lightning);
}

TEST_CASE("mamba2: h = a h + B x^T with one a = exp(dt A) a token and head") {
    sequence const x("mamba2");
    auto const want = recurrence(x, [&](matrix& s, rd::index t, rd::index h) {
        write(
            s, [&](rd::index) { return x.a_at(t, h); },
            [&](rd::index d) { return x.k_at(t, h, d); },
            [&](rd::index e) { return x.v_at(t, h, e); });
    });
    auto const gate = logs(x.a);
    CHECK(difference(want, [&](auto o) {
              rd::models::mamba2.forward(
                  rd::exec::simd, {channels(x.q), channels(x.k), values(x.v), tokens(gate)}, o);
          }) <= bound);
}

TEST_CASE("gla: S = diag(alpha) S + k v^T; hgrn2: the same with k = 1 - alpha") {
    sequence x("gla");
    auto const gate = logs(x.f);
    auto const check = [&](auto const& op) {
        auto const want = recurrence(x, [&](matrix& s, rd::index t, rd::index h) {
            write(
                s, [&](rd::index d) { return x.f_at(t, h, d); },
                [&](rd::index d) { return x.k_at(t, h, d); },
                [&](rd::index e) { return x.v_at(t, h, e); });
        });
        CHECK(difference(want, [&](auto o) {
                  op.forward(rd::exec::simd,
                             {channels(x.q), channels(x.k), values(x.v), channels(gate)}, o);
              }) <= bound);
    };
    check(rd::models::gla);
    for (std::size_t i = 0; i < x.k.size(); ++i) x.k[i] = 1 - x.f[i];
    check(rd::models::hgrn2);
}

TEST_CASE("lightnet: a softmax over all tokens for each channel, read by q") {
    sequence const x("lightnet");
    doubles want(static_cast<std::size_t>(T * H * E));
    for (rd::index h = 0; h < H; ++h) {
        for (rd::index d = 0; d < D; ++d) {
            double total = 0;
            for (rd::index j = 0; j < T; ++j) total += std::exp(x.z_at(j, h, d));
            for (rd::index i = 0; i < T; ++i) {
                for (rd::index j = 0; j < T; ++j) {
                    double const weight = std::exp(x.z_at(j, h, d)) / total;
                    for (rd::index e = 0; e < E; ++e) {
                        want[x.at(i, h, E, e)] += x.q_at(i, h, d) * weight * x.v_at(j, h, e);
                    }
                }
            }
        }
    }
    CHECK(difference(want, [&](auto o) {
              rd::models::lightnet.forward(
                  rd::exec::simd, {channels(x.q), rd::ones, values(x.v), channels(x.z)}, o);
          }) <= bound);
}

TEST_CASE("lion_lit, lion_d, lion_s: masks over both directions, divided by their sums") {
    sequence const x("lion");
    auto const all = [](rd::index, rd::index, rd::index) { return 1.0; };
    CHECK(difference(quotient(x, all, elu_plus_one), [&](auto o) {
              rd::models::lion_lit.forward(rd::exec::simd,
                                           {channels(x.q), channels(x.k), values(x.v)}, o);
          }) <= bound);

    auto const distance = [&](rd::index i, rd::index j, rd::index h) {
        return std::exp(x.slopes[std::size_t(h)] * static_cast<double>(std::abs(i - j)));
    };
    CHECK(difference(quotient(x, distance, shifted_silu), [&](auto o) {
              rd::models::lion_d.forward(
                  rd::exec::simd, {channels(x.q), channels(x.k), values(x.v), heads(x.slopes)}, o);
          }) <= bound);

    // from the written token, with it, to the reader, without it
    auto const selective = [&](rd::index i, rd::index j, rd::index h) {
        double product = 1;
        for (rd::index s = j; s != i; s += j < i ? 1 : -1) product *= x.a_at(s, h);
        return product;
    };
    auto const gate = logs(x.a);
    CHECK(difference(quotient(x, selective, shifted_silu), [&](auto o) {
              rd::models::lion_s.forward(
                  rd::exec::simd, {channels(x.q), channels(x.k), values(x.v), tokens(gate)}, o);
          }) <= bound);
}

TEST_CASE("delta_net, gated_delta_net and kda: (I - beta k k^T) between two states") {
    sequence x("delta");
    normalize_keys(x);
    auto const scalar_gate = logs(x.a), vector_gate = logs(x.f);
    auto const run = [&](auto const& op, auto... rest) {
        return [&op, &x, rest...](auto o) {
            op.forward(rd::exec::simd, {channels(x.q), channels(x.k), values(x.v), rest...}, o);
        };
    };
    auto const decayed = [&](auto decay) {
        return recurrence(x, [&](matrix& s, rd::index t, rd::index h) {
            write(
                s, [&](rd::index d) { return decay(t, h, d); }, [](rd::index) { return 0.0; },
                [](rd::index) { return 0.0; });
            delta_write(s, x, t, h);
        });
    };
    auto const one = [](rd::index, rd::index, rd::index) { return 1.0; };
    auto const a = [&](rd::index t, rd::index h, rd::index) { return x.a_at(t, h); };
    auto const f = [&](rd::index t, rd::index h, rd::index d) { return x.f_at(t, h, d); };
    auto const beta = tokens(x.beta);
    CHECK(difference(decayed(one), run(rd::models::delta_net, beta)) <= bound);
    CHECK(difference(decayed(a), run(rd::models::gated_delta_net, tokens(scalar_gate), beta)) <=
          bound);
    CHECK(difference(decayed(f), run(rd::models::kda, channels(vector_gate), beta)) <= bound);
}

TEST_CASE("the slopes of RetNet and of TransNormerLLM") {
    doubles retention(40), lightning(8);
    rd::models::retention_slopes(retention);
    for (int h = 0; h < 40; ++h) {
        double const want = std::log1p(-std::exp2(-5 - h));
        CHECK(std::abs(retention[std::size_t(h)] / want - 1) <= 1e-15);
    }
    rd::models::lightning_slopes(lightning, 3, 12);
    for (int h = 0; h < 8; ++h) {
        double const lambda = std::exp(-8.0 * h / 8 * (1 - 3.0 / 12));
        CHECK(std::abs(std::exp(lightning[std::size_t(h)]) / lambda - 1) <= 1e-14);
    }
    constexpr auto made_early = [] {
        std::array<float, 4> gate{};
        rd::models::retention_slopes(gate);
        return gate;
    }();
    STATIC_REQUIRE(made_early[0] < made_early[1]);
    STATIC_REQUIRE(made_early[3] < 0);
}
