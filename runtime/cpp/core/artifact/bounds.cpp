// Limits of a manifest's values beyond their types (artifact/bounds.py).  The values determine how
// much memory is allocated, which files are opened, and which commands appear in messages.

#include <cctype>
#include <cmath>
#include <set>

#include "../selftest/sizes.hpp"
#include "manifest.hpp"
#include "shapes.hpp"

namespace dsunet_runtime {
namespace {

constexpr std::int64_t kMostOfSide = 4096;
constexpr std::int64_t kMostOfPicture = 16384;
constexpr std::size_t kMostDimensions = 8;
constexpr std::int64_t kMostBytes = std::int64_t{1} << 48;
constexpr std::size_t kMostGpus = 100;
constexpr std::size_t kLongestName = 255;
constexpr std::size_t kLongestVersion = 64;
constexpr double kSmallestStd = 1e-6, kLargestMean = 1e6;

void require(bool holds, const std::string &problem) {
  if (!holds) throw FieldError(problem);
}

bool is_within(std::int64_t value, std::int64_t low, std::int64_t high) {
  return low <= value && value <= high;
}

template <class Values, class Show>
std::string as_tuple(const Values &values, const Show &show) {
  std::vector<std::string> parts;
  for (const auto &value : values) parts.push_back(show(value));
  return "(" + join(parts, ", ") + (parts.size() == 1 ? ",)" : ")");
}

std::string in_quotes(const std::string &text) { return "'" + text + "'"; }

bool is_digits(std::string_view text, std::size_t most) {
  return !text.empty() && text.size() <= most &&
         text.find_first_not_of("0123456789") == std::string_view::npos;
}

bool is_sha256(const std::string &text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

bool is_version(const std::string &text) {
  const auto is_allowed = [](unsigned char byte) {
    return std::isalnum(byte) || std::string_view(".+_-").find(byte) != std::string_view::npos;
  };
  return !text.empty() && text.size() <= kLongestVersion &&
         std::isalnum(static_cast<unsigned char>(text[0])) &&
         std::all_of(text.begin(), text.end(), is_allowed);
}

bool is_compute_capability(const std::string &text) {
  const std::size_t dot = text.find('.');
  return dot != std::string::npos && is_digits(std::string_view(text).substr(0, dot), 3) &&
         is_digits(std::string_view(text).substr(dot + 1), 2);
}

// UTF-8 without slashes and control characters.
bool is_plain_name(const std::string &name) {
  if (name.empty() || name == "." || name == ".." || name.size() > kLongestName) return false;
  for (std::size_t at = 0; at < name.size(); ++at) {
    const auto byte = static_cast<unsigned char>(name[at]);
    const bool is_c1 =
        byte == 0xC2 && at + 1 < name.size() && static_cast<unsigned char>(name[at + 1]) < 0xA0;
    if (byte < 0x20 || byte == 0x7F || byte == '/' || is_c1) return false;
  }
  return true;
}

void check(const TensorSpec &spec) {
  require(spec.dtype == "uint8" || spec.dtype == "float32",
          quote(spec.name) + " has the type " + quote(spec.dtype) + ", not uint8 or float32");
  const auto is_dimension = [](const Dimension &dimension) {
    const auto *size = std::get_if<std::int64_t>(&dimension);
    return size ? is_within(*size, 1, kMostOfDimension) : !std::get<std::string>(dimension).empty();
  };
  const auto show = [](const Dimension &dimension) {
    const auto *size = std::get_if<std::int64_t>(&dimension);
    return size ? std::to_string(*size) : in_quotes(std::get<std::string>(dimension));
  };
  require(is_within(static_cast<std::int64_t>(spec.shape.size()), 1, kMostDimensions) &&
              std::all_of(spec.shape.begin(), spec.shape.end(), is_dimension),
          quote(spec.name) + " has the shape " + quote(as_tuple(spec.shape, show)) +
              "; a dimension must be a name or an integer from 1 to " +
              with_commas(kMostOfDimension));
}

void check(const char *field, const std::vector<TensorSpec> &specs) {
  std::set<std::string> names;
  for (const TensorSpec &spec : specs) names.insert(spec.name);
  require(!specs.empty() && names.size() == specs.size(),
          std::string(field) + " must have at least one tensor, and names must be unique");
  for (const TensorSpec &spec : specs) check(spec);
}

void check(const Preprocessing &preprocessing) {
  for (const auto &[name, side] : preprocessing.sizes) {
    require(is_within(side, 1, kMostOfSide), "the input size of " + quote(name) + " is " +
                                                 with_commas(side) + "; it must be 1 to " +
                                                 with_commas(kMostOfSide));
  }
  for (const double value : preprocessing.mean) {
    require(std::abs(value) <= kLargestMean,
            "preprocessing.mean is out of range: " + quote(as_tuple(preprocessing.mean, shown)));
  }
  for (const double value : preprocessing.std) {
    require(kSmallestStd <= value && value <= kLargestMean,
            "preprocessing.std is out of range: " + quote(as_tuple(preprocessing.std, shown)));
  }
}

void check(const Precision &precision) {
  const std::string &compute = precision.compute;
  require(compute == "float32" || compute == "float16" || compute == "bfloat16",
          "precision.compute is " + quote(compute) + ", not one of float32, float16, bfloat16");
  if (!precision.quantized) return;
  const std::string &type = precision.quantized->data_type;
  require(type == "int8" || type == "float8e4m3fn",
          "precision.quantized.data_type is " + quote(type) + ", not one of int8, float8e4m3fn");
}

void check(const Profile &profile) {
  const std::size_t count = profile.minimum.size();
  bool is_range = profile.optimum.size() == count && profile.maximum.size() == count;
  for (std::size_t index = 0; is_range && index < count; ++index) {
    const std::int64_t low = profile.minimum[index], best = profile.optimum[index];
    is_range = 1 <= low && low <= best && is_within(profile.maximum[index], best, kMostOfDimension);
  }
  require(is_range, "the profile of " + quote(profile.input) + " is not a range within 1 to " +
                        with_commas(kMostOfDimension));
}

void check(const FileDigest &file) {
  require(is_plain_name(file.name), quote(file.name) + " is not a plain file name");
  require(is_within(file.size, 1, kMostBytes) && is_sha256(file.sha256),
          quote(file.name) + " has no valid size and SHA-256");
}

void check(const Rewrite &rewrite) {
  const std::string of = " of the rewrite " + quote(rewrite.name) + " is less than ";
  require(rewrite.macs_before >= 1, "macs_before" + of + "1");
  require(rewrite.macs_after >= 0, "macs_after" + of + "0");
}

void check(const SelfTestCase &one) {
  require(is_within(one.picture, 0, kPictures - 1) && is_within(one.height, 1, kMostOfPicture) &&
              is_within(one.width, 1, kMostOfPicture),
          "selftest has picture " + std::to_string(one.picture) + " of " +
              std::to_string(one.width) + "×" + std::to_string(one.height) + ", not 0 to " +
              std::to_string(kPictures - 1) + " of up to " + with_commas(kMostOfPicture) + "×" +
              with_commas(kMostOfPicture));
  const auto blocks = static_cast<std::size_t>(std::min<std::int64_t>(kGrid, one.height) *
                                               std::min<std::int64_t>(kGrid, one.width));
  require(one.blocks.size() == blocks && one.points.size() == kPoints,
          "selftest has a case without " + std::to_string(blocks) + " blocks and " +
              std::to_string(kPoints) + " points");
  require(one.blocks_tolerance > 0 && one.points_tolerance > 0,
          "selftest has a tolerance that is not above 0");
}

void check(const Engine &engine) {
  check(engine.file);
  if (engine.shared_weights) check(*engine.shared_weights);
  require(is_version(engine.tensorrt_version),
          "engine.tensorrt_version is not valid: " + quote(engine.tensorrt_version));
  const auto &found = engine.compute_capabilities;
  require(!found.empty() && found.size() <= kMostGpus &&
              std::all_of(found.begin(), found.end(), is_compute_capability),
          "engine.compute_capabilities is not valid: " + quote(as_tuple(found, in_quotes)));
}

template <class Item>
void check_each(const std::vector<Item> &items) {
  for (const Item &item : items) check(item);
}

}  // namespace

void check_bounds(const Manifest &manifest) {
  check("inputs", manifest.inputs);
  check("outputs", manifest.outputs);
  check(manifest.preprocessing);
  check(manifest.precision);
  require(manifest.macs >= 0, "macs is " + with_commas(manifest.macs) + ", less than 0");
  check_each(manifest.profiles);
  check(manifest.graph);
  check_each(manifest.files);
  check_each(manifest.rewrites);
  require(manifest.selftest.size() <= kPictures,
          "selftest has a number of cases above " + std::to_string(kPictures));
  check_each(manifest.selftest);
  if (manifest.engine) check(*manifest.engine);
}

}  // namespace dsunet_runtime
