// Calls all functions of the C interface, with valid and invalid input and from several threads,
// and compares the masks.  Tests run it with sanitizers.
//
//     dsunet_exercise FOLDER
//
// FOLDER has good.onnx and fixed.onnx (batches of 3), which compute (R + 2 G + 5 B) / 8, and files
// in bad/, none of which is an artifact.
#include <atomic>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "dsunet/runtime.hpp"

namespace {

std::atomic<int> failures{0};

void expect(bool holds, const char *what) {
  if (holds) return;
  ++failures;
  std::fprintf(stderr, "not so: %s (%s)\n", what, dsunet_last_error());
}

// A call is refused with this status and a sentence.
void refused(dsunet_status status, dsunet_status expected, const char *what) {
  const bool has_sentence = std::strlen(dsunet_last_error()) > 10;
  expect(status == expected && has_sentence, what);
}

struct Image {
  int width, height;
  std::vector<std::uint8_t> rgb, expected, levels;

  Image(int w, int h, unsigned seed)
      : width(w), height(h), rgb(3 * pixels()), expected(pixels()), levels(pixels()) {
    for (std::uint8_t &byte : rgb)
      byte = static_cast<std::uint8_t>((seed = seed * 1664525 + 1013904223) >> 24);
    for (std::size_t at = 0; at < pixels(); ++at) {
      expected[at] =
          static_cast<std::uint8_t>((rgb[3 * at] + 2 * rgb[3 * at + 1] + 5 * rgb[3 * at + 2]) / 8);
    }
  }

