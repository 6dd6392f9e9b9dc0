/// @file
/// The parts of the CUDA benchmark.
#pragma once

namespace bench {

struct report;

void sixteen_bits(report&);  // forward and step in bfloat16
void other_types(report&);   // half and float
void elements(report&);      // scans and positions
void grids(report&);         // four scans of a grid against one

}  // namespace bench
