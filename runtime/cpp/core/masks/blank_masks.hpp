// Detection of networks that compute NaN, whose masks are blank (masks/blank_masks.py).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "../artifact/shapes.hpp"

namespace dsunet_runtime {

class BackendLane;

// Checks the masks of a segmenter until one is not blank.  Safe to use from any thread.
class BlankMasks {
 public:
  BlankMasks(const Manifest &manifest, const FrameRanges &ranges);

  // Add a mask: `count` levels, before any threshold.
  void add(const std::uint8_t *levels, std::size_t count);

  // Throws Fault if all masks so far were blank, and those of test images with objects are blank as
  // well.  The test images are computed once, in `lane`, whose buffers are overwritten.
  void check(BackendLane &lane);

 private:
  void compute_test_images(BackendLane &lane);
  bool is_blank(const std::uint8_t *levels, std::size_t count) const;

  MaskForm form_;
  std::int64_t batch_, height_, width_;  // of the test images
  bool is_checked_;                      // false where blank masks may be right
  std::atomic<bool> computes_{false};    // whether a mask was not blank
  std::mutex mutex_;
  bool has_computed_test_images_ = false;
};

}  // namespace dsunet_runtime
