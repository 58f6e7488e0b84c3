#include "blank_masks.hpp"

#include <algorithm>

#include "../backend.hpp"
#include "../errors.hpp"
#include "../selftest/pictures.hpp"

namespace dsunet_runtime {
namespace {

constexpr std::int64_t kSide = 256;
constexpr std::int64_t kFewestPixels = 64;
constexpr int kTestImages = 2;    // the first pictures of the self-test
constexpr double kContrast = 64;  // least range of a reference that is not blank in any size

constexpr const char *kAllBlank =
    "the network computes NaN or infinity: this mask is blank, and so are those of test images "
    "that show an object: export it again without `--no-verify`, so that it is compared with "
    "PyTorch; with `--precision fp16`, keep more of it in float32 by `--keep-fp32`";

std::int64_t test_side(const Range &range) {
  return range.maximum == 0 ? std::max(kSide, range.minimum) : range.optimum;
}

// Whether the masks of the test images, of any size, are not blank for certain.
bool finds_something(const Manifest &manifest) {
  return std::any_of(
      manifest.selftest.begin(), manifest.selftest.end(), [](const SelfTestCase &one) {
        const auto [low, high] = std::minmax_element(one.points.begin(), one.points.end());
        return one.picture < kTestImages && *high - *low >= kContrast;
      });
}

// Whether a network that computes numbers has a mask that is not blank for one of the test images.
bool is_object_expected(const Manifest &manifest) {
  return manifest.mask_form == MaskForm::kStretched || manifest.verification.empty() ||
         finds_something(manifest);
}

}  // namespace

BlankMasks::BlankMasks(const Manifest &manifest, const FrameRanges &ranges)
    : form_(manifest.mask_form),
      batch_(ranges.batch.minimum),
      height_(test_side(ranges.height)),
      width_(test_side(ranges.width)),
      is_checked_(is_object_expected(manifest) && height_ * width_ >= kFewestPixels) {}

void BlankMasks::add(const std::uint8_t *levels, std::size_t count) {
  if (!computes_ && !is_blank(levels, count)) computes_ = true;
}

void BlankMasks::check(BackendLane &lane) {
  if (computes_ || !is_checked_) return;
  const std::lock_guard lock(mutex_);
  if (!has_computed_test_images_) compute_test_images(lane);
  has_computed_test_images_ = true;
  if (!computes_) throw backend_fault(kAllBlank);
}

void BlankMasks::compute_test_images(BackendLane &lane) {
  const auto pixels = static_cast<std::size_t>(height_ * width_);
  std::uint8_t *input = nullptr;
  const dsunet_batch batch = lane.reserve(batch_, height_, width_, &input);
  for (int number = 0; number < kTestImages && !computes_; ++number) {
    for (std::int64_t index = 0; index < batch.count; ++index) {
      draw_picture(number, height_, width_, input + 3 * pixels * static_cast<std::size_t>(index));
    }
    lane.run(batch);
    add(batch.masks, pixels);
  }
}

// A stretched mask is blank if it has no 0, or nothing else; one of probabilities if it is uniform.
bool BlankMasks::is_blank(const std::uint8_t *levels, std::size_t count) const {
  const auto [low, high] = std::minmax_element(levels, levels + count);
  return form_ == MaskForm::kStretched ? *low != 0 || *high == 0 : *low == *high;
}

}  // namespace dsunet_runtime
