// The self-test: what this machine computes beside the references in the manifest (selftest/).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "segmenter.hpp"

namespace dsunet_runtime {

// One picture at one place of one batch.
struct Comparison {
  const SelfTestCase *reference;
  std::int64_t batch, place;
  double blocks, points;  // mean absolute differences, in levels

  // The larger difference as a fraction of its tolerance; infinite if it is not a number.
  double excess() const;
  bool passed() const { return excess() <= 1; }
};

// Compare the pictures at batch 1, 2, the smallest and the largest, and record whether they are
// right here.  Throws Fault if the manifest has no pictures that the artifact takes, or if the
// computation fails.
std::vector<Comparison> run_selftest(Segmenter &segmenter);

// The comparison that is furthest from its reference.
const Comparison &worst_of(const std::vector<Comparison> &found);

// Throws Fault, with the worst comparison and what to try, if one is outside its tolerance.
void check(const std::vector<Comparison> &found, const Segmenter &segmenter);

// Run the self-test of a segmenter that was just opened, if the policy asks for it.  Its machine is
// empty where references are computed the same way.
void apply_selftest_policy(Segmenter &segmenter, dsunet_selftest_policy policy);

}  // namespace dsunet_runtime
