// C++17 over the C interface (dsunet/runtime.h): owners, views and exceptions.  Header only.
//
//     dsunet::Segmenter segmenter("dsunet.onnx");
//     std::vector<std::uint8_t> levels(1280 * 720);
//     segmenter.segment(dsunet::rgb(pixels, 1280, 720), dsunet::mask(levels.data()));
//
// All functions throw dsunet::Error, except destructors and moves.  Frames and masks are views: the
// caller keeps their memory.  `dsunet/runtime.h` documents threads, ownership and copies, which are
// the same here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "dsunet/runtime.h"

namespace dsunet {

// An error of the C interface: its status, and one line that says what is wrong and what to do.
class Error : public std::runtime_error {
 public:
  Error(dsunet_status status, const std::string &message)
      : std::runtime_error(message), status_(status) {}

  dsunet_status status() const noexcept { return status_; }

 private:
  dsunet_status status_;
};

// Throws Error unless the status is DSUNET_OK.
inline void require(dsunet_status status) {
  if (status != DSUNET_OK) throw Error(status, dsunet_last_error());
}

// The options of dsunet_open; see dsunet_options.  Fields that are not set are the defaults.
struct Options {
  std::string provider;  // empty: `cpu` for ONNX files; always empty for engines
  int threads = 0;
  int device = 0;
  dsunet_selftest_policy selftest = DSUNET_SELFTEST_AUTO;
  bool allow_cpu_fallback = false;
  bool verify_hashes = false;
  std::string library, provider_library, backends;  // empty: the default
};

using Frame = dsunet_frame;
using Mask = dsunet_mask;
using Description = dsunet_description;
using SelfTestResult = dsunet_selftest_result;

// A frame of any packed format.  `data` is the top row; `stride` is in bytes, 0: rows without gaps.
inline Frame frame(dsunet_pixel_format format, const void *data, int width, int height,
                   std::ptrdiff_t stride = 0) {
  Frame result = DSUNET_FRAME_INIT;
  result.data = data;
  result.width = width;
  result.height = height;
  result.stride = stride;
  result.format = format;
  return result;
}

inline Frame rgb(const void *data, int width, int height, std::ptrdiff_t stride = 0) {
  return frame(DSUNET_RGB, data, width, height, stride);
}

inline Frame bgr(const void *data, int width, int height, std::ptrdiff_t stride = 0) {
  return frame(DSUNET_BGR, data, width, height, stride);
}

// A frame of planes Y and UV.  Without `chroma`, the plane UV is `height` rows after `luma`.
inline Frame nv12(const void *luma, int width, int height, std::ptrdiff_t stride = 0,
                  const void *chroma = nullptr, std::ptrdiff_t chroma_stride = 0,
                  dsunet_yuv_encoding encoding = DSUNET_BT601_LIMITED) {
  Frame result = frame(DSUNET_NV12, luma, width, height, stride);
  result.chroma = chroma;
  result.chroma_stride = chroma_stride;
  result.encoding = encoding;
  return result;
}

// A frame with a region of interest, in pixels.
inline Frame region(Frame whole, int x, int y, int width, int height) {
  whole.x = x;
  whole.y = y;
  whole.region_width = width;
  whole.region_height = height;
  return whole;
}

// A mask of levels; with a threshold of 1 to 255, of 255 where a level is at least that, else of 0.
inline Mask mask(void *data, std::ptrdiff_t stride = 0, int threshold = 0) {
  Mask result = DSUNET_MASK_INIT;
  result.data = data;
  result.stride = stride;
  result.threshold = threshold;
  return result;
}

// A loaded artifact.  It can be moved, not copied; calls of one that was moved from throw Error.
class Segmenter {
 public:
  // Throws Error; see dsunet_open.
  explicit Segmenter(const std::string &path, const Options &options = {}) {
    dsunet_options given = DSUNET_OPTIONS_INIT;
    given.provider = or_null(options.provider);
    given.threads = options.threads;
    given.device = options.device;
    given.selftest = options.selftest;
    given.allow_cpu_fallback = options.allow_cpu_fallback ? 1 : 0;
    given.verify_hashes = options.verify_hashes ? 1 : 0;
    given.library = or_null(options.library);
    given.provider_library = or_null(options.provider_library);
    given.backends = or_null(options.backends);
    require(dsunet_open(path.c_str(), &given, &segmenter_));
  }

