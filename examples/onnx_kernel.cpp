// How a runtime registers LinearAttention: its own tensors, a kernel over them, a table of kernels.

#include <rondo/onnx.hpp>

#include <cstdio>
#include <functional>
#include <map>
#include <numeric>
#include <string>
#include <vector>

namespace {

// What any runtime has in some form: tensors with a type and a shape, nodes with attributes.
enum class type { float32, float16, bfloat16 };

struct tensor {
    ::type type = type::float32;
    std::vector<rondo::index> shape;
    std::vector<std::byte> bytes;
};

struct node {
    std::map<std::string, double> numbers;
    std::map<std::string, std::string> words;
    std::vector<tensor const*> inputs;  // null: left out
    std::vector<tensor*> outputs;

    double number(char const* name, double otherwise) const {
        auto const found = numbers.find(name);
        return found == numbers.end() ? otherwise : found->second;
    }
};

/// A tensor as a view: the only thing that the kernel adds to the runtime's own types.
template <int Rank, class To, class Tensor>
void view_of(To& to, Tensor* from) {
    if (from == nullptr) return;
    std::array<rondo::index, std::size_t(Rank)> extents{};
    std::copy(from->shape.begin(), from->shape.end(), extents.begin());
    auto const bind = [&]<class T>(T*) {
        using element = std::conditional_t<std::is_const_v<Tensor>, T const, T>;
        to = rondo::view<element, Rank>(reinterpret_cast<element*>(from->bytes.data()), extents);
    };
    switch (from->type) {
        case type::float32: bind(static_cast<float*>(nullptr)); break;
        case type::float16: bind(static_cast<Eigen::half*>(nullptr)); break;
        case type::bfloat16: bind(static_cast<Eigen::bfloat16*>(nullptr)); break;
    }
}

void linear_attention_kernel(node const& n) {
    auto const rule = n.words.find("update_rule");
    rondo::onnx::attributes const attributes{
        .q_num_heads = static_cast<rondo::index>(n.number("q_num_heads", 0)),
        .kv_num_heads = static_cast<rondo::index>(n.number("kv_num_heads", 0)),
        .update_rule = rule == n.words.end() ? "gated_delta" : rule->second.c_str(),
        .scale = static_cast<float>(n.number("scale", 0)),
        .chunk_size = static_cast<rondo::index>(n.number("chunk_size", 64))};

    auto const input = [&](std::size_t i) { return i < n.inputs.size() ? n.inputs[i] : nullptr; };
    rondo::onnx::inputs in;
    view_of<3>(in.query, input(0));
    view_of<3>(in.key, input(1));
    view_of<3>(in.value, input(2));
    view_of<4>(in.past_state, input(3));
    view_of<3>(in.decay, input(4));
    view_of<3>(in.beta, input(5));
    rondo::onnx::outputs out;
    view_of<3>(out.output, n.outputs[0]);
    view_of<4>(out.present_state, n.outputs.size() > 1 ? n.outputs[1] : nullptr);
    rondo::onnx::linear_attention(attributes, in,
                                  out);  // a refusal is an exception with a sentence
}

tensor ones(std::vector<rondo::index> const& shape, float value) {
    auto const count =
        std::accumulate(shape.begin(), shape.end(), rondo::index(1), std::multiplies<>());
    tensor t{type::float32, shape, std::vector<std::byte>(std::size_t(count) * sizeof(float))};
    auto* const values = reinterpret_cast<float*>(t.bytes.data());
    std::fill_n(values, count, value);
    return t;
}

}  // namespace

int main() {
    std::map<std::string, std::function<void(node const&)>> kernels;
    kernels["ai.onnx/LinearAttention/27"] = linear_attention_kernel;

    auto const query = ones({1, 3, 4}, 0.5F), value = ones({1, 3, 2}, 1),
               decay = ones({1, 3, 2}, -1);
    auto output = ones({1, 3, 2}, 0), present = ones({1, 2, 2, 1}, 0);
    node n{{{"q_num_heads", 2}, {"kv_num_heads", 2}},
           {{"update_rule", "gated"}},
           {&query, &query, &value, nullptr, &decay},
           {&output, &present}};
    kernels.at("ai.onnx/LinearAttention/27")(n);
    for (int i = 0; i < 6; ++i) {
        std::printf("%.4f ", static_cast<double>(reinterpret_cast<float*>(output.bytes.data())[i]));
    }
    std::puts("");

    n.inputs.pop_back();
    try {
        kernels.at("ai.onnx/LinearAttention/27")(n);
    } catch (rondo::shape_error const& refused) {
        std::puts(refused.what());
    }
}
