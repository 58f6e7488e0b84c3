// The record of the machines on which an artifact's self-test passed: ARTIFACT.selftest.json, which
// Python reads and writes too.
#pragma once

#include <string>
#include <vector>

#include "artifact.hpp"

namespace dsunet_runtime {

// Whether it passed on this machine: device, driver and libraries.
bool has_passed(const Artifact &artifact, const std::vector<std::string> &machine);

// Add a machine on which it passed, or remove one on which it did not.  If the record cannot be
// written, the test runs again the next time.
void record_outcome(const Artifact &artifact, const std::vector<std::string> &machine, bool passed);

}  // namespace dsunet_runtime
