/// @file
/// Sizes and arguments of the kernel that makes the gradients of one chunk (token_products.cuh).
#pragma once

#include <rondo/cuda/chunk_shape.cuh>

namespace rondo::inline RONDO_ISA::cuda {

/// What the kernel is given; queries and keys have as many heads.
struct token_call {
    call<float> c;  // its output is the gradient handed in
    tensor d_q, d_k, d_v, d_gate;
    std::byte const *states, *d_states;  // [key head, slot, column, channel], of chunk_keep.cuh
    index slots, columns, depth;
    float* constant;  // [key head, slot]: of the gradient of a gate of all tokens
};

/// Of the warps that share 16 rows each takes a part of the columns.
template <int Side>
struct token_product_shape : chunk_shape<__nv_bfloat16, weighing::token, Side, 16, 8> {
    using base = chunk_shape<__nv_bfloat16, weighing::token, Side, 16, 8>;
    static constexpr int carried = 1;
    static constexpr int side = Side, strips = base::rows / 16, parts = base::warps / strips;
    static constexpr int columns = Side / parts;
    static constexpr int state_bytes = Side * Side * 2, squares = strips * (strips + 1) / 2;
    static constexpr int resident = Side > 64 ? 2 : 4;
    /// What a chunk's rows add to the gradients of log decays.
    struct terms {
        float queries[parts][base::rows], keys[parts][base::rows];  // from the states
        float pairs[base::rows][strips];  // of the chunk, by block of the other token
        float over[base::warps];          // <S, dS>
    };
    static constexpr int square_bytes = 2 * squares * square<__nv_bfloat16>::bytes;
    static __host__ __device__ constexpr int tile_bytes(bool) {
        return 4 * base::depth_bytes + state_bytes + square_bytes + int(sizeof(terms));
    }
};

}  // namespace rondo::inline RONDO_ISA::cuda