  std::size_t pixels() const {
    return static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
  }
  dsunet_frame frame() const { return dsunet::rgb(rgb.data(), width, height); }
  dsunet_mask mask() { return dsunet::mask(levels.data()); }
};

dsunet_segmenter *open(const std::string &path) {
  dsunet_options options = DSUNET_OPTIONS_INIT;
  options.threads = 1;
  options.verify_hashes = 1;
  dsunet_segmenter *segmenter = nullptr;
  expect(dsunet_open(path.c_str(), &options, &segmenter) == DSUNET_OK, "a good artifact opens");
  return segmenter;
}

void segment_some(dsunet_segmenter *segmenter, unsigned seed) {
  for (const auto &[width, height] : {std::pair{60, 40}, {17, 33}, {1, 1}, {60, 40}, {255, 3}}) {
    Image image(width, height, ++seed);
    const dsunet_frame frame = image.frame();
    const dsunet_mask mask = image.mask();
    expect(dsunet_segment(segmenter, &frame, &mask, 1) == DSUNET_OK, "a frame is segmented");
    expect(image.levels == image.expected, "its mask is right");
  }
  std::vector<Image> images;
  for (const int side : {9, 20, 9, 9, 9, 20}) images.emplace_back(side, side + 1, ++seed);
  std::vector<dsunet_frame> frames;
  std::vector<dsunet_mask> masks;
  for (Image &image : images) {
    frames.push_back(image.frame());
    masks.push_back(image.mask());
  }
  expect(dsunet_segment(segmenter, frames.data(), masks.data(), frames.size()) == DSUNET_OK,
         "a batch is segmented");
  for (const Image &image : images) expect(image.levels == image.expected, "its masks are right");
}

// Every format, with strides, regions and thresholds, in buffers that end where they must.
void segment_formats(dsunet_segmenter *segmenter) {
  for (std::int32_t format = DSUNET_RGB; format <= DSUNET_NV12; ++format) {
    for (const std::ptrdiff_t gap : {0, 5}) {
      const int width = 13, height = 7;
      const std::ptrdiff_t pixel = format == DSUNET_NV12                            ? 1
                                   : format == DSUNET_RGBA || format == DSUNET_BGRA ? 4
                                                                                    : 3;
      const std::ptrdiff_t stride = format == DSUNET_NV12 ? width + 1 + gap : pixel * width + gap;
      const int rows = format == DSUNET_NV12 ? height + (height + 1) / 2 : height;
      std::vector<std::uint8_t> data(static_cast<std::size_t>(stride * rows - gap), 100);
      std::vector<std::uint8_t> levels(static_cast<std::size_t>(width * height));
      dsunet_frame frame = DSUNET_FRAME_INIT;
      frame.data = data.data();
      frame.width = width;
      frame.height = height;
      frame.stride = stride;
      frame.format = format;
      for (std::int32_t encoding = 0; encoding < 4; ++encoding) {
        frame.encoding = encoding;
        dsunet_mask mask = dsunet::mask(levels.data());
        expect(dsunet_segment(segmenter, &frame, &mask, 1) == DSUNET_OK, "a format is segmented");
      }
      dsunet_frame region = dsunet::region(frame, 12, 6, 1, 1);
      dsunet_mask mask = dsunet::mask(levels.data(), 40, 101);
      expect(dsunet_segment(segmenter, &region, &mask, 1) == DSUNET_OK, "a region is segmented");
      expect(levels[0] == 0, "it is below the threshold");
      if (format == DSUNET_NV12) continue;
      frame.data = data.data() + (height - 1) * stride;
      frame.stride = -stride;
      mask = dsunet::mask(levels.data() + (height - 1) * width, -width);
      expect(dsunet_segment(segmenter, &frame, &mask, 1) == DSUNET_OK, "it begins at the bottom");
    }
  }
}

void misuse(dsunet_segmenter *segmenter) {
  Image image(6, 4, 1);
  const dsunet_frame good = image.frame();
  const dsunet_mask mask = image.mask();
  refused(dsunet_segment(nullptr, &good, &mask, 1), DSUNET_ERROR_ARGUMENT, "no segmenter");
  refused(dsunet_segment(segmenter, nullptr, &mask, 1), DSUNET_ERROR_ARGUMENT, "no frames");
  refused(dsunet_segment(segmenter, &good, nullptr, 1), DSUNET_ERROR_ARGUMENT, "no masks");
  refused(dsunet_segment(segmenter, &good, &mask, 0), DSUNET_ERROR_ARGUMENT, "count 0");
  refused(dsunet_segment(segmenter, &good, &mask, SIZE_MAX), DSUNET_ERROR_ARGUMENT, "a huge count");
  refused(dsunet_describe(segmenter, nullptr), DSUNET_ERROR_ARGUMENT, "no description");
  refused(dsunet_describe(nullptr, nullptr), DSUNET_ERROR_ARGUMENT, "nothing described");
  refused(dsunet_selftest(nullptr, nullptr), DSUNET_ERROR_ARGUMENT, "nothing tested");
  refused(dsunet_selftest(segmenter, nullptr), DSUNET_ERROR_ARTIFACT,
          "no self-test in the artifact");
  refused(dsunet_segment_device(segmenter, &good, &mask, 1, nullptr), DSUNET_ERROR_BACKEND,
          "an ONNX file on a stream");
  refused(dsunet_segment_device(segmenter, &good, &mask, SIZE_MAX, nullptr), DSUNET_ERROR_ARGUMENT,
          "a huge count on a stream");
  refused(dsunet_open(nullptr, nullptr, nullptr), DSUNET_ERROR_ARGUMENT, "nowhere to open to");
  dsunet_segmenter *none = segmenter;
  refused(dsunet_open(nullptr, nullptr, &none), DSUNET_ERROR_ARGUMENT, "nothing to open");
  expect(none == nullptr, "a failed call gives NULL");
  dsunet_close(&none);
  dsunet_close(nullptr);

  constexpr std::ptrdiff_t kStrides[] = {1, -1, 17, -17, PTRDIFF_MIN, PTRDIFF_MAX, PTRDIFF_MIN / 2};
  for (const std::ptrdiff_t stride : kStrides) {
    dsunet_frame frame = good;
    frame.stride = stride;
    refused(dsunet_segment(segmenter, &frame, &mask, 1), DSUNET_ERROR_IMAGE, "a stride");
    dsunet_mask other = mask;
    other.stride = stride > 0 && stride < 100 ? 5 : stride < 0 && stride > -100 ? -5 : stride;
    refused(dsunet_segment(segmenter, &good, &other, 1), DSUNET_ERROR_IMAGE, "a mask's stride");
  }
  constexpr std::int32_t kSizes[] = {0, -1, INT32_MIN, INT32_MAX, (1 << 20) + 1};
  for (const std::int32_t size : kSizes) {
    dsunet_frame frame = good;
    frame.width = size;
    refused(dsunet_segment(segmenter, &frame, &mask, 1), DSUNET_ERROR_IMAGE, "a width");
    frame = good;
    frame.height = size;
    refused(dsunet_segment(segmenter, &frame, &mask, 1), DSUNET_ERROR_IMAGE, "a height");
    frame = good;
    frame.region_width = size == 0 ? 7 : size;
    refused(dsunet_segment(segmenter, &frame, &mask, 1), DSUNET_ERROR_IMAGE, "a region");
    frame = dsunet::region(good, size == 0 ? 1 : size, 0, 6, 4);
    refused(dsunet_segment(segmenter, &frame, &mask, 1), DSUNET_ERROR_IMAGE, "a region's place");
  }
  for (const std::int32_t value : {-1, 5, INT32_MIN, INT32_MAX}) {
    dsunet_frame frame = good;
    frame.format = value;
    refused(dsunet_segment(segmenter, &frame, &mask, 1), DSUNET_ERROR_IMAGE, "a format");
    frame = good;
    frame.encoding = value;
    refused(dsunet_segment(segmenter, &frame, &mask, 1), DSUNET_ERROR_IMAGE, "an encoding");
    dsunet_mask other = mask;
    other.threshold = value == 5 ? 256 : value;
    refused(dsunet_segment(segmenter, &good, &other, 1), DSUNET_ERROR_IMAGE, "a threshold");
  }
  for (const std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{4104}, SIZE_MAX}) {
    dsunet_frame frame = good;
    frame.struct_size = size;
    refused(dsunet_segment(segmenter, &frame, &mask, 1), DSUNET_ERROR_ARGUMENT, "a struct_size");
  }
}

