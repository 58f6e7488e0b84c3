#include "pixels.hpp"

#include <cstdlib>
#include <cstring>
#include <string>

#include "../artifact/shapes.hpp"
#include "../errors.hpp"

namespace dsunet_runtime {
namespace {

constexpr std::ptrdiff_t kMostOfStride = std::ptrdiff_t{1} << 32;

// Sizes of up to 2²⁰ and such strides cannot overflow it.
static_assert(sizeof(std::ptrdiff_t) >= 8, "needs a 64-bit machine");

// Takes a literal, so that a valid frame allocates nothing for a message.
void require(bool holds, const char *message) {
  if (!holds) throw image_fault(message);
}

std::string by(std::int32_t width, std::int32_t height) {
  return std::to_string(width) + "×" + std::to_string(height);
}

void check_region(const dsunet_frame &frame) {
  const bool is_inside = frame.x >= 0 && frame.y >= 0 && frame.region_width >= 1 &&
                         frame.region_height >= 1 && frame.x <= frame.width - frame.region_width &&
                         frame.y <= frame.height - frame.region_height;
  if (is_inside) return;
  throw image_fault("the region " + by(frame.region_width, frame.region_height) + " at (" +
                    std::to_string(frame.x) + ", " + std::to_string(frame.y) +
                    ") is not inside the frame of " + by(frame.width, frame.height) +
                    " (width×height): clip it to the frame");
}

void check_size(const dsunet_frame &frame) {
  if (frame.width >= 1 && frame.height >= 1 && frame.width <= kMostOfDimension &&
      frame.height <= kMostOfDimension) {
    return;
  }
  throw image_fault("a frame of " + by(frame.width, frame.height) +
                    " (width×height) is empty or too large: sides are 1 to " +
                    std::to_string(kMostOfDimension));
}

void check_format(const dsunet_frame &frame) {
  if (frame.format < DSUNET_RGB || frame.format > DSUNET_NV12) {
    throw image_fault("unknown pixel format " + std::to_string(frame.format) +
                      ": use a dsunet_pixel_format");
  }
  if (frame.encoding < DSUNET_BT601_LIMITED || frame.encoding > DSUNET_BT709_FULL) {
    throw image_fault("unknown encoding " + std::to_string(frame.encoding) +
                      ": use a dsunet_yuv_encoding");
  }
}

// A plain loop, which compilers turn into vector instructions.
template <int kBytes, int kRed>
void copy_row(const std::uint8_t *pixels, std::int32_t width, std::uint8_t *rgb) {
  for (std::int32_t column = 0; column < width; ++column) {
    rgb[3 * column] = pixels[kBytes * column + kRed];
    rgb[3 * column + 1] = pixels[kBytes * column + 1];
    rgb[3 * column + 2] = pixels[kBytes * column + 2 - kRed];
  }
}

void convert_yuv_row(const FrameView &frame, std::int32_t row, std::uint8_t *rgb) {
  const YuvCoefficients coefficients = yuv_coefficients(frame.encoding);
  const std::uint8_t *luma = frame.data + row * frame.stride;
  const std::int32_t chroma_row = (frame.y + row) / 2 - frame.y / 2;
  const std::uint8_t *chroma = frame.chroma + chroma_row * frame.chroma_stride;
  for (std::int32_t column = 0; column < frame.width; ++column) {
    const std::uint8_t *pair = chroma + (frame.x + column) / 2 * 2;
    const Rgb pixel = rgb_of_yuv(luma[column], pair[0], pair[1], coefficients);
    rgb[3 * column] = pixel.red;
    rgb[3 * column + 1] = pixel.green;
    rgb[3 * column + 2] = pixel.blue;
  }
}

void convert_row(const FrameView &frame, std::int32_t row, std::uint8_t *rgb) {
  const std::uint8_t *pixels = frame.data + row * frame.stride;
  switch (frame.format) {
    case DSUNET_BGR:
      return copy_row<3, 2>(pixels, frame.width, rgb);
    case DSUNET_RGBA:
      return copy_row<4, 0>(pixels, frame.width, rgb);
    case DSUNET_BGRA:
      return copy_row<4, 2>(pixels, frame.width, rgb);
    case DSUNET_NV12:
      return convert_yuv_row(frame, row, rgb);
    default:
      std::memcpy(rgb, pixels, std::size_t{3} * static_cast<std::size_t>(frame.width));
  }
}

}  // namespace

std::ptrdiff_t checked_stride(const char *field, std::ptrdiff_t stride, std::ptrdiff_t row) {
  if (stride == 0) return row;
  const bool is_long_enough = stride >= row || stride <= -row;
  if (is_long_enough && -kMostOfStride <= stride && stride <= kMostOfStride) return stride;
  throw image_fault(std::string(field) + " is " + std::to_string(stride) + " bytes and a row has " +
                    std::to_string(row) + ": give the bytes from one row to the next, or 0");
}

FrameView checked(const dsunet_frame &frame) {
  require(frame.data != nullptr, "the frame's data is NULL: point it to the first row");
  check_size(frame);
  check_format(frame);
  dsunet_frame whole = frame;
  if (frame.x == 0 && frame.y == 0 && frame.region_width == 0 && frame.region_height == 0) {
    whole.region_width = frame.width;
    whole.region_height = frame.height;
  }
  check_region(whole);

  const std::ptrdiff_t pixel = bytes_per_pixel(frame.format);
  FrameView view{};
  view.stride = checked_stride("stride", frame.stride, pixel * frame.width);
  view.data =
      static_cast<const std::uint8_t *>(frame.data) + whole.y * view.stride + whole.x * pixel;
  view.x = whole.x;
  view.y = whole.y;
  view.width = whole.region_width;
  view.height = whole.region_height;
  view.format = frame.format;
  view.encoding = frame.encoding;
  if (frame.format == DSUNET_NV12) {
    const std::ptrdiff_t row = (std::ptrdiff_t{frame.width} + 1) / 2 * 2;
    require(frame.chroma != nullptr || view.stride > 0,
            "an NV12 frame that begins at the bottom needs its chroma: point it to the first row");
    // Of odd widths, a row of U and V is a byte longer than one of Y.
    const bool is_gapless = std::abs(view.stride) < row;
    const std::ptrdiff_t gapless = view.stride < 0 ? -row : row;
    const std::ptrdiff_t like_luma = is_gapless ? gapless : view.stride;
    view.chroma_stride = checked_stride(
        "chroma_stride", frame.chroma_stride == 0 ? like_luma : frame.chroma_stride, row);
    const auto *plane = static_cast<const std::uint8_t *>(
        frame.chroma != nullptr
            ? frame.chroma
            : static_cast<const std::uint8_t *>(frame.data) + frame.height * view.stride);
    view.chroma = plane + whole.y / 2 * view.chroma_stride;
  }
  return view;
}

void convert_to_rgb(const FrameView &frame, std::uint8_t *rgb) {
  const std::ptrdiff_t bytes = std::ptrdiff_t{3} * frame.width;
  if (frame.is_packed_rgb()) {
    std::memcpy(rgb, frame.data, static_cast<std::size_t>(bytes * frame.height));
    return;
  }
  for (std::int32_t row = 0; row < frame.height; ++row) convert_row(frame, row, rgb + row * bytes);
}

}  // namespace dsunet_runtime
