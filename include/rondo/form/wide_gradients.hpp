/// @file
/// Gradients that several passes add up and that their own memory is too narrow for.
#pragma once

#include <rondo/form/site.hpp>
#include <rondo/kernel/adjoint/chunk.hpp>

#include <algorithm>

namespace rondo::inline RONDO_ISA::detail {

/// Stands in for the 16-bit gradients of one head of one sequence while passes add to them, so that
/// each is rounded once.
///
/// Scratch: the accumulator's width for each element, and only with 16-bit gradients of several
/// passes.
template <class A>
class wide_gradients {
public:
    wide_gradients(arena& memory, adjoint_problem<A> const& call, index longest)
        : wanted_(call), longest_(longest) {
        problem<A> const& p = call.call;
        auto const passes = [&](auto const& has) {
            return std::count_if(p.passes.begin(), p.passes.end(), has);
        };
        bool const several_read = passes([](pass const& x) { return x.read; }) > 1;
        bool const several_written = passes([](pass const& x) { return x.write; }) > 1;
        reserve(memory, &adjoint_problem<A>::d_q, several_read, p.group(), p.channels());
        reserve(memory, &adjoint_problem<A>::d_k, several_written, 1, p.channels());
        reserve(memory, &adjoint_problem<A>::d_v, several_written, 1, p.width);
        if (p.what.decay != decay_kind::constant) {
            index const channels = p.what.per_channel() ? p.channels() : 1;
            reserve(memory, &adjoint_problem<A>::d_gate, several_written, 1, channels);
        }
        reserve(memory, &adjoint_problem<A>::d_beta, several_written, 1, 1);
    }

    /// Puts the wide gradients into the place of the narrow ones.
    void widen(adjoint_problem<A>& call, site<A> const& where) const noexcept {
        for (index i = 0; i < count_; ++i) call.*items_[i].member = seen(items_[i], where);
    }

    template <class L>
    void narrow(site<A> const& where) const noexcept {
        for (index i = 0; i < count_; ++i) {
            item const& x = items_[i];
            tensor const &to = wanted_.*x.member, from = seen(x, where);
            index const first = where.head * x.heads;
            for (index h = first; h < first + x.heads; ++h) {
                for (index t = where.first; t < where.first + where.length; ++t) {
                    auto const* values =
                        reinterpret_cast<A const*>(from.at(where.batch, h, t).data);
                    store_row<L>(to.at(where.batch, h, t), values, x.channels);
                }
            }
        }
    }

private:
    struct item {
        tensor adjoint_problem<A>::*member;
        index heads, channels;
        A* memory;
    };

    void reserve(arena& memory, tensor adjoint_problem<A>::*member, bool several, index heads,
                 index channels) noexcept {
        tensor const& x = wanted_.*member;
        if (!several || x.empty() || x.kind == element_traits<A>::kind) return;
        items_[count_++] = {member, heads, channels,
                            memory.template take<A>(heads * longest_ * channels)};
    }

    /// [heads, length, channels], addressed by the head and token that they stand for.
    tensor seen(item const& x, site<A> const& where) const noexcept {
        index const size = sizeof(A), time = x.channels * size, head = longest_ * time;
        auto* const data = reinterpret_cast<std::byte*>(x.memory);
        return {data - where.head * x.heads * head - where.first * time,
                0,
                head,
                time,
                size,
                element_traits<A>::kind};
    }

    adjoint_problem<A> const& wanted_;
    index longest_;
    item items_[5]{};
    index count_ = 0;
};

}  // namespace rondo::inline RONDO_ISA::detail
