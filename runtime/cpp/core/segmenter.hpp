// A loaded artifact: from frames of any size and format to batches, and from batches to masks.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "artifact/shapes.hpp"
#include "backend.hpp"
#include "images/pixels.hpp"
#include "masks/blank_masks.hpp"

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

  // Draws the frame at an index of a batch as RGB without gaps.
  using PicturesOfBatch = std::function<void(std::int64_t place, std::uint8_t *rgb)>;

  // Compute the levels of a batch that the artifact takes, without a threshold: for the self-test.
  void compute_levels(const PicturesOfBatch &draw, std::int64_t count, std::int64_t height,
                      std::int64_t width, std::vector<std::uint8_t> &levels);

 private:
  // The lane and the lists of one call; kept for later calls, so that they allocate nothing.
  struct Workspace {
    std::unique_ptr<BackendLane> lane;
    std::vector<FrameView> frames;
    std::vector<MaskView> masks;
    std::vector<std::size_t> pending;
    std::vector<FrameView> chunk;  // frames of one size for one batch, and their masks
    std::vector<MaskView> chunk_masks;
  };
  class BorrowedWorkspace;

  void take_all(Workspace &workspace, const dsunet_frame *frames, const dsunet_mask *masks,
                std::size_t count) const;
  void take_chunk(Workspace &workspace) const;
  void run_chunk(Workspace &workspace);
  void check_size(const FrameView &frame) const;

  Artifact artifact_;
  std::string provider_;
  std::unique_ptr<Backend> backend_;
  FrameRanges ranges_;  // checked after what the backend checks, as in Python
  BlankMasks blank_masks_;
  std::vector<std::string> machine_parts_;
  std::string machine_;

  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<Workspace>> workspaces_;
  std::size_t opening_ = 0;  // number of workspaces that are being opened
  std::vector<Workspace *> free_;

  // Used by segment_device, which must not wait for a workspace.
  std::mutex device_mutex_;
  std::vector<FrameView> device_frames_;
  std::vector<MaskView> device_masks_;
};

}  // namespace dsunet_runtime
