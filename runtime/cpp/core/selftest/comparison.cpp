#include "comparison.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "../errors.hpp"
#include "coarse.hpp"
#include "pictures.hpp"

namespace dsunet_runtime {
namespace {

constexpr std::int64_t kSeveral = 2;  // a batch of more than one frame, of artifacts that take any

// The cases of one size.
struct Group {
  std::int64_t height, width;
  std::vector<const SelfTestCase *> cases;
};

double mean_difference(const std::vector<double> &found, const std::vector<double> &expected) {
  double sum = 0;
  for (std::size_t index = 0; index < found.size(); ++index) {
    sum += std::abs(found[index] - expected[index]);
  }
  return sum / static_cast<double>(found.size());
}

std::vector<Group> groups_taken(const Segmenter &segmenter) {
  std::map<std::pair<std::int64_t, std::int64_t>, std::size_t> places;
  std::vector<Group> groups;
  for (const SelfTestCase &one : segmenter.artifact().manifest.selftest) {
    const FrameRanges &ranges = segmenter.ranges();
    if (!ranges.height.contains(one.height) || !ranges.width.contains(one.width)) continue;
    const auto [place, is_new] = places.try_emplace({one.height, one.width}, groups.size());
    if (is_new) groups.push_back({one.height, one.width, {}});
    groups[place->second].cases.push_back(&one);
  }
  return groups;
}

std::set<std::int64_t> batches(const Range &taken) {
  const std::int64_t largest = taken.maximum == 0 ? kSeveral : taken.maximum;
  std::set<std::int64_t> found;
  for (const std::int64_t batch : {taken.minimum, std::int64_t{1}, kSeveral, largest}) {
    if (taken.contains(batch)) found.insert(batch);
  }
  return found;
}

// Compare full batches with every picture in at least one; the last holds the first again.
void compare(Segmenter &segmenter, const Group &group, std::int64_t batch,
             std::vector<Comparison> &found) {
  const std::size_t pixels = static_cast<std::size_t>(group.height * group.width);
  const auto count = static_cast<std::size_t>(batch);
  std::vector<std::uint8_t> levels;
  for (std::size_t done = 0; done < group.cases.size(); done += count) {
    const auto member = [&](std::int64_t place) -> const SelfTestCase & {
      return *group.cases[(done + static_cast<std::size_t>(place)) % group.cases.size()];
    };
    const auto draw = [&](std::int64_t place, std::uint8_t *rgb) {
      draw_picture(member(place).picture, group.height, group.width, rgb);
    };
    segmenter.compute_levels(draw, batch, group.height, group.width, levels);
    for (std::int64_t place = 0; place < batch; ++place) {
      const std::uint8_t *mask = levels.data() + pixels * static_cast<std::size_t>(place);
      const SelfTestCase &one = member(place);
      found.push_back({&one, batch, place,
                       mean_difference(block_means(mask, group.height, group.width), one.blocks),
                       mean_difference(point_values(mask, group.height, group.width), one.points)});
    }
  }
}

// The remedy; docs/export.md has the reports of faults of fused attention on GPUs.
std::string remedy(const Segmenter &segmenter) {
  const Manifest &manifest = segmenter.artifact().manifest;
  if (segmenter.provider() == "cpu") {
    return "try another provider or version of the library, or export it again, with another "
           "--precision";
  }
  std::string others = std::string("try another ") + (manifest.engine ? "" : "provider, ") +
                       "driver or library version";
  if (manifest.avoids_fused_attention()) return others;
  const char *form = manifest.precision.compute == "float32" ? "unfused" : "float32";
  const char *again = manifest.engine && manifest.precision.quantized ? "build" : "export";
  return std::string(again) + " it again with --attention " + form +
         ", which avoids fused attention, or " + others;
}

bool only_batches_fail(const std::vector<Comparison> &found) {
  bool has_ones = false;
  for (const Comparison &one : found) {
    if (one.batch != 1) continue;
    has_ones = true;
    if (!one.passed()) return false;
  }
  return has_ones;
}

}  // namespace

double Comparison::excess() const {
  const double larger =
      std::max(blocks / reference->blocks_tolerance, points / reference->points_tolerance);
  return std::isfinite(larger) ? larger : std::numeric_limits<double>::infinity();
}

std::vector<Comparison> run_selftest(Segmenter &segmenter) {
  if (segmenter.artifact().manifest.selftest.empty()) {
    throw artifact_fault(
        "the artifact has no self-test: an earlier version wrote it, or `dsunet-export trt` could "
        "not compute one for its frame sizes: export it again, with the same --size");
  }
  const std::vector<Group> groups = groups_taken(segmenter);
  if (groups.empty()) {
    throw artifact_fault(
        "the artifact takes none of the sizes of its self-test: export again with the same --size");
  }
  std::vector<Comparison> found;
  for (const std::int64_t batch : batches(segmenter.ranges().batch)) {
    for (const Group &group : groups) compare(segmenter, group, batch, found);
  }
  return found;
}

const Comparison &worst_of(const std::vector<Comparison> &found) {
  return *std::max_element(found.begin(), found.end(), [](const auto &one, const auto &other) {
    return one.excess() < other.excess();
  });
}

void check(const std::vector<Comparison> &found, const Segmenter &segmenter) {
  const Comparison &worst = worst_of(found);
  if (worst.passed()) return;
  const auto failed =
      std::count_if(found.begin(), found.end(), [](const auto &one) { return !one.passed(); });
  const SelfTestCase &one = *worst.reference;
  const std::string what_to_do = only_batches_fail(found)
                                     ? "batch 1 is right: export or build it again with --batch 1, "
                                       "or run it with batches of 1 and "
                                       "DSUNET_SELFTEST_NEVER"
                                     : remedy(segmenter);
  throw Fault(DSUNET_ERROR_SELFTEST,
              "this machine does not compute what the artifact was exported to: " +
                  std::to_string(failed) + " of " + std::to_string(found.size()) +
                  " comparisons are outside the tolerance, the worst is the " +
                  segmenter.artifact().manifest.outputs[0].name + " at batch " +
                  std::to_string(worst.batch) + ", place " + std::to_string(worst.place) +
                  ", picture " + std::to_string(one.picture) + " of " + std::to_string(one.width) +
                  "×" + std::to_string(one.height) + ": block means differ by " +
                  three_digits(worst.blocks) + " (tolerance " + three_digits(one.blocks_tolerance) +
                  "), points by " + three_digits(worst.points) + " (" +
                  three_digits(one.points_tolerance) + "); " + what_to_do);
}

}  // namespace dsunet_runtime
