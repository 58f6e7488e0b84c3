#include "lane.hpp"

#include <algorithm>

namespace dsunet_runtime::onnxruntime {
namespace {

constexpr std::size_t kMostKnown = 16;
constexpr const char *kInput = "image";
constexpr const char *kOutput = "mask";

bool is_same(const dsunet_batch &one, const dsunet_batch &other) {
  return one.frames == other.frames && one.masks == other.masks && one.count == other.count &&
         one.height == other.height && one.width == other.width;
}

}  // namespace

void Lane::reserve(std::int64_t count, std::int64_t height, std::int64_t width,
                   std::uint8_t **frames, std::uint8_t **masks) {
  const auto pixels = static_cast<std::size_t>(count * height * width);
  if (masks_.size() < pixels) {
    known_.clear();  // they may be over the buffers that are freed
    frames_.resize(3 * pixels);
    masks_.resize(pixels);
  }
  *frames = frames_.data();
  *masks = masks_.data();
}

void Lane::run(const dsunet_batch &batch) {
  const Tensors &tensors = tensors_of(batch);
  const OrtValue *input = tensors.image.get();
  OrtValue *output = tensors.mask.get();
  session_.library().require(
      session_.library()->Run(session_.get(), nullptr, &kInput, &input, 1, &kOutput, 1, &output));
}

const Lane::Tensors &Lane::tensors_of(const dsunet_batch &batch) {
  const std::uint64_t use = ++uses_;
  for (Tensors &one : known_) {
    if (is_same(one.batch, batch)) {
      one.last_use = use;
      return one;
    }
  }
  if (known_.size() == kMostKnown) {
    known_.erase(std::min_element(known_.begin(), known_.end(), [](const auto &a, const auto &b) {
      return a.last_use < b.last_use;
    }));
  }
  const std::array<std::int64_t, 4> shape{batch.count, batch.height, batch.width, 3};
  // ONNX Runtime does not write to inputs.
  void *frames = const_cast<std::uint8_t *>(batch.frames);
  known_.push_back(
      {batch, tensor(frames, shape.data(), 4), tensor(batch.masks, shape.data(), 3), use});
  return known_.back();
}

Owned<OrtValue> Lane::tensor(void *data, const std::int64_t *shape, std::size_t rank) const {
  std::size_t bytes = 1;
  for (std::size_t axis = 0; axis < rank; ++axis) bytes *= static_cast<std::size_t>(shape[axis]);
  OrtValue *value = nullptr;
  const Library &library = session_.library();
  library.require(library->CreateTensorWithDataAsOrtValue(
      session_.memory(), data, bytes, shape, rank, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, &value));
  return {value, library->ReleaseValue};
}

}  // namespace dsunet_runtime::onnxruntime
