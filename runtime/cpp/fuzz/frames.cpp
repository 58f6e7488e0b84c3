// Frames and masks with any fields through the C interface, in buffers of exactly the size that
// dsunet/runtime.h requires.  Masks are compared with arithmetic that reads each pixel by itself.
//
// DSUNET_FUZZ_ARTIFACT and DSUNET_FUZZ_BACKENDS name an artifact of frames of any size, and the
// folder of the backend in tests/stand_in_backend.cpp.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "dsunet/runtime.h"

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::int64_t kMostBytes = 1 << 18;
constexpr std::ptrdiff_t kMostOfStride = 1 << 14;

dsunet_segmenter *segmenter() {
  static dsunet_segmenter *const opened = [] {
    dsunet_options options = DSUNET_OPTIONS_INIT;
    options.backends = std::getenv("DSUNET_FUZZ_BACKENDS");
    dsunet_segmenter *one = nullptr;
    const char *path = std::getenv("DSUNET_FUZZ_ARTIFACT");
    if (dsunet_open(path == nullptr ? "" : path, &options, &one) != DSUNET_OK) {
      std::fprintf(stderr, "%s\n", dsunet_last_error());
      std::exit(1);
    }
    return one;
  }();
  return opened;
}

std::int32_t drawn(FuzzedDataProvider &input, std::int32_t low, std::int32_t high) {
  constexpr std::int32_t kStrange[] = {INT32_MIN, -1, 0, (1 << 20) + 1, INT32_MAX};
  return input.ConsumeIntegralInRange(0, 30) == 0 ? input.PickValueInArray(kStrange)
                                                  : input.ConsumeIntegralInRange(low, high);
}

std::ptrdiff_t drawn_stride(FuzzedDataProvider &input, std::ptrdiff_t row) {
  constexpr std::ptrdiff_t kStrange[] = {PTRDIFF_MIN, PTRDIFF_MAX, -1, 1, std::ptrdiff_t{1} << 40};
  switch (input.ConsumeIntegralInRange(0, 9)) {
    case 0:
      return input.PickValueInArray(kStrange);
    case 1:
    case 2:
    case 3:
      return 0;
    case 4:
    case 5:
      return -(row + input.ConsumeIntegralInRange(-1, 9));
    default:
      return row + input.ConsumeIntegralInRange(-1, 9);
  }
}

// Memory of rows that are `stride` apart; `first` is the address of the first, which may be the
// last one in memory.
struct Rows {
  std::unique_ptr<Bytes> bytes;
  std::uint8_t *first = nullptr;

  // Allocate it.  Returns false for sizes that are not tried.
  bool make(std::int64_t rows, std::int64_t row, std::ptrdiff_t stride, std::int64_t extra = 0) {
    if (rows < 1 || row < 1 || rows > 1000 || row > 4000) return false;
    if (stride < -kMostOfStride || stride > kMostOfStride) return false;
    const std::int64_t distance = stride < 0 ? -stride : stride;
    const std::int64_t size = (rows - 1) * distance + row + extra;
    if (size < 1 || size > kMostBytes) return false;
    bytes = std::make_unique<Bytes>(static_cast<std::size_t>(size));
    for (std::size_t at = 0; at < bytes->size(); ++at)
      (*bytes)[at] = static_cast<std::uint8_t>(at * 37 + at / 251);
    first = bytes->data() + (stride < 0 ? (rows - 1) * distance : 0);
    return true;
  }
};

struct Case {
  dsunet_frame frame = DSUNET_FRAME_INIT;
  dsunet_mask mask = DSUNET_MASK_INIT;
  Rows luma, chroma, levels;
  std::ptrdiff_t stride = 0, chroma_stride = 0;  // as the header defines the defaults
  const std::uint8_t *chroma_first = nullptr;

  std::int32_t width() const { return is_whole() ? frame.width : frame.region_width; }
  std::int32_t height() const { return is_whole() ? frame.height : frame.region_height; }
  bool is_whole() const {
    return frame.x == 0 && frame.y == 0 && frame.region_width == 0 && frame.region_height == 0;
  }

