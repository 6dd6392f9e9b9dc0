/// @file
/// `backward` on tensor cores. The gradients of an outer update are outer updates themselves, with
/// the same weights w(i, j) of one log decay a token:
///
///     dq_i = scale sum_j w(i, j) (d_o_i . v_j) k_j      forward of (d_o, v, k)
///     dk_j = scale sum_i w(i, j) (v_j . d_o_i) q_i      of (v, d_o, q), walked back
///     dv_j = scale sum_i w(i, j) (k_j . q_i) d_o_i      of (k, q, d_o), walked back
///
/// so that the chunkwise kernel computes them. Walked back, the decay that counted for the reader
/// counts for what is written: the placement is the other one.
///
/// The gradient of a log decay is the sum over all pairs (j, i) between which it lies. The first
/// two calls leave, in float and before rounding, q_i . dq_i and k_j . dk_j, their parts from the
/// state and from the own chunk apart, and <S, dS> over each chunk. Pairs that reach out of a chunk
/// are then added up without any that do not count; those within it cancel exactly where they do
/// not, for their scores are rounded the same way on both sides.
#pragma once

#include <rondo/cuda/adjoint/decays.cuh>
#include <rondo/cuda/adjoint/generic.cuh>
#include <rondo/cuda/adjoint/states.cuh>
#include <rondo/cuda/adjoint/token.cuh>
#include <rondo/cuda/chunk_launch.cuh>
#include <rondo/detail/passes.hpp>

namespace rondo::inline RONDO_ISA::cuda {

/// What the gradients of log decays are made of, [.., parts] each.
struct decay_terms {
    float2 const *readers, *keys;  // parts from the state, and all
    float const* over;             // <S, dS> over each chunk
    index parts, slots, group;
    index over_of_reader, keys_of_reader;  // from one query head's to the next's of a group
};

/// A warp takes a chunk of one key/value head, two tokens a lane. For on_read
///
///     d log f_t = <S, dS> + sum_(i >= t) q_i dq_i (state) + sum_(j < t) k_j dk_j (state)
///                 + sum_(s >= t) (q_s dq_s - k_s dk_s) (chunk).
///
/// Of a constant gate it leaves the chunk's sum.
static __global__ void sum_token_decays(call<float> const __grid_constant__ c,
                                        decay_terms const terms, tensor const d_gate,
                                        float* constant) {
    index const item = (index(blockIdx.x) * blockDim.x + threadIdx.x) / warp_size;
    index const unit = item / terms.slots, slot = item % terms.slots;
    int const lane = threadIdx.x % warp_size;
    if (unit >= c.sequences * c.heads) return;
    location const where(c, unit / c.heads, unit % c.heads * c.group);
    index const first = slot * anchor_step;
    auto const sum = [&](float2 const* from, index at) {
        float2 all{0, 0};
        for (index part = 0; part < terms.parts; ++part) {
            float2 const x = from[at * terms.parts + part];
            all.x += x.x, all.y += x.y;
        }
        return all;
    };
    chunk_decays decays{};
    for (int i = 0; i < 2; ++i) {
        index const place = first + 2 * lane + i;
        decays.known[i] = place < where.length;
        if (!decays.known[i]) continue;
        index const token = decays.tokens[i] = token_at(c.passes[0], place, where.length);
        decays.gates[i] = load<float>(where.key_side(c.gate, token), c.gate.kind);
        index const row = where.batch * c.length + where.first + token;
        for (index g = 0; g < terms.group; ++g) {
            float2 const q = sum(terms.readers, row * c.query_heads + where.query_head + g);
            float2 const k = sum(terms.keys + g * terms.keys_of_reader, row * c.heads + where.head);
            decays.up_to[i] += q.x + ((q.y - q.x) - (k.y - k.x));
            decays.behind[i] += k.x;
        }
    }
    for (index g = 0; first < where.length && g < terms.group; ++g) {
        float const* const from = terms.over + g * terms.over_of_reader;
        for (index part = 0; part < terms.parts; ++part) {
            decays.over += from[(unit * terms.slots + slot) * terms.parts + part];
        }
    }
    decays.leave(c, where, d_gate, constant == nullptr ? nullptr : constant + item);
}

/// The three calls of one `backward`.
///
/// Scratch: outputs in float where several query heads or passes add up to one; with the gradient
/// of a gate a state in bfloat16 for every 64 tokens.
/// A is float; it is a parameter so that only programs with gradients compile what they launch.
template <class A>
class mirrored_adjoint {
    using problem = detail::problem<A>;
    using carried = detail::carried<A>;

public:
    mirrored_adjoint(cudaStream_t stream, detail::adjoint_problem<A> const& from)
        : stream_(stream), from_(from), p_(from.call), passes_(p_.passes.begin(), p_.passes.end()) {
        detail::merge(passes_);
    }

