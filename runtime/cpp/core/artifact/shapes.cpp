#include "shapes.hpp"

#include <algorithm>

#include "../errors.hpp"

namespace dsunet_runtime {
namespace {

constexpr std::size_t kMostNames = 4;

std::string as_tuple(const std::vector<Dimension> &shape) {
  std::vector<std::string> parts;
  for (const Dimension &dimension : shape) {
    const auto *size = std::get_if<std::int64_t>(&dimension);
    parts.push_back(size ? std::to_string(*size) : "'" + std::get<std::string>(dimension) + "'");
  }
  return "(" + join(parts, ", ") + (parts.size() == 1 ? ",)" : ")");
}

void check_names(const std::vector<TensorSpec> &specs, const std::string &expected) {
  if (specs.size() == 1 && specs[0].name == expected) return;
  std::vector<std::string> names;
  for (const TensorSpec &spec : specs) names.push_back(spec.name);
  std::sort(names.begin(), names.end());
  throw artifact_fault("the manifest names tensors " + shorten(names, kMostNames) +
                       " where its form has " + expected + ": export again");
}

void check_tensor(const TensorSpec &spec, const std::vector<Dimension> &shape) {
  if (spec.dtype == "uint8" && spec.shape == shape) return;
  throw artifact_fault("the manifest's " + quote(spec.name) + " is " + printable(spec.dtype) +
                       " of shape " + quote(as_tuple(spec.shape)) +
                       ", where its form has uint8 of shape " + quote(as_tuple(shape)) +
                       ": export again");
}

std::vector<Dimension> first_three(const std::vector<Dimension> &shape) {
  const std::size_t count = std::min<std::size_t>(3, shape.size());
  return {shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(count)};
}

}  // namespace

std::string Range::in_words() const {
  if (maximum == 0) return "any";
  if (minimum == maximum) return std::to_string(minimum);
  return std::to_string(minimum) + " to " + std::to_string(maximum);
}

std::vector<Range> input_ranges(const Manifest &manifest, const TensorSpec &input) {
  std::vector<Range> ranges;
  if (!manifest.engine) {
    for (const Dimension &dimension : input.shape) {
      const auto *size = std::get_if<std::int64_t>(&dimension);
      ranges.push_back(size ? Range{*size, *size, *size} : Range{1, 1, 0});
    }
    return ranges;
  }
  const auto profile = std::find_if(manifest.profiles.rbegin(), manifest.profiles.rend(),
                                    [&](const Profile &one) { return one.input == input.name; });
  if (profile == manifest.profiles.rend() || profile->minimum.size() != input.shape.size()) {
    throw artifact_fault("the manifest has no profile that fits its input " + quote(input.name) +
                         ": build the engine again with `dsunet-export trt`");
  }
  for (std::size_t index = 0; index < input.shape.size(); ++index) {
    ranges.push_back({profile->minimum[index], profile->optimum[index], profile->maximum[index]});
  }
  return ranges;
}

FrameRanges frame_ranges(const Manifest &manifest) {
  check_names(manifest.inputs, "image");
  check_names(manifest.outputs, "mask");
  const TensorSpec &image = manifest.inputs[0], &mask = manifest.outputs[0];
  const std::vector<Dimension> sizes = first_three(image.shape);
  std::vector<Dimension> with_channels = sizes;
  with_channels.emplace_back(std::int64_t{3});
  check_tensor(image, with_channels);
  check_tensor(mask, sizes);
  const std::vector<Range> ranges = input_ranges(manifest, image);
  return {ranges.at(0), ranges.at(1), ranges.at(2)};
}

}  // namespace dsunet_runtime
