#pragma once

// Every operator's `backward`, as plain functions on the oracle's structs.

#include "oracle/gradient.hpp"
#include "support/subject.hpp"

namespace support {

/// What `backward` is asked for besides the forward call.
struct gradient_call {
    oracle::values d_o;
    oracle::state d_out;
    bool hands_d_out = true, d_in = true;  // of states: handed in, wanted
    index every = 1;
    bool q = true, k = true, v = true, gate = true, beta = true;  // wanted

    void leave_states_out() { hands_d_out = d_in = false; }
};

/// Gradients that were not wanted are empty.
struct gradient_outcome {
    oracle::gradients to;
    bool gaps_intact = true;
};

using gradient_runner = gradient_outcome (*)(oracle::problem const&, gradient_call const&,
                                             arrangement const&);

struct gradient_form {
    std::string name;
    gradient_runner backward;
};

struct gradient_subject {
    std::string name;
    oracle::composition op;
    std::vector<gradient_form> forms;
};

/// The compositions of `subjects`, in some of their forms.
std::vector<gradient_subject> const& gradient_subjects();

}  // namespace support