    /// Whether the chunkwise kernel takes all that is wanted.
    bool fits() const {
        auto const& what = p_.what;
        bool const token = what.decay == decay_kind::none || what.decay == decay_kind::constant ||
                           what.decay == decay_kind::scalar;
        bool const plain = token && !what.delta && !what.normalized && !p_.k.ones &&
                           what.feature == feature_kind::identity;
        // What is handed in is divided by the scale.
        if (!plain || (from_.d_out.s != nullptr && p_.scale == 0)) return false;
        bool const gates = from_.wants_gate(), states = !from_.d_in.empty();
        // The gates' terms come with the outputs, and the state's gradient with the values'.
        if (gates && (from_.d_q.empty() || from_.d_k.empty() || passes_.size() > 1)) return false;
        if (gates && std::max(p_.depth, p_.width) > widest_heavy_depth) return false;
        if (states && (from_.d_v.empty() || p_.group() > 1)) return false;
        bool const paths = std::any_of(passes_.begin(), passes_.end(),
                                       [](pass const& x) { return x.order != nullptr; });
        if (paths || passes_.size() > std::size_t(most_passes)) return false;
        auto const fast = [&](tensor const& wanted, problem const& call) {
            return wanted.empty() || chunks_fast(call);
        };
        return fast(from_.d_q, of_queries(nullptr)) && fast(from_.d_k, of_keys(0, nullptr)) &&
               fast(from_.d_v, of_values(0, nullptr));
    }

    /// Bytes of device memory at its fullest.
    std::size_t scratch_bytes() const {
        mirrored_adjoint planned = *this;
        planned.plan();
        std::size_t most = prepared<float>::scratch_bytes(p_, 1);
        planned.for_each_call({}, [&](which wanted, index, problem const& call) {
            auto const count = [&]<class Shape>(Shape) {
                most = std::max(most, chunk_launch<Shape>(nullptr, call).scratch_bytes(call));
            };
            gates() && wanted != which::values ? with_marks(call, count)
                                               : with_chunk_shape(call, count);
        });
        return planned.bytes_.bytes + most;
    }

    void operator()() {
        plan();
        scratch const memory(stream_, bytes_.bytes);
        adjoint_states const states(stream_, p_);
        handed with{};
        if (p_.in.s != nullptr) {
            states.transpose(p_.in.s, with.turned_in = memory.at<float>(turned_in_at_), 1);
        }
        if (float const* const d_out = from_.d_out.s; d_out != nullptr) {
            float const factor = 1 / p_.scale;
            states.scale(d_out, with.d_out = memory.at<float>(d_out_at_), factor);
            states.transpose(d_out, with.turned_d_out = memory.at<float>(turned_d_out_at_), factor);
        }
        auto* const rows = group() > 1 ? memory.at<float>(rows_at_) : nullptr;
        for_each_call(with, [&](which wanted, index g, problem const& call) {
            chunk_marks marks;
            marks.slots = slots_;
            if (gates() && wanted == which::queries) {
                marks.beside = p_.q;
                marks.products = memory.at<float2>(readers_at_);
                marks.states = memory.at<uint4>(states_at_);
            } else if (gates() && wanted == which::keys) {
                marks.beside = p_.k;
                marks.products = memory.at<float2>(keys_at_) + g * keys_;
                marks.states = memory.at<uint4>(states_at_);
                marks.contractions = memory.at<float>(anchors_at_) + g * anchors_;
            }
            compute(call, marks, wanted == which::queries ? nullptr : rows);
        });
        if (gates()) sum_gates(memory);
        if (from_.d_in.s != nullptr) states.scale(from_.d_in.s, from_.d_in.s, p_.scale);
    }

private:
    bool gates() const { return from_.wants_gate(); }
    index group() const { return p_.group(); }

    enum class which : unsigned char { queries, keys, values };

    /// What the calls start from; those of d_q and d_k have states with their axes exchanged.
    struct handed {
        float *turned_in, *d_out, *turned_d_out;
    };
    static carried state(float* s) {
        carried result;
        result.s = s;
        return result;
    }

    /// visit(whose gradients, of which reader of a group, the call), in order.
    template <class Visit>
    void for_each_call(handed const& with, Visit const& visit) {
        if (!from_.d_q.empty()) visit(which::queries, index(0), of_queries(with.turned_in));
        for (index g = 0; g < group() && !from_.d_k.empty(); ++g) {
            add_up(g);
            visit(which::keys, g, of_keys(g, g == 0 ? with.turned_d_out : nullptr));
        }
        for (index g = 0; g < group() && !from_.d_v.empty(); ++g) {
            add_up(g);
            visit(which::values, g, of_values(g, g == 0 ? with.d_out : nullptr));
        }
    }

    /// The call whose readers are those of the forward pass.
    problem of_queries(float* in) const {
        problem call = p_;
        call.q = p_.o, call.k = p_.v, call.v = p_.k, call.o = from_.d_q;
        call.in = state(in), call.out = {};
        std::swap(call.depth, call.width);
        call.passes = passes_;
        return call;
    }
    problem of_keys(index g, float* d_out) const {
        problem call = walked_back();
        call.q = p_.v, call.k = part(p_.o, g), call.v = part(p_.q, g), call.o = from_.d_k;
        call.in = state(d_out);
        std::swap(call.depth, call.width);
        return call;
    }
    problem of_values(index g, float* d_out) const {
        problem call = walked_back();
        call.q = p_.k, call.k = part(p_.q, g), call.v = part(p_.o, g), call.o = from_.d_v;
        call.in = state(d_out);
        if (g == 0) call.out = state(from_.d_in.s);
        return call;
    }
    problem walked_back() const {
        problem call = p_;
        call.what.on_write = !p_.what.on_write;
        call.query_heads = p_.heads;
        call.passes = back_;
        call.in = call.out = {};
        return call;
    }

