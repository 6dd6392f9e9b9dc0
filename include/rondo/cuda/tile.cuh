/// @file
/// Tiles of 16-bit values in shared memory and the tensor core instructions on them; nothing else
/// names those. Compute capability 8.0 and newer.
#pragma once

#include <rondo/cuda/rows.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// A product of 16 x 16 and 16 x 8: lane l holds rows l / 4 and l / 4 + 8 of the left operand and
/// of the sum, in each the columns 2 (l % 4) + {0, 1} (+ 8 for the operand), and the column l / 4
/// of the right operand.
struct left_operand {
    unsigned x[4];
};
struct right_operand {
    unsigned x[2];
};
using sum_tile = float[4];

template <class T>
__device__ inline void multiply_add(sum_tile& c, left_operand const& a, right_operand const& b) {
    if constexpr (std::is_same_v<T, __nv_bfloat16>) {
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
            "{%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a.x[0]), "r"(a.x[1]), "r"(a.x[2]), "r"(a.x[3]), "r"(b.x[0]), "r"(b.x[1]));
    } else {
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
            "{%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a.x[0]), "r"(a.x[1]), "r"(a.x[2]), "r"(a.x[3]), "r"(b.x[0]), "r"(b.x[1]));
    }
}

/// Two values in one register, the first in the lower half.
template <class T>
__device__ inline unsigned pack(float first, float second) {
    unsigned both;
    if constexpr (std::is_same_v<T, __nv_bfloat16>) {
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
    } else {
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
    }
    return both;
}
template <class T>
__device__ inline float2 unpack(unsigned both) {
    if constexpr (std::is_same_v<T, __nv_bfloat16>) {
        return {__uint_as_float(both << 16), __uint_as_float(both & 0xFFFF0000U)};
    } else {
        return __half22float2(*reinterpret_cast<__half2 const*>(&both));
    }
}

/// The larger of each of two pairs.
template <class T>
__device__ inline unsigned larger(unsigned a, unsigned b) {
    unsigned result;
    if constexpr (std::is_same_v<T, __nv_bfloat16>) {
        asm("max.bf16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
    } else {
        asm("max.f16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
    }
    return result;
}

/// The transpose of 8 x 8 values: lane l holds columns 2 (l % 4) + {0, 1} of row l / 4.
__device__ inline unsigned transposed(unsigned x) {
    unsigned result;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(x));
    return result;
}

inline constexpr float log2_of_e = 1.44269504F;

/// 2^x to 2 units in the last place; 0 below the smallest normal number.
__device__ inline float power_of_2(float x) {
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
}

/// 1 / x to 1 unit in the last place.
__device__ inline float reciprocal(float x) {
    float result;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
}

/// 16 bytes of shared memory.
__device__ inline uint4 get_quad(unsigned from) {
    uint4 x;
    asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
                 : "r"(from));
    return x;
}

/// Rows of `Columns` values in shared memory. Pieces of 16 bytes are permuted within a row by its
/// number, so that neither rows nor columns of 8 pieces meet in a bank.
template <class T, int Columns>
struct tile {
    static_assert(Columns % 64 == 0);
    static constexpr int row_bytes = Columns * 2;
    unsigned base;  // address in shared memory, a multiple of 1024

    /// Address of the piece with the columns [8 piece, 8 piece + 8).
    __device__ unsigned at(int row, int piece) const {
        return base + unsigned(row * row_bytes + ((piece ^ (row & 7)) << 4));
    }

