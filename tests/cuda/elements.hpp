#pragma once

// Operators on single tensors, on the device against the processor in double: tables made by nvcc.

#include <functional>
#include <string>
#include <vector>

namespace device {

/// What a call on the device gave: the largest errors of its outputs, with the bound of each.
struct finding {
    std::string what;
    double error, bound;
    bool gaps_intact;
};

/// A family of calls with random operands.
struct element_cases {
    std::string name;
    std::function<std::vector<finding>()> run;
};

std::vector<element_cases> const& scan_cases();
std::vector<element_cases> const& position_cases();
std::vector<element_cases> const& fused_cases();
std::vector<element_cases> const& fused_gradient_cases();

}  // namespace device
