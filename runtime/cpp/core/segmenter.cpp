#include "segmenter.hpp"

#include <algorithm>
#include <cstring>

#include "error.hpp"
#include "file_kinds.hpp"
#include "pictures.hpp"
#include "selftest.hpp"
#include "structs.hpp"

namespace dsunet {
namespace {

// Test images of the search for blank masks (blank_masks.py).
constexpr std::int64_t kSide = 256;
constexpr std::int64_t kFewestPixels = 64;
constexpr int kTestPictures = 2;

constexpr const char *kAllBlank =
    "the network computes NaN or infinity: this mask is blank, and so are those of test images "
    "that "
    "show an object: export it again without `--no-verify`, so that it is compared with PyTorch; "
    "with "
    "`--precision fp16`, keep more of it in float32 by `--keep-fp32`";

Artifact opened(const std::string &path, const OpenOptions &options) {
  Artifact artifact = read_artifact(path);
  if (artifact.is_engine() &&
      (!options.provider.empty() || options.threads != 0 || options.allow_cpu_fallback)) {
    throw backend_fault(
        path +
        ": provider, threads and allow_cpu_fallback apply to ONNX files only, and this "
        "is an engine: omit them, or open the ONNX file");
  }
  if (artifact.manifest.input_form != InputForm::kFrames) {
    throw artifact_fault(
        path +
        ": is of the tensors form, in which the caller does the image processing, and "
        "the C interface takes frames: export it again with `--input frames`");
  }
  check_sizes(artifact);
  // What a provider keeps must not be of a damaged file.
  const bool keeps_compiled = options.provider == "tensorrt" || options.provider == "rtx";
  if (options.verify_hashes || keeps_compiled) check_hashes(artifact);
  if (!artifact.is_engine()) check_external_names(artifact);
  return artifact;
}

std::string provider_of(const Artifact &artifact, const OpenOptions &options) {
  if (artifact.is_engine()) return name(artifact.manifest.engine->flavor);
  return options.provider.empty() ? "cpu" : options.provider;
}

OpenOptions with_provider(OpenOptions options, const Artifact &artifact) {
  if (!artifact.is_engine()) options.provider = provider_of(artifact, options);
  return options;
}

MaskView checked(const dsunet_mask &mask, std::int32_t width) {
  if (mask.data == nullptr) throw image_fault("the mask's data is NULL: point it to the first row");
  if (mask.reserved != 0) throw image_fault("the mask's field `reserved` is not 0: leave it 0");
  if (mask.threshold < 0 || mask.threshold > 255) {
    throw image_fault("the threshold is " + std::to_string(mask.threshold) +
                      ": it must be 1 to 255, or 0 for levels");
  }
  return {static_cast<std::uint8_t *>(mask.data),
          checked_stride("the mask's stride", mask.stride, width), mask.threshold};
}

void apply_threshold(std::uint8_t *levels, std::size_t count, std::int32_t threshold) {
  for (std::size_t index = 0; index < count; ++index) {
    levels[index] = levels[index] >= threshold ? 255 : 0;
  }
}

void write_mask(const std::uint8_t *levels, const FrameView &frame, const MaskView &mask) {
  const auto width = static_cast<std::size_t>(frame.width);
  for (std::int32_t row = 0; row < frame.height; ++row) {
    std::uint8_t *line = mask.data + row * mask.stride;
    std::memcpy(line, levels + static_cast<std::size_t>(row) * width, width);
    if (mask.threshold != 0) apply_threshold(line, width, mask.threshold);
  }
}

void check_same_size(const FrameView &first, const FrameView &other) {
  if (first.width == other.width && first.height == other.height) return;
  throw image_fault("the frames have different sizes, " + std::to_string(first.width) + "×" +
                    std::to_string(first.height) + " and " + std::to_string(other.width) + "×" +
                    std::to_string(other.height) +
                    " (width×height): enqueue those of one size at once");
}

std::int64_t test_side(const Range &range) {
  return range.maximum == 0 ? std::max(kSide, range.minimum) : range.optimum;
}

// Whether a stretched mask has no 0 or nothing else; whether one of probabilities is uniform.
bool is_blank(const std::uint8_t *levels, std::size_t count, MaskForm form) {
  const auto [low, high] = std::minmax_element(levels, levels + count);
  return form == MaskForm::kStretched ? *low != 0 || *high == 0 : *low == *high;
}

}  // namespace

// A workspace that no other call uses, until the end of the scope.
class Segmenter::Borrowed {
 public:
  explicit Borrowed(Segmenter &segmenter) : segmenter_(segmenter) {
    std::unique_lock lock(segmenter_.mutex_);
    const std::size_t most = segmenter_.backend_->most_lanes();
    if (segmenter_.free_.empty() && (most == 0 || segmenter_.workspaces_.size() < most)) {
      auto created = std::make_unique<Workspace>();
      created->lane = segmenter_.backend_->open_lane();
      segmenter_.free_.reserve(segmenter_.workspaces_.size() + 1);
      segmenter_.workspaces_.push_back(std::move(created));
      workspace_ = segmenter_.workspaces_.back().get();
      return;
    }
    segmenter_.returned_.wait(lock, [this] { return !segmenter_.free_.empty(); });
    workspace_ = segmenter_.free_.back();
    segmenter_.free_.pop_back();
  }