void open_bad_files(const std::string &folder) {
  for (const auto &entry : std::filesystem::directory_iterator(folder)) {
    dsunet_segmenter *segmenter = nullptr;
    const dsunet_status status = dsunet_open(entry.path().c_str(), nullptr, &segmenter);
    expect(status == DSUNET_ERROR_ARTIFACT || status == DSUNET_ERROR_BACKEND, entry.path().c_str());
    expect(segmenter == nullptr, "no segmenter of a bad file");
  }
}

template <class Body>
void in_threads(int count, const Body &body) {
  std::vector<std::thread> threads;
  for (int number = 0; number < count; ++number)
    threads.emplace_back([&body, number] { body(number); });
  for (std::thread &thread : threads) thread.join();
}

void describe(dsunet_segmenter *segmenter) {
  dsunet_description description = DSUNET_DESCRIPTION_INIT;
  expect(dsunet_describe(segmenter, &description) == DSUNET_OK, "it is described");
  expect(std::strlen(description.manifest) > 100, "with its manifest");
}

}  // namespace

int main(int count, char **arguments) {
  if (count != 2) return 2;
  const std::string folder = arguments[1];
  dsunet_segmenter *good = open(folder + "/good.onnx");
  dsunet_segmenter *fixed = open(folder + "/fixed.onnx");
  if (good == nullptr || fixed == nullptr) return 1;
  expect(dsunet_interface_version() == DSUNET_INTERFACE_VERSION, "the versions agree");
  segment_some(good, 1);
  segment_some(fixed, 2);
  segment_formats(good);
  describe(good);
  misuse(good);
  segment_some(good, 3);
  open_bad_files(folder + "/bad");

  // One handle, and a handle of each thread, while others are opened and closed.
  in_threads(4, [&](int number) {
    for (unsigned round = 0; round < 4; ++round) segment_some(good, round);
    describe(good);
    if (number % 2 == 0) {
      dsunet_segmenter *own = open(folder + "/good.onnx");
      segment_some(own, 5);
      dsunet_close(&own);
      expect(own == nullptr, "a closed segmenter is NULL");
    } else {
      misuse(good);
    }
  });
  dsunet_close(&fixed);
  dsunet_close(&good);
  refused(dsunet_describe(good, nullptr), DSUNET_ERROR_ARGUMENT, "a closed segmenter");
  std::printf("%d failures\n", failures.load());
  return failures == 0 ? 0 : 1;
}
