#include "segmenter.hpp"

#include <algorithm>
#include <cstring>
#include <exception>

#include "artifact/file_kinds.hpp"
#include "artifact/integrity.hpp"
#include "errors.hpp"
#include "selftest/apply_policy.hpp"
#include "structs.hpp"

namespace dsunet_runtime {
namespace {

Artifact opened(const std::string &path, const OpenOptions &options) {
  Artifact artifact = read_artifact(path);
  if (artifact.is_engine() &&
      (!options.provider.empty() || options.threads != 0 || options.allow_cpu_fallback)) {
    throw backend_fault(
        path +
        ": provider, threads and allow_cpu_fallback apply to ONNX files only, and this is an "
        "engine: omit them, or open the ONNX file");
  }
  if (artifact.manifest.input_form != InputForm::kFrames) {
    throw artifact_fault(
        path +
        ": is of the tensors form, in which the caller does the image processing, and "
        "the C interface takes frames: export it again with `--input frames`" +
        (artifact.is_engine() ? ", and build the engine of that" : ""));
  }
  check_sizes(artifact);
  // A provider must not keep what it compiled from a damaged file.
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

// Write the mask of a frame from its levels, which may already be in the memory of the mask.
void write_mask(const std::uint8_t *levels, const FrameView &frame, const MaskView &mask) {
  const auto width = static_cast<std::size_t>(frame.width);
  const bool is_in_place = levels == mask.data;
  if (is_in_place && mask.threshold == 0) return;
  for (std::int32_t row = 0; row < frame.height; ++row) {
    std::uint8_t *line = mask.data + row * mask.stride;
    if (!is_in_place) std::memcpy(line, levels + static_cast<std::size_t>(row) * width, width);
    if (mask.threshold != 0) apply_threshold(line, width, mask.threshold);
  }
}

// Frames of one size as RGB, and the last again up to the smallest batch.
void convert_all(const std::vector<FrameView> &frames, std::size_t count, std::uint8_t *rgb) {
  const std::size_t size = 3 * frames.front().pixels();
  for (std::size_t place = 0; place < frames.size(); ++place) {
    convert_to_rgb(frames[place], rgb + size * place);
  }
  for (std::size_t place = frames.size(); place < count; ++place) {
    std::memcpy(rgb + size * place, rgb + size * (frames.size() - 1), size);
  }
}

void check_same_size(const FrameView &first, const FrameView &other) {
  if (first.width == other.width && first.height == other.height) return;
  throw image_fault("the frames have different sizes, " + std::to_string(first.width) + "×" +
                    std::to_string(first.height) + " and " + std::to_string(other.width) + "×" +
                    std::to_string(other.height) +
                    " (width×height): enqueue those of one size at once");
}

}  // namespace

// A workspace that no other call uses, until the end of the scope.
class Segmenter::BorrowedWorkspace {
 public:
  explicit BorrowedWorkspace(Segmenter &segmenter) : segmenter_(segmenter) {
    std::unique_lock lock(segmenter_.mutex_);
    while (workspace_ == nullptr) {
      segmenter_.returned_.wait(lock, [this] { return !segmenter_.free_.empty() || can_open(); });
      if (segmenter_.free_.empty()) {
        open(lock);
      } else {
        workspace_ = segmenter_.free_.back();
        segmenter_.free_.pop_back();
      }
    }
  }

  ~BorrowedWorkspace() {
    {
      const std::lock_guard lock(segmenter_.mutex_);
      segmenter_.free_.push_back(workspace_);  // within its capacity
    }
    segmenter_.returned_.notify_one();
  }

  BorrowedWorkspace(const BorrowedWorkspace &) = delete;
  BorrowedWorkspace &operator=(const BorrowedWorkspace &) = delete;

  Workspace &operator*() const { return *workspace_; }

