// A loaded artifact: frames of any size and format to batches, and batches to masks.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "backend.hpp"
#include "pixels.hpp"
#include "shapes.hpp"

namespace dsunet_runtime {

class Segmenter {
 public:
  // Throws Fault.
  Segmenter(const std::string &path, const OpenOptions &options);

  const Artifact &artifact() const { return artifact_; }
  const FrameRanges &ranges() const { return ranges_; }
  const std::string &provider() const { return provider_; }
  const std::string &machine() const { return machine_; }
  const std::vector<std::string> &machine_parts() const { return machine_parts_; }

  // See dsunet_segment.  Throws Fault.
  void segment(const dsunet_frame *frames, const dsunet_mask *masks, std::size_t count);

  // See dsunet_segment_device.  Throws Fault.
  void segment_device(const dsunet_frame *frames, const dsunet_mask *masks, std::size_t count,
                      void *stream);

  // Draws the frame at a place of a batch as RGB without gaps.
  using PicturesOfBatch = std::function<void(std::int64_t place, std::uint8_t *rgb)>;

  // Compute the levels of a batch that the artifact takes, as they are: for the self-test.
  void compute_levels(const PicturesOfBatch &draw, std::int64_t count, std::int64_t height,
                      std::int64_t width, std::vector<std::uint8_t> &levels);

 private:
  // What one call uses; kept for later calls, so that they allocate nothing.
  struct Workspace {
    std::unique_ptr<Lane> lane;
    std::vector<FrameView> frames;
    std::vector<MaskView> masks;
    std::vector<std::size_t> pending;
    std::vector<FrameView> chunk;  // frames of one size for one batch, and their masks
    std::vector<MaskView> chunk_masks;
  };
  class Borrowed;

  void take_all(Workspace &workspace, const dsunet_frame *frames, const dsunet_mask *masks,
                std::size_t count) const;
  void take_chunk(Workspace &workspace) const;
  void run_chunk(Workspace &workspace);
  void check_size(const FrameView &frame) const;
  void notice(const std::uint8_t *levels, std::size_t count);
  void require_numbers(Lane &lane);
  void compute_test_pictures(Lane &lane);

  Artifact artifact_;
  std::string provider_;
  std::unique_ptr<Backend> backend_;
  FrameRanges ranges_;  // checked after what the backend checks, as in Python
  std::vector<std::string> machine_parts_;
  std::string machine_;

  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<Workspace>> workspaces_;
  std::size_t opening_ = 0;  // workspaces that calls are opening
  std::vector<Workspace *> free_;

  // Of segment_device, which must not wait for a workspace.
  std::mutex device_mutex_;
  std::vector<FrameView> device_frames_;
  std::vector<MaskView> device_masks_;

  // Whether a mask that is not blank was seen, which a network that computes NaN has none of
  // (blank_masks.py).
  std::atomic<bool> computes_{false};
  std::mutex blank_mutex_;
  bool has_tried_pictures_ = false;
};

}  // namespace dsunet_runtime
