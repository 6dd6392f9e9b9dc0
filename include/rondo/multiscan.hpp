/// @file
/// One operator along several paths over a grid, summed or averaged in grid order: what a
/// multiplicative decay needs to see the whole grid, and the rival of the single additive scan.
#pragma once

#include <rondo/attention.hpp>
#include <rondo/path.hpp>

namespace rondo::inline RONDO_ISA {

/// How `multiscan` joins its paths; with normalize::sum numerators and denominators are joined
/// first.
namespace merge {

struct sum_t {};
inline constexpr sum_t sum{};
struct mean_t {};
inline constexpr mean_t mean{};

}  // namespace merge

namespace detail {

template <class P>
inline constexpr bool is_merge =
    std::is_same_v<P, merge::sum_t> || std::is_same_v<P, merge::mean_t>;

/// How many paths a policy of multiscan stands for.
template <class P>
constexpr std::size_t path_count() noexcept {
    if constexpr (some_path<P>) {
        return P::steps.size();
    } else {
        return 0;
    }
}

}  // namespace detail

/// An operator along paths, made by `multiscan(op, paths...)`. Tokens are read in place through the
/// path's order, nothing is gathered.
///
/// Scratch: a table of T offsets for the column paths, besides that of the operator.
template <detail::composition What, bool Mean, class... Paths>
class multiscan_t {
public:
    /// Shapes: as attention's, with T the size of `tokens`. Errors: shape_error.
    template <class Place, int Rank, class T>
    void forward(Place const& place, grid<Rank> const& tokens,
                 std::type_identity_t<inputs<What, accumulator_t<T>>> const& in,
                 view<T, 4> const& o, detail::stateless_options const& with = {}) const {
        auto call = detail::check_call<What, T, false>("multiscan", in, o, with);
        check_grid("multiscan", call, tokens);
        detail::take_places<What>("multiscan", call, places_on(tokens, with.at));
        std::array<std::vector<index>, count> orders;
        std::array<detail::pass, 2 * count> passes;
        std::span<detail::pass> const used = route(tokens, orders, passes);
        detail::merge(used);
        call.passes = used;
        if (Mean) average(call);
        detail::dispatch<What>(place, call);
    }

    /// The gradients of sum(d_o * o), over all paths together; as attention's backward, without
    /// states.
    template <class Place, int Rank, class T>
    void backward(Place const& place, grid<Rank> const& tokens,
                  std::type_identity_t<inputs<What, accumulator_t<T>>> const& in,
                  view<T, 4> const& d_o,
                  std::type_identity_t<gradients<What, accumulator_t<T>>> const& to,
                  detail::stateless_gradient_options<accumulator_t<T>> const& with = {}) const {
        using A = accumulator_t<T>;
        auto call = detail::check_backward<What, A>("multiscan backward", in,
                                                    detail::operand<A, 4>(d_o), to, with);
        check_grid("multiscan backward", call.call, tokens);
        detail::take_places<What>("multiscan backward", call.call, places_on(tokens, with.at));
        std::array<std::vector<index>, count> orders;
        std::array<detail::pass, 2 * count> passes;
        call.call.passes = route(tokens, orders, passes);
        if (Mean) average(call.call);
        detail::dispatch_backward<What>(place, call);
    }

private:
    static constexpr std::size_t count = (detail::path_count<Paths>() + ... + 0);

    template <class A, int Rank>
    static void check_grid(char const* name, detail::problem<A> const& call,
                           grid<Rank> const& tokens) {
        detail::expect_extent(name, "q", "time", call.length, tokens.size(),
                              "the size of the grid");
        if (!call.offsets.empty()) {
            detail::refuse(name, {"packed sequences have ", call.offsets.size(),
                                  " offsets, expected a grid of one length (0 offsets)"});
        }
    }

    /// Fused positions are those on the grid itself, whatever the path.
    template <int Rank>
    static position::places places_on(grid<Rank> const& tokens, position::places at) {
        if constexpr (What.turned) at.grid = tokens;
        return at;
    }

    /// The passes of every path, one after the other.
    template <int Rank>
    static std::span<detail::pass> route(grid<Rank> const& tokens,
                                         std::array<std::vector<index>, count>& orders,
                                         std::array<detail::pass, 2 * count>& passes) {
        constexpr auto steps = all_steps();
        auto const base = detail::passes_of(What);
        std::size_t used = 0;
        for (std::size_t s = 0; s < count; ++s) {
            if (steps[s].kind != detail::path_kind::raster) {
                orders[s] = detail::order_of(steps[s].kind, tokens);
            }
            for (std::size_t p = 0; p < base.count; ++p) {
                passes[used] = base.items[p];
                passes[used].order = orders[s].empty() ? nullptr : orders[s].data();
                passes[used].reversed ^= steps[s].reversed;
                ++used;
            }
        }
        return {passes.data(), used};
    }

    static constexpr auto all_steps() noexcept {
        std::array<detail::path_step, count> steps{};
        std::size_t at = 0;
        auto const append = [&]<class P>(P) {
            if constexpr (detail::some_path<P>) {
                for (detail::path_step const& step : P::steps) steps[at++] = step;
            }
        };
        (append(Paths{}), ...);
        return steps;
    }

    /// (sum n / P) / (sum d / P + eps) = sum n / (sum d + P eps)
    template <class A>
    static void average(detail::problem<A>& call) noexcept {
        if (What.normalized) {
            call.eps *= A(count);
        } else {
            call.scale /= A(count);
        }
    }
};

/// Runs `op` along each path; takes path::... (any number, sets too) and merge::sum (default) or
/// merge::mean.
template <detail::composition What, class... Policies>
consteval auto multiscan(attention_t<What>, Policies...) {
    constexpr bool known = ((detail::some_path<Policies> || detail::is_merge<Policies>)&&...) &&
                           (detail::path_count<Policies>() + ... + 0) > 0;
    static_assert(known,
                  "rondo::multiscan accepts an operator and at least one path: path::raster, "
                  "raster_reversed, column, column_reversed, snake, snake_column, hilbert, cross; "
                  "and merge::sum or merge::mean");
    constexpr bool mean = (std::is_same_v<Policies, merge::mean_t> || ...);
    return multiscan_t<What, mean, Policies...>{};
}

}  // namespace rondo::inline RONDO_ISA
