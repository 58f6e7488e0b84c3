// The self-test: masks that this machine computes, compared with the references in the manifest
// (selftest/comparison.py).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../segmenter.hpp"

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

// Compare the pictures at batch 1, 2, the smallest and the largest.  Throws Fault if the manifest
// has no pictures that the artifact takes, or if the computation fails.
std::vector<Comparison> run_selftest(Segmenter &segmenter);

// The comparison that is furthest from its reference.
const Comparison &worst_of(const std::vector<Comparison> &found);

// Throws Fault, with the worst comparison and a remedy, if one is outside its tolerance.
void check(const std::vector<Comparison> &found, const Segmenter &segmenter);

}  // namespace dsunet_runtime