    /// Rows [row, row + 16), columns [16 step, 16 step + 16) as a left operand.
    __device__ left_operand left(int row, int step, int lane) const {
        left_operand a;
        load4(a.x, step_of(rows_across(lane), step) + unsigned(row * row_bytes));
        return a;
    }
    /// The transpose of rows [16 step, 16 step + 16), columns [16 block, ..) as a left operand.
    __device__ left_operand left_transposed(int block, int step, int lane) const {
        left_operand a;
        load4_transposed(a.x,
                         step_of(columns_across(lane), block) + unsigned(16 * step * row_bytes));
        return a;
    }
    /// The transpose of rows [row, row + 16), columns [16 step, ..) as two right operands.
    __device__ void right_transposed(right_operand (&b)[2], int row, int step, int lane) const {
        unsigned x[4];
        load4(x, step_of(columns_across(lane), step) + unsigned(row * row_bytes));
        b[0] = {x[0], x[1]};
        b[1] = {x[2], x[3]};
    }
    /// Rows [16 step, ..), columns [16 block, ..) as two right operands.
    __device__ void right(right_operand (&b)[2], int block, int step, int lane) const {
        unsigned x[4];
        load4_transposed(x, step_of(rows_across(lane), block) + unsigned(16 * step * row_bytes));
        b[0] = {x[0], x[1]};
        b[1] = {x[2], x[3]};
    }

    /// Leaves a lane's pairs of a sum of 16 x 16: rows [row, row + 16), columns [16 block, ..);
    /// `half`: of the upper or lower 8 rows.
    __device__ void set_sums(int row, int block, int half, int lane, unsigned left,
                             unsigned right) const {
        unsigned const first = base + unsigned(lane / 4 * (row_bytes + 16) + lane % 4 * 4);
        unsigned const rows = unsigned((row + 8 * half) * row_bytes);
        put(step_of(first, block) + rows, left);
        put(step_of(first ^ 16U, block) + rows, right);
    }

    /// The columns [8 piece, 8 piece + 8) of a row.
    __device__ uint4 get_piece(int row, int piece) const { return get_quad(at(row, piece)); }
    __device__ void set_piece(int row, int piece, uint4 const& x) const {
        asm volatile("st.shared.v4.b32 [%0], {%1,%2,%3,%4};"
                     :
                     : "r"(at(row, piece)), "r"(x.x), "r"(x.y), "r"(x.z), "r"(x.w)
                     : "memory");
    }

    /// A pair of columns in rows from a multiple of 8 on: of rows that the compiler knows,
    /// addresses are one exclusive or away.
    struct column {
        unsigned first;
        __device__ unsigned get(int row) const { return tile::get(at(row)); }
        __device__ void set(int row, unsigned x) const { put(at(row), x); }

    private:
        __device__ unsigned at(int row) const {
            return (first ^ unsigned((row & 7) << 4)) + unsigned(row * row_bytes);
        }
    };
    __device__ column column_from(int row, int pair) const { return {address(row, pair)}; }

    /// The pair of columns [2 pair, 2 pair + 2) of a row.
    __device__ unsigned address(int row, int pair) const {
        return at(row, pair / 4) + unsigned(pair % 4 * 4);
    }
    __device__ unsigned get(int row, int pair) const { return get(address(row, pair)); }
    __device__ void set(int row, int pair, unsigned x) const { put(address(row, pair), x); }

private:
    template <class>
    friend struct square;

    // Where a lane's piece of 16 x 16 elements is, in the first rows and columns. Those of other
    // columns are one exclusive or away, those of other rows a constant: bases are multiples of
    // 1024.
    __device__ unsigned rows_across(int lane) const { return at(lane % 16, lane / 16); }
    __device__ unsigned columns_across(int lane) const {
        return at(lane % 8 + lane / 16 * 8, lane / 8 % 2);
    }
    static __device__ unsigned step_of(unsigned first, int step) {
        return first ^ unsigned(step << 5);
    }

    static __device__ unsigned get(unsigned from) {
        unsigned x;
        asm volatile("ld.shared.b32 %0, [%1];" : "=r"(x) : "r"(from));
        return x;
    }
    static __device__ void put(unsigned to, unsigned x) {
        asm volatile("st.shared.b32 [%0], %1;" : : "r"(to), "r"(x) : "memory");
    }
    static __device__ void load4(unsigned (&x)[4], unsigned from) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                     : "r"(from)
                     : "memory");
    }
    static __device__ void load4_transposed(unsigned (&x)[4], unsigned from) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                     : "r"(from)
                     : "memory");
    }
};

