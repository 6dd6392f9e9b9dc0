/// @file
/// A tensor as lines, as kernels see it: neighbours of all lines in a row, so that the lanes of a
/// warp lie side by side whatever the shape.
#pragma once

#include <rondo/cuda/tile.cuh>
#include <rondo/detail/lines.hpp>

namespace rondo::inline RONDO_ISA::cuda {

using detail::max_axes;

/// The extents of a walk; std::array has no members for device code.
struct walk_space {
    index length, width, total;  // total: neighbours of all lines
    int axes;
    index extents[max_axes];

    explicit walk_space(detail::line_space const& from)
        : length(from.length),
          width(from.width),
          total(from.count() * from.width),
          axes(from.axes) {
        std::copy(from.extents.begin(), from.extents.end(), extents);
    }
};

/// One operand of a walk; strides in bytes.
struct walked {
    std::byte* data;
    element kind;
    index along, across, outer[max_axes];

    explicit walked(detail::lines const& from)
        : data(from.data), kind(from.kind), along(from.along), across(from.across) {
        std::copy(from.outer.begin(), from.outer.end(), outer);
    }

    /// Whether pairs of 16-bit neighbours are words of memory.
    bool pairs(walk_space const& space) const {
        bool whole = across == 2 && space.width % 2 == 0 && along % 4 == 0 &&
                     reinterpret_cast<std::uintptr_t>(data) % 4 == 0;
        for (int a = 0; a < space.axes; ++a) whole = whole && outer[a] % 4 == 0;
        return whole;
    }

    /// Where neighbour `number` of all begins.
    __device__ std::byte* begin(walk_space const& space, index number) const {
        if (data == nullptr) return nullptr;
        std::byte* at = data + number % space.width * across;
        index line = number / space.width;
        for (int a = space.axes - 1; a >= 0; --a) {
            at += line % space.extents[a] * outer[a];
            line /= space.extents[a];
        }
        return at;
    }
};

/// An element type that is known to the compiler, or, with Mixed, in each operand's own.
template <class A, element Kind, bool Mixed = false>
struct known_element {
    static constexpr bool narrow =
        !Mixed && (Kind == element::bfloat16 || Kind == element::float16);
    static __device__ element of(element kind) { return Mixed ? kind : Kind; }
};

/// visit(known_element) for tensors of these kinds.
template <class A, class Visit>
inline void with_elements(std::initializer_list<element> kinds, Visit const& visit) {
    element const first = *kinds.begin();
    bool const same =
        std::all_of(kinds.begin(), kinds.end(), [&](element k) { return k == first; });
    if constexpr (std::is_same_v<A, double>) {
        visit(known_element<double, element::float64>{});
    } else if (!same) {
        visit(known_element<float, element::float32, true>{});
    } else if (first == element::bfloat16) {
        visit(known_element<float, element::bfloat16>{});
    } else if (first == element::float16) {
        visit(known_element<float, element::float16>{});
    } else {
        visit(known_element<float, element::float32>{});
    }
}

/// `Count` neighbours of memory at once: two of 16 bits, or one of anything.
template <class A, int Count>
using raw_neighbours = std::conditional_t<Count == 2, unsigned, raw_element<A>>;
template <class A, int Count>
__device__ inline raw_neighbours<A, Count> load_neighbours(std::byte const* from, element kind) {
    if constexpr (Count == 2) {
        return *reinterpret_cast<unsigned const*>(from);
    } else {
        return load_raw<A>(from, kind);
    }
}
template <class A, int Count>
__device__ inline A neighbour(raw_neighbours<A, Count> const& both, int n, element kind) {
    if constexpr (Count == 2) {
        return widen<A>(n == 0 ? both & 0xFFFFU : both >> 16, kind);
    } else {
        return widen<A>(both, kind);
    }
}

/// The same, taken apart.
template <class A, int Count>
__device__ inline void load_raw(raw_element<A> (&to)[Count], std::byte const* from, element kind) {
    if constexpr (Count == 2) {
        unsigned const both = load_neighbours<A, Count>(from, kind);
        to[0] = both & 0xFFFFU, to[1] = both >> 16;
    } else {
        to[0] = load_raw<A>(from, kind);
    }
}
template <class A, int Count>
__device__ inline void store(std::byte* to, element kind, A const (&x)[Count]) {
    if constexpr (Count == 2) {
        unsigned const both =
            kind == element::bfloat16 ? pack<__nv_bfloat16>(x[0], x[1]) : pack<__half>(x[0], x[1]);
        *reinterpret_cast<unsigned*>(to) = both;
    } else {
        store<A>(to, kind, x[0]);
    }
}

/// exp and log to what float sums keep of them, or in full.
__device__ inline float quick_exp(float x) { return power_of_2(x * log2_of_e); }
__device__ inline double quick_exp(double x) { return exp(x); }
__device__ inline float quick_log(float x) { return __logf(x); }
__device__ inline double quick_log(double x) { return log(x); }

/// Threads of a block that walks lines: `lanes` neighbours, `slices` runs of tokens after each
/// other. Fewer lanes where there are few lines: a short row of a cache line still is a sector.
struct walk_block {
    static constexpr int threads = 256, run = 8;  // run: tokens of a slice
    static constexpr index enough = 264;          // blocks: two for each processor of a large chip
    int lanes, slices;
    unsigned blocks;

    /// `total` threads are wanted side by side.
    walk_block(index total, index length, int most_slices) {
        lanes = warp_size;
        while (lanes > 8 && total / lanes < enough) lanes /= 2;
        index const runs = std::max<index>((length + run - 1) / run, 1);
        slices = int(std::min<index>(runs, std::min(threads / lanes, most_slices)));
        blocks = unsigned((total + lanes - 1) / lanes);
    }
    dim3 shape() const { return {unsigned(lanes), unsigned(slices)}; }
};

}  // namespace rondo::inline RONDO_ISA::cuda