    /// The query heads that are the g-th readers of their key/value heads.
    tensor part(tensor x, index g) const {
        x.data += g * x.head;
        x.head *= group();
        return x;
    }

    /// The passes back, of a call that adds to those of the query heads before.
    void add_up(index g) {
        back_ = passes_;
        for (pass& p : back_) {
            p.reversed = !p.reversed;
            p.accumulate = p.accumulate || g > 0;
            p.finish = p.finish && g + 1 == group();
        }
    }

    void plan() {
        index longest = 0;
        for (index s = 0; s < p_.sequences; ++s) longest = std::max(longest, p_.length_of(s));
        slots_ = (longest + anchor_step - 1) / anchor_step;
        index const tokens = (p_.offsets.empty() ? p_.sequences : 1) * p_.length;
        index const units = p_.sequences * p_.heads, state = adjoint_states(stream_, p_).size();
        auto const take = [&](index floats, bool needed) {
            return bytes_.take(needed ? std::size_t(floats) * sizeof(float) : 0);
        };
        turned_in_at_ = take(state, p_.in.s != nullptr);
        d_out_at_ = take(state, from_.d_out.s != nullptr);
        turned_d_out_at_ = take(state, from_.d_out.s != nullptr);
        rows_at_ = take(tokens * p_.heads * std::max(p_.depth, p_.width), group() > 1);
        if (!gates()) return;
        with_marks(of_queries(nullptr), [&]<class Shape>(Shape) {
            index const tiles = (p_.depth + Shape::width - 1) / Shape::width;
            parts_ = tiles * Shape::warps;
            states_ = units * slots_ * tiles * Shape::width * Shape::depth / 2;
        });
        keys_ = tokens * p_.heads * parts_;
        anchors_ = units * slots_ * parts_;
        readers_at_ = take(2 * group() * keys_, true);
        keys_at_ = take(2 * group() * keys_, true);
        anchors_at_ = take(group() * anchors_, true);
        states_at_ = take(states_, true);
        constant_at_ = take(units * slots_, p_.what.decay == decay_kind::constant);
    }

    /// visit(the shape of the calls that leave marks)
    template <class Visit>
    static void with_marks(problem const& call, Visit const& visit) {
        call.o.kind == element::bfloat16
            ? with_extents<__nv_bfloat16, weighing::token, true>(call, visit)
            : with_extents<__half, weighing::token, true>(call, visit);
    }

    void compute(problem const& call, chunk_marks const& marks, float* rows) const {
        auto const launch = [&]<class Shape>(Shape) {
            chunk_launch<Shape>(stream_, call)(call, {marks, rows});
        };
        marks.products != nullptr ? with_marks(call, launch) : with_chunk_shape(call, launch);
    }

    void sum_gates(scratch const& memory) const {
        decay_terms const terms{memory.at<float2>(readers_at_),
                                memory.at<float2>(keys_at_),
                                memory.at<float>(anchors_at_),
                                parts_,
                                slots_,
                                group(),
                                anchors_,
                                keys_};
        bool const constant = p_.what.decay == decay_kind::constant;
        auto* const parts = constant ? memory.at<float>(constant_at_) : nullptr;
        prepared<float> ready(stream_, p_, 1);
        ready.for_each_launch([&](call<float> const& c) {
            index const items = p_.sequences * p_.heads * slots_ * warp_size;
            sum_token_decays<<<blocks(items), threads, 0, stream_>>>(c, terms, from_.d_gate, parts);
            expect("launch of sum_token_decays", cudaGetLastError());
        });
        if (!constant) return;
        sum_constant_gate<<<unsigned(p_.heads), threads, 0, stream_>>>(
            parts, p_.sequences, p_.heads, slots_, from_.d_gate);
        expect("launch of sum_constant_gate", cudaGetLastError());
    }

    static constexpr int threads = 256;
    static unsigned blocks(index items) { return unsigned((items + threads - 1) / threads); }

    cudaStream_t stream_;
    detail::adjoint_problem<A> const& from_;
    problem const& p_;
    std::vector<pass> passes_, back_;
    layout bytes_;
    index slots_ = 0, parts_ = 0, keys_ = 0, anchors_ = 0, states_ = 0;
    std::size_t turned_in_at_ = 0, d_out_at_ = 0, turned_d_out_at_ = 0, rows_at_ = 0,
                readers_at_ = 0, keys_at_ = 0, anchors_at_ = 0, states_at_ = 0, constant_at_ = 0;
};

}  // namespace rondo::inline RONDO_ISA::cuda