  ~Borrowed() {
    {
      const std::lock_guard lock(segmenter_.mutex_);
      segmenter_.free_.push_back(workspace_);  // within its capacity
    }
    segmenter_.returned_.notify_one();
  }

  Borrowed(const Borrowed &) = delete;
  Borrowed &operator=(const Borrowed &) = delete;

  Workspace &operator*() const { return *workspace_; }

 private:
  Segmenter &segmenter_;
  Workspace *workspace_ = nullptr;
};

Segmenter::Segmenter(const std::string &path, const OpenOptions &options)
    : artifact_(opened(path, options)),
      provider_(provider_of(artifact_, options)),
      backend_(std::make_unique<Backend>(artifact_, with_provider(options, artifact_))),
      ranges_(frame_ranges(artifact_.manifest)) {
  const std::vector<std::string> machine = backend_->machine();
  machine_ = join(machine, ", ");
  apply_selftest_policy(*this, machine, options.selftest);
}

void Segmenter::segment(const dsunet_frame *frames, const dsunet_mask *masks, std::size_t count) {
  const Borrowed borrowed(*this);
  Workspace &workspace = *borrowed;
  take_all(workspace, frames, masks, count);
  while (!workspace.pending.empty()) {
    take_chunk(workspace);
    run_chunk(workspace);
  }
}

void Segmenter::segment_device(const dsunet_frame *frames, const dsunet_mask *masks,
                               std::size_t count, void *stream) {
  backend_->require_device_frames();
  if (!ranges_.batch.contains(static_cast<std::int64_t>(count))) {
    throw image_fault("the batch has " + std::to_string(count) + " frames and this engine takes " +
                      ranges_.batch.in_words() + ": enqueue as many at once");
  }
  const std::lock_guard lock(device_mutex_);
  device_frames_.clear();
  device_masks_.clear();
  for (std::size_t index = 0; index < count; ++index) {
    const FrameView frame = checked(item(frames, index));
    check_size(frame);
    check_same_size(device_frames_.empty() ? frame : device_frames_.front(), frame);
    device_frames_.push_back(frame);
    device_masks_.push_back(checked(item(masks, index), frame.width));
  }
  backend_->enqueue(device_frames_, device_masks_, stream);
}

void Segmenter::compute_levels(const PicturesOfBatch &draw, std::int64_t count, std::int64_t height,
                               std::int64_t width, std::vector<std::uint8_t> &levels) {
  const Borrowed borrowed(*this);
  Lane &lane = *(*borrowed).lane;
  const auto pixels = static_cast<std::size_t>(height * width);
  std::uint8_t *input = nullptr;
  const dsunet_batch batch = lane.reserve(count, height, width, &input);
  for (std::int64_t place = 0; place < count; ++place) {
    draw(place, input + 3 * pixels * static_cast<std::size_t>(place));
  }
  lane.run(batch);
  levels.assign(batch.masks, batch.masks + pixels * static_cast<std::size_t>(count));
}

// Check all frames before the first is computed, so that a fault leaves all masks as they were.
void Segmenter::take_all(Workspace &workspace, const dsunet_frame *frames, const dsunet_mask *masks,
                         std::size_t count) const {
  workspace.frames.clear();
  workspace.masks.clear();
  workspace.pending.clear();
  for (std::size_t index = 0; index < count; ++index) {
    workspace.frames.push_back(checked(item(frames, index)));
    check_size(workspace.frames.back());
    workspace.masks.push_back(checked(item(masks, index), workspace.frames.back().width));
    workspace.pending.push_back(index);
  }
}

// Move the first frame that is pending, and others of its size, to the chunk: as many as a batch
// takes.
void Segmenter::take_chunk(Workspace &workspace) const {
  const FrameView &first = workspace.frames[workspace.pending.front()];
  const auto most = ranges_.batch.maximum == 0 ? workspace.pending.size()
                                               : static_cast<std::size_t>(ranges_.batch.maximum);
  workspace.chunk.clear();
  const auto is_taken = [&](std::size_t index) {
    const FrameView &frame = workspace.frames[index];
    const bool fits = frame.width == first.width && frame.height == first.height;
    if (!fits || workspace.chunk.size() == most) return false;
    workspace.chunk.push_back(index);
    return true;
  };
  auto &pending = workspace.pending;
  pending.erase(std::remove_if(pending.begin(), pending.end(), is_taken), pending.end());
}

void Segmenter::run_chunk(Workspace &workspace) {
  const auto &chunk = workspace.chunk;
  const FrameView &first = workspace.frames[chunk.front()];
  if (chunk.size() == 1 && ranges_.batch.minimum == 1) {
    return run_alone(workspace, first, workspace.masks[chunk.front()]);
  }
  const auto count = std::max(static_cast<std::int64_t>(chunk.size()), ranges_.batch.minimum);
  const auto pixels =
      static_cast<std::size_t>(first.width) * static_cast<std::size_t>(first.height);
  std::uint8_t *input = nullptr;
  const dsunet_batch batch = workspace.lane->reserve(count, first.height, first.width, &input);
  for (std::size_t place = 0; place < chunk.size(); ++place) {
    convert_to_rgb(workspace.frames[chunk[place]], input + 3 * pixels * place);
  }
  // The last frame again, up to the smallest batch.
  for (std::size_t place = chunk.size(); place < static_cast<std::size_t>(count); ++place) {
    std::memcpy(input + 3 * pixels * place, input + 3 * pixels * (chunk.size() - 1), 3 * pixels);
  }
  workspace.lane->run(batch);
  for (std::size_t place = 0; place < chunk.size(); ++place) {
    const std::uint8_t *levels = batch.masks + pixels * place;
    notice(levels, pixels);
    write_mask(levels, workspace.frames[chunk[place]], workspace.masks[chunk[place]]);
  }
  require_numbers(*workspace.lane);
}

// Without a copy of the frame or of the mask where neither is needed.
void Segmenter::run_alone(Workspace &workspace, const FrameView &frame, const MaskView &mask) {
  const bool reads_directly = backend_->takes_any_memory() && frame.is_packed_rgb();
  const bool writes_directly = backend_->takes_any_memory() && mask.is_packed(frame);
  const auto pixels =
      static_cast<std::size_t>(frame.width) * static_cast<std::size_t>(frame.height);
  dsunet_batch batch{frame.data, mask.data, 1, frame.height, frame.width};
  if (!reads_directly || !writes_directly) {
    std::uint8_t *input = nullptr;
    const dsunet_batch own = workspace.lane->reserve(1, frame.height, frame.width, &input);
    if (!reads_directly) {
      convert_to_rgb(frame, input);
      batch.frames = own.frames;
    }
    if (!writes_directly) batch.masks = own.masks;
  }
  workspace.lane->run(batch);
  notice(batch.masks, pixels);
  if (!writes_directly) {
    write_mask(batch.masks, frame, mask);
  } else if (mask.threshold != 0) {
    apply_threshold(mask.data, pixels, mask.threshold);
  }
  require_numbers(*workspace.lane);
}

void Segmenter::check_size(const FrameView &frame) const {
  if (ranges_.width.contains(frame.width) && ranges_.height.contains(frame.height)) return;
  const char *remedy = artifact_.is_engine() ? "build the engine with another `--size`"
                                             : "export with `--size dynamic`";
  throw image_fault("the image is " + std::to_string(frame.width) + "×" +
                    std::to_string(frame.height) + " (width×height) and this artifact takes " +
                    ranges_.width.in_words() + "×" + ranges_.height.in_words() +
                    ": resize the image, or " + remedy);
}

void Segmenter::notice(const std::uint8_t *levels, std::size_t count) {
  if (!computes_ && !is_blank(levels, count, artifact_.manifest.mask_form)) computes_ = true;
}

// Throws Fault if all masks so far were blank, and those of test pictures are too.
void Segmenter::require_numbers(Lane &lane) {
  if (computes_) return;
  const Manifest &manifest = artifact_.manifest;
  const bool may_find_nothing =
      manifest.mask_form == MaskForm::kProbability && !manifest.verification.empty();
  if (may_find_nothing || test_side(ranges_.height) * test_side(ranges_.width) < kFewestPixels)
    return;
  const std::lock_guard lock(blank_mutex_);
  if (!has_tried_pictures_) compute_test_pictures(lane);
  has_tried_pictures_ = true;
  if (!computes_) throw backend_fault(kAllBlank);
}

void Segmenter::compute_test_pictures(Lane &lane) {
  const std::int64_t height = test_side(ranges_.height), width = test_side(ranges_.width);
  const auto pixels = static_cast<std::size_t>(height * width);
  std::uint8_t *input = nullptr;
  const dsunet_batch batch = lane.reserve(ranges_.batch.minimum, height, width, &input);
  for (int number = 0; number < kTestPictures && !computes_; ++number) {
    for (std::int64_t place = 0; place < batch.count; ++place) {
      draw_picture(number, height, width, input + 3 * pixels * static_cast<std::size_t>(place));
    }
    lane.run(batch);
    notice(batch.masks, pixels);
  }
}

}  // namespace dsunet
