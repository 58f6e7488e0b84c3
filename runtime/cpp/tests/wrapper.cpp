// Tests of the C++ wrapper: owners, views and exceptions.  Its argument is an artifact that
// computes (R + 2 G + 5 B) / 8.
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <type_traits>
#include <vector>

#include "dsunet/runtime.hpp"

namespace {

static_assert(!std::is_copy_constructible_v<dsunet::Segmenter>);
static_assert(std::is_nothrow_move_constructible_v<dsunet::Segmenter>);
static_assert(std::is_nothrow_move_assignable_v<dsunet::Segmenter>);

using Levels = std::vector<std::uint8_t>;

#define CHECK(condition) check(condition, #condition, __LINE__)

void check(bool holds, const char *condition, int line) {
  if (holds) return;
  std::fprintf(stderr, "line %d: not so: %s\n", line, condition);
  std::exit(1);
}

// The status and the message of what a call throws.
template <class Body>
dsunet::Error fault_of(const Body &body) {
  try {
    body();
  } catch (const dsunet::Error &error) {
    return error;
  }
  return {DSUNET_OK, ""};
}

// Colours in a row of RGB, and what the artifact computes of them.
const Levels kPixels{8, 16, 24, 80, 0, 0, 0, 80, 0, 0, 0, 80};
const Levels kLevels{(8 + 32 + 120) / 8, 10, 20, 50};

void test_frames(dsunet::Segmenter &segmenter) {
  CHECK(segmenter.segment(dsunet::rgb(kPixels.data(), 4, 1)) == kLevels);
  CHECK(segmenter.segment(dsunet::rgb(kPixels.data(), 4, 1), 20) == (Levels{255, 0, 255, 255}));
  CHECK(segmenter.segment(dsunet::rgb(kPixels.data(), 2, 2)) == kLevels);
  const Levels reversed{24, 16, 8, 0, 0, 80};
  CHECK(segmenter.segment(dsunet::bgr(reversed.data(), 2, 1)) == (Levels{20, 10}));
  const dsunet::Frame whole = dsunet::rgb(kPixels.data(), 4, 1);
  CHECK(segmenter.segment(dsunet::region(whole, 1, 0, 2, 1)) == (Levels{10, 20}));
  const dsunet::Frame column = dsunet::rgb(kPixels.data(), 1, 2, 6);
  CHECK(segmenter.segment(column) == (Levels{20, 20}));
  const Levels grey{100, 100, 100, 100, 128, 128};
  CHECK(segmenter.segment(dsunet::nv12(grey.data(), 2, 2, 0, nullptr, 0, DSUNET_BT601_FULL)) ==
        (Levels(4, 100)));
}

void test_batches(dsunet::Segmenter &segmenter) {
  Levels first(4), second(2);
  segmenter.segment({dsunet::rgb(kPixels.data(), 4, 1), dsunet::rgb(kPixels.data(), 1, 2)},
                    {dsunet::mask(first.data()), dsunet::mask(second.data())});
  CHECK(first == kLevels);
  CHECK(second == (Levels{20, 10}));
}

void test_faults(const char *path) {
  dsunet::Segmenter segmenter(path);
  const dsunet::Frame frame = dsunet::rgb(kPixels.data(), 4, 1);
  CHECK(fault_of([&] { segmenter.segment({frame}, std::vector<dsunet::Mask>{}); }).status() ==
        DSUNET_ERROR_ARGUMENT);
  CHECK(fault_of([&] { segmenter.segment(dsunet::rgb(nullptr, 4, 1)); }).status() ==
        DSUNET_ERROR_IMAGE);
  CHECK(fault_of([&] { segmenter.segment(dsunet::rgb(kPixels.data(), -4, 1)); }).status() ==
        DSUNET_ERROR_IMAGE);
  const int side = std::numeric_limits<int>::max();
  CHECK(fault_of([&] { segmenter.segment(dsunet::rgb(kPixels.data(), side, side)); }).status() ==
        DSUNET_ERROR_MEMORY);
  const dsunet::Error empty =
      fault_of([&] { segmenter.segment(dsunet::rgb(kPixels.data(), 0, 1)); });
  CHECK(empty.status() == DSUNET_ERROR_IMAGE);
  CHECK(*empty.what() != '\0');
  CHECK(fault_of([] { dsunet::Segmenter("missing.onnx"); }).status() == DSUNET_ERROR_ARTIFACT);
  dsunet::Options options;
  options.provider = "nonsense";
  CHECK(fault_of([&] { dsunet::Segmenter(path, options); }).status() == DSUNET_ERROR_BACKEND);
  CHECK(fault_of([&] {
          segmenter.segment_device({frame}, {dsunet::mask(nullptr)}, nullptr);
        }).status() != DSUNET_OK);
}

void test_moves(const char *path) {
  dsunet::Segmenter first(path);
  dsunet_segmenter *handle = first.get();
  dsunet::Segmenter second(std::move(first));
  CHECK(second.get() == handle);
  // NOLINTNEXTLINE(bugprone-use-after-move): as documented, it is like one that is closed
  CHECK(fault_of([&] { first.describe(); }).status() == DSUNET_ERROR_ARGUMENT);
  first = std::move(second);
  CHECK(first.get() == handle);
  test_frames(first);
}

}  // namespace

int main(int count, char **words) try {
  if (count != 2) return 2;
  dsunet::Segmenter segmenter(words[1]);
  CHECK(std::string(segmenter.describe().provider) == "cpu");
  test_frames(segmenter);
  test_batches(segmenter);
  test_faults(words[1]);
  test_moves(words[1]);
  return 0;
} catch (const std::exception &error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