  ~Segmenter() { dsunet_close(&segmenter_); }
  Segmenter(const Segmenter &) = delete;
  Segmenter &operator=(const Segmenter &) = delete;
  Segmenter(Segmenter &&other) noexcept : segmenter_(std::exchange(other.segmenter_, nullptr)) {}

  Segmenter &operator=(Segmenter &&other) noexcept {
    std::swap(segmenter_, other.segmenter_);
    return *this;
  }

  // Compute the mask of one frame in host memory, and wait for it.
  void segment(const Frame &frame, const Mask &mask) {
    require(dsunet_segment(segmenter_, &frame, &mask, 1));
  }

  // Compute the masks of frames of any sizes and formats.  Throws Error if there are not as many
  // masks.
  void segment(const std::vector<Frame> &frames, const std::vector<Mask> &masks) {
    check_counts(frames, masks);
    segment(frames.data(), masks.data(), frames.size());
  }

  // The same from arrays of `count` frames and masks, without an allocation.
  void segment(const Frame *frames, const Mask *masks, std::size_t count) {
    require(dsunet_segment(segmenter_, frames, masks, count));
  }

  // Return the mask of one frame, or of its region: height × width bytes, without gaps.
  std::vector<std::uint8_t> segment(const Frame &frame, int threshold = 0) {
    const bool is_whole = frame.region_width == 0 && frame.region_height == 0;
    const int width = is_whole ? frame.width : frame.region_width;
    const int height = is_whole ? frame.height : frame.region_height;
    std::vector<std::uint8_t> levels = levels_for(width, height);
    std::uint8_t nothing = 0;
    segment(frame, mask(levels.empty() ? &nothing : levels.data(), 0, threshold));
    return levels;
  }

  // Enqueue frames in GPU memory on a CUDA stream; see dsunet_segment_device.
  void segment_device(const std::vector<Frame> &frames, const std::vector<Mask> &masks,
                      void *stream) {
    check_counts(frames, masks);
    require(dsunet_segment_device(segmenter_, frames.data(), masks.data(), frames.size(), stream));
  }

  // Describe the artifact.  Strings are valid as long as this object, or the one it is moved to.
  Description describe() const {
    Description description = DSUNET_DESCRIPTION_INIT;
    require(dsunet_describe(segmenter_, &description));
    return description;
  }

  // Compare masks with the references in the artifact.  It fails if `failed` is above 0.  Throws
  // Error if the masks cannot be computed.
  SelfTestResult selftest() {
    SelfTestResult result = DSUNET_SELFTEST_RESULT_INIT;
    const dsunet_status status = dsunet_selftest(segmenter_, &result);
    if (status != DSUNET_ERROR_SELFTEST) require(status);
    return result;
  }

  // The handle, for functions of the C interface.  This object owns it.
  dsunet_segmenter *get() const noexcept { return segmenter_; }

 private:
  static const char *or_null(const std::string &text) {
    return text.empty() ? nullptr : text.c_str();
  }

  // Memory for a mask; empty for sides below 1, which the library refuses with its own message.
  static std::vector<std::uint8_t> levels_for(int width, int height) {
    if (width < 1 || height < 1) return {};
    try {
      return std::vector<std::uint8_t>(static_cast<std::size_t>(width) *
                                       static_cast<std::size_t>(height));
    } catch (const std::exception &) {
      throw Error(DSUNET_ERROR_MEMORY, "a mask of " + std::to_string(width) + "×" +
                                           std::to_string(height) +
                                           " does not fit in memory: use a smaller frame");
    }
  }

  static void check_counts(const std::vector<Frame> &frames, const std::vector<Mask> &masks) {
    if (frames.size() != masks.size()) {
      throw Error(DSUNET_ERROR_ARGUMENT, std::to_string(frames.size()) + " frames and " +
                                             std::to_string(masks.size()) +
                                             " masks: give one mask for each frame");
    }
  }

  dsunet_segmenter *segmenter_ = nullptr;
};

}  // namespace dsunet
