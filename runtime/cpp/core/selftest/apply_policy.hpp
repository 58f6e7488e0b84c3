// When the self-test runs, and the record of the machines on which it passed:
// ARTIFACT.selftest.json, which Python reads and writes too (selftest/apply_policy.py,
// selftest/record.py).
#pragma once

#include <vector>

#include "comparison.hpp"

namespace dsunet_runtime {

// Run the self-test, and record whether it passed on this machine.  Throws Fault as `run_selftest`.
std::vector<Comparison> run_and_record_selftest(Segmenter &segmenter);

// Run the self-test of a segmenter that was just opened, if the policy requires it.  Throws Fault
// if it fails.  On ONNX Runtime's provider `cpu`, which has no machine, it runs only on request.
void apply_selftest_policy(Segmenter &segmenter, dsunet_selftest_policy policy);

}  // namespace dsunet_runtime