 private:
  bool can_open() const {
    const std::size_t most = segmenter_.backend_->most_lanes();
    return !has_failed_ &&
           (most == 0 || segmenter_.workspaces_.size() + segmenter_.opening_ < most);
  }

  // While a lane opens, other calls go on.  If that fails, this call takes one that they return.
  void open(std::unique_lock<std::mutex> &lock) {
    ++segmenter_.opening_;
    lock.unlock();
    auto created = std::make_unique<Workspace>();
    std::exception_ptr failure;
    try {
      created->lane = segmenter_.backend_->open_lane();
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    --segmenter_.opening_;
    if (failure) {
      segmenter_.returned_.notify_all();  // there is room for another again
      if (segmenter_.workspaces_.empty()) std::rethrow_exception(failure);
      has_failed_ = true;
      return;
    }
    segmenter_.free_.reserve(segmenter_.workspaces_.size() + 1);
    segmenter_.workspaces_.push_back(std::move(created));
    workspace_ = segmenter_.workspaces_.back().get();
  }

  Segmenter &segmenter_;
  Workspace *workspace_ = nullptr;
  bool has_failed_ = false;
};

Segmenter::Segmenter(const std::string &path, const OpenOptions &options)
    : artifact_(opened(path, options)),
      provider_(provider_of(artifact_, options)),
      backend_(std::make_unique<Backend>(artifact_, with_provider(options, artifact_))),
      ranges_(frame_ranges(artifact_.manifest)),
      blank_masks_(artifact_.manifest, ranges_) {
  machine_parts_ = backend_->machine();
  machine_ = join(machine_parts_, ", ");
  apply_selftest_policy(*this, options.selftest);
}

void Segmenter::segment(const dsunet_frame *frames, const dsunet_mask *masks, std::size_t count) {
  const BorrowedWorkspace borrowed(*this);
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
  const BorrowedWorkspace borrowed(*this);
  BackendLane &lane = *(*borrowed).lane;
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
  workspace.chunk_masks.clear();
  const auto is_taken = [&](std::size_t index) {
    const FrameView &frame = workspace.frames[index];
    const bool fits = frame.width == first.width && frame.height == first.height;
    if (!fits || workspace.chunk.size() == most) return false;
    workspace.chunk.push_back(frame);
    workspace.chunk_masks.push_back(workspace.masks[index]);
    return true;
  };
  auto &pending = workspace.pending;
  pending.erase(std::remove_if(pending.begin(), pending.end(), is_taken), pending.end());
}

// Frames and masks are copied only where that is needed.
void Segmenter::run_chunk(Workspace &workspace) {
  const auto &frames = workspace.chunk;
  const auto &masks = workspace.chunk_masks;
  const FrameView &first = frames.front();
  const std::size_t pixels = first.pixels();
  const auto count = std::max(static_cast<std::int64_t>(frames.size()), ranges_.batch.minimum);
  const bool can_be_direct =
      backend_->takes_any_memory() && frames.size() == static_cast<std::size_t>(count);
  const bool reads_directly = can_be_direct && are_one_block(frames.data(), frames.size());
  const bool writes_directly = can_be_direct && are_one_block(masks.data(), first, masks.size());

  dsunet_batch batch{first.data, masks.front().data, count, first.height, first.width};
  if (!reads_directly || !writes_directly) {
    std::uint8_t *input = nullptr;
    const dsunet_batch own = workspace.lane->reserve(count, first.height, first.width, &input);
    if (!reads_directly) {
      convert_all(frames, static_cast<std::size_t>(count), input);
      batch.frames = own.frames;
    }
    if (!writes_directly) batch.masks = own.masks;
  }
  workspace.lane->run(batch);
  for (std::size_t place = 0; place < frames.size(); ++place) {
    const std::uint8_t *levels = batch.masks + pixels * place;
    blank_masks_.add(levels, pixels);
    write_mask(levels, first, masks[place]);
  }
  blank_masks_.check(*workspace.lane);
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

}  // namespace dsunet_runtime