  // Draw all fields.  Returns false for sizes that are not tried.
  bool draw(FuzzedDataProvider &input) {
    frame.width = drawn(input, 1, 40);
    frame.height = drawn(input, 1, 20);
    frame.format = drawn(input, 0, 4);
    frame.encoding = drawn(input, 0, 3);
    if (input.ConsumeBool()) {
      frame.x = drawn(input, 0, 40);
      frame.y = drawn(input, 0, 20);
      frame.region_width = drawn(input, 0, 40);
      frame.region_height = drawn(input, 0, 20);
    }
    const std::int64_t pixel = frame.format == DSUNET_NV12                                  ? 1
                               : frame.format == DSUNET_RGBA || frame.format == DSUNET_BGRA ? 4
                                                                                            : 3;
    const std::int64_t row = pixel * frame.width;
    const std::int64_t chroma_row = (std::int64_t{frame.width} + 1) / 2 * 2;
    const std::int64_t chroma_rows = (std::int64_t{frame.height} + 1) / 2;
    frame.stride = drawn_stride(input, row);
    stride = frame.stride == 0 ? row : frame.stride;
    const bool has_plane = input.ConsumeBool();
    std::int64_t extra = 0;
    if (stride < -kMostOfStride || stride > kMostOfStride) return false;
    if (frame.format == DSUNET_NV12) {
      frame.chroma_stride = drawn_stride(input, chroma_row);
      const bool is_gapless =
          frame.stride == 0 || (-chroma_row < frame.stride && frame.stride < chroma_row);
      chroma_stride = frame.chroma_stride != 0 ? frame.chroma_stride
                      : is_gapless             ? chroma_row
                                               : stride;
      if (has_plane && !chroma.make(chroma_rows, chroma_row, chroma_stride)) return false;
      if (!has_plane && (chroma_stride < 0 || chroma_stride > kMostOfStride)) return false;
      if (!has_plane) extra = stride - row + (chroma_rows - 1) * chroma_stride + chroma_row;
    }
    if (!luma.make(frame.height, row, stride, extra)) return false;
    frame.data = luma.first;
    frame.chroma = chroma.first;
    chroma_first = has_plane ? chroma.first : luma.first + frame.height * stride;
    mask.stride = drawn_stride(input, width());
    mask.threshold = drawn(input, 0, 255);
    if (!levels.make(height(), width(), mask.stride == 0 ? width() : mask.stride)) return false;
    mask.data = levels.first;
    if (input.ConsumeIntegralInRange(0, 40) == 0) frame.data = nullptr;
    if (input.ConsumeIntegralInRange(0, 40) == 0) mask.data = nullptr;
    return true;
  }

  static std::int32_t limited(std::int64_t fixed) {
    const std::int64_t level = (fixed + 32768) >> 16;
    return static_cast<std::int32_t>(level < 0 ? 0 : level > 255 ? 255 : level);
  }

  std::uint8_t expected(std::int32_t column, std::int32_t row) const {
    const std::int32_t x = frame.x + column, y = frame.y + row;
    std::int32_t red = 0, green = 0, blue = 0;
    if (frame.format == DSUNET_NV12) {
      // ITU-R BT.601 and BT.709, with 16 fractional bits: zero and factor of Y, then of U and V.
      constexpr std::int64_t kFactors[4][6] = {{16, 76309, 104597, 25675, 53279, 132201},
                                               {0, 65536, 91881, 22553, 46802, 116130},
                                               {16, 76309, 117489, 13975, 34925, 138438},
                                               {0, 65536, 103206, 12276, 30679, 121609}};
      const std::int64_t *by = kFactors[frame.encoding];
      const std::uint8_t *pair = chroma_first + (y / 2) * chroma_stride + x / 2 * 2;
      const std::int64_t luminance = by[1] * (luma.first[y * stride + x] - by[0]);
      const std::int64_t u = pair[0] - 128, v = pair[1] - 128;
      red = limited(luminance + by[2] * v);
      green = limited(luminance - by[3] * u - by[4] * v);
      blue = limited(luminance + by[5] * u);
    } else {
      const bool has_alpha = frame.format == DSUNET_RGBA || frame.format == DSUNET_BGRA;
      const std::uint8_t *pixel = luma.first + y * stride + (has_alpha ? 4 : 3) * x;
      const bool is_reversed = frame.format == DSUNET_BGR || frame.format == DSUNET_BGRA;
      red = pixel[is_reversed ? 2 : 0];
      green = pixel[1];
      blue = pixel[is_reversed ? 0 : 2];
    }
    const int level = (red + 2 * green + 5 * blue) / 8;
    if (mask.threshold == 0) return static_cast<std::uint8_t>(level);
    return level >= mask.threshold ? 255 : 0;
  }

  bool is_right() const {
    const std::ptrdiff_t apart = mask.stride == 0 ? width() : mask.stride;
    for (std::int32_t row = 0; row < height(); ++row) {
      for (std::int32_t column = 0; column < width(); ++column) {
        if (levels.first[row * apart + column] != expected(column, row)) return false;
      }
    }
    return true;
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  std::vector<Case> all(input.ConsumeIntegralInRange<std::size_t>(1, 4));
  std::vector<dsunet_frame> frames;
  std::vector<dsunet_mask> masks;
  for (Case &one : all) {
    if (!one.draw(input)) return 0;
    frames.push_back(one.frame);
    masks.push_back(one.mask);
  }
  // No size of a struct is odd.  Smaller ones would make it another frame.
  if (input.ConsumeIntegralInRange(0, 20) == 0) frames.back().struct_size |= 1;
  std::vector<Bytes> before;
  for (const Case &one : all) before.push_back(*one.levels.bytes);
  if (dsunet_segment(segmenter(), frames.data(), masks.data(), frames.size()) == DSUNET_OK) {
    for (const Case &one : all) {
      if (!one.is_right()) __builtin_trap();
    }
    return 0;
  }
  if (std::strlen(dsunet_last_error()) < 10) __builtin_trap();
  for (std::size_t at = 0; at < all.size(); ++at) {
    if (*all[at].levels.bytes != before[at]) __builtin_trap();
  }
  return 0;
}