/// 16 x 16 values in shared memory, their halves of rows permuted as the pieces of a tile are.
template <class T>
struct square {
    static constexpr int bytes = 512;
    unsigned base;

    __device__ left_operand left(int lane) const {
        left_operand a;
        tile<T, 64>::load4(a.x, at(lane % 16, lane / 16));
        return a;
    }
    __device__ left_operand left_transposed(int lane) const {
        left_operand a;
        tile<T, 64>::load4_transposed(a.x, at(lane % 8 + lane / 16 * 8, lane / 8 % 2));
        return a;
    }
    /// Leaves a lane's sums of both halves of columns.
    __device__ void set_sums(int lane, sum_tile const (&sums)[2]) const {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            float const* const both = sums[i / 2] + i % 2 * 2;
            tile<T, 64>::put(at(lane / 4 + i % 2 * 8, i / 2) + unsigned(lane % 4 * 4),
                             pack<T>(both[0], both[1]));
        }
    }

private:
    __device__ unsigned at(int row, int half) const {
        return base + unsigned(row * 32 + ((half ^ (row >> 2 & 1)) << 4));
    }
};

/// The same number, of which the compiler knows no more than that it is not below 0: addresses made
/// from it are made again and do not take registers from one product to the next.
__device__ inline int anew(int x) {
    asm volatile("" : "+r"(x));
    __builtin_assume(x >= 0);
    return x;
}

/// Copies 16 bytes to shared memory behind the thread's back, or writes zeros.
__device__ inline void copy_ahead(unsigned to, std::byte const* from, bool present) {
    int const bytes = present ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(to), "l"(from), "r"(bytes)
                 : "memory");
}
/// Leaves a pair in device memory, where this kernel does not read it, or nothing.
__device__ inline void store_if(bool present, std::byte* to, unsigned x) {
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %2, 0; @p st.global.b32 [%0], %1; }"
                 :
                 : "l"(to), "r"(x), "r"(int(present)));
}
/// Leaves neighbours in device memory, or nothing.
__device__ inline void store_if(bool present, std::byte* to, unsigned const (&x)[2]) {
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %3, 0; @p st.global.v2.b32 [%0], {%1,%2}; }"
                 :
                 : "l"(to), "r"(x[0]), "r"(x[1]), "r"(int(present))
                 : "memory");
}
__device__ inline void store_if(bool present, std::byte* to, unsigned const (&x)[4]) {
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %5, 0; @p st.global.v4.b32 [%0], {%1,%2,%3,%4}; }"
                 :
                 : "l"(to), "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(int(present))
                 : "memory");
}
/// Neighbours in device memory, or what they are without.
__device__ inline void load_if(bool present, std::byte const* from, float2& x) {
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %3, 0; @p ld.global.v2.f32 {%0,%1}, [%2]; }"
                 : "+f"(x.x), "+f"(x.y)
                 : "l"(from), "r"(int(present))
                 : "memory");
}
__device__ inline void wait_for_copies() { asm volatile("cp.async.wait_all;" : : : "memory"); }

/// Brings a line of memory to the second cache.
__device__ inline void prefetch(float const* from) {
    asm volatile("prefetch.global.L2 [%0];" : : "l"(from));
}

__device__ inline unsigned shared_address(void const* x) {
    return static_cast<unsigned>(__cvta_generic_to_shared(x));
}

/// A thread's pieces of 16 bytes of a square tile of 16-bit elements.
template <int Side, int Threads>
struct own_pieces {
    static constexpr int across = Side / 8, count = Side * across / Threads;

    /// visit(number, row, piece)
    template <class Visit>
    static __device__ void each(Visit const& visit) {
#pragma unroll
        for (int i = 0; i < count; ++i) {
            visit(i, int(threadIdx.x) / across + i * (Threads / across), int(threadIdx.x) % across);
        }
    }
};

}  // namespace rondo::inline RONDO_ISA::cuda
