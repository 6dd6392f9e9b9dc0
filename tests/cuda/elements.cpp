#include "cuda/elements.hpp"

#include "cuda/subject.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"

namespace device {
namespace {

void check(std::vector<element_cases> const& all) {
    if (!present()) return;
    for (element_cases const& cases : all) {
        std::vector<finding> const found = cases.run();
        CHECK(!found.empty());
        for (finding const& f : found) {
            INFO(cases.name << ": " << f.what << "\n  RONDO_SEED=" << support::base_seed());
            CHECK(f.error <= f.bound);
            CHECK(f.gaps_intact);
        }
    }
}

}  // namespace

TEST_CASE("scan and log_cumsum_exp on the device agree with the processor") { check(scan_cases()); }

TEST_CASE("positions on the device agree with the processor") { check(position_cases()); }

TEST_CASE("fused positions on the device agree with the processor") { check(fused_cases()); }

TEST_CASE("gradients of fused positions on the device agree with the processor") {
    check(fused_gradient_cases());
}

}  // namespace device
