// The C interface: arguments are checked, and exceptions become a status and a message.

#include <cstring>

#include "errors.hpp"
#include "segmenter.hpp"
#include "selftest/apply_policy.hpp"
#include "structs.hpp"

struct dsunet_segmenter {
  dsunet_segmenter(const char *path, const dsunet_runtime::OpenOptions &options)
      : segmenter(path, options) {}

  dsunet_runtime::Segmenter segmenter;
};

namespace dsunet_runtime {
namespace {

constexpr std::int32_t kMostThreads = 1024;

// Structs are told apart by their size, so they must have no padding at the end.
static_assert(sizeof(dsunet_options) == offsetof(dsunet_options, backends) + sizeof(void *));
static_assert(sizeof(dsunet_frame) == offsetof(dsunet_frame, region_height) + sizeof(std::int32_t));
static_assert(sizeof(dsunet_mask) == offsetof(dsunet_mask, reserved) + sizeof(std::int32_t));
static_assert(sizeof(dsunet_description) ==
              offsetof(dsunet_description, manifest) + sizeof(void *));
static_assert(sizeof(dsunet_selftest_result) ==
              offsetof(dsunet_selftest_result, points_tolerance) + sizeof(double));
constexpr std::size_t kLargestStruct = 4096;
constexpr std::size_t kMostFrames = std::size_t{1} << 20;

// The message of the last call that failed in this thread.  Its memory is reused.
std::string &last_error() {
  thread_local std::string message;
  return message;
}

dsunet_status fail(dsunet_status status, const char *message) noexcept {
  try {
    last_error() = clean(message);
  } catch (...) {
    last_error().clear();
  }
  return status;
}

// Run the body of a function of the interface.
template <class Body>
dsunet_status guarded(const Body &body) noexcept {
  return status_of(fail, body);
}

// Takes a literal, so that a call that succeeds allocates nothing for a message.
void require(bool holds, const char *message) {
  if (!holds) throw argument_fault(message);
}

template <class Handle>
Handle &opened(Handle *segmenter) {
  require(segmenter != nullptr, "the segmenter is NULL: it was never opened, or is closed");
  return *segmenter;
}

// Throws Fault unless the struct has a size, with which it begins.
template <class Struct>
void require_struct(const Struct *given, const char *name, const char *macro) {
  if (given == nullptr) throw argument_fault(std::string(name) + " is NULL: give its address");
  const std::size_t size = given->struct_size;
  if (size >= sizeof(std::size_t) && size <= kLargestStruct && size % alignof(Struct) == 0) return;
  throw argument_fault(std::string(name) + " has no valid struct_size: initialise it with " +
                       macro);
}

void require_no_later_fields(bool sets_later_fields, const std::string &name) {
  if (!sets_later_fields) return;
  throw argument_fault(name + " sets fields that this version of dsunet, " DSUNET_VERSION
                              ", does not have: install a later one");
}

// The structs of an array are of one version, whose size is the distance between them.
template <class Struct>
void require_structs(const Struct *given, std::size_t count, const char *name, const char *macro) {
  require_struct(given, name, macro);
  const std::size_t size = given->struct_size;
  for (std::size_t index = 0; index < count; ++index) {
    std::size_t found = 0;
    std::memcpy(&found, reinterpret_cast<const unsigned char *>(given) + index * size,
                sizeof found);
    if (found == size && !sets_later_fields(given, index)) continue;
    const std::string one = std::string(name) + "[" + std::to_string(index) + "]";
    require_no_later_fields(found == size, one);
    throw argument_fault(one + " has another struct_size than " + name +
                         "[0]: initialise each with " + macro);
  }
}

std::string text_of(const char *text) { return text == nullptr ? "" : text; }

OpenOptions checked(const dsunet_options *given) {
  OpenOptions options;
  if (given == nullptr) return options;
  require_struct(given, "options", "DSUNET_OPTIONS_INIT");
  require_no_later_fields(sets_later_fields(given), "options");
  const dsunet_options values = item(given);
  if (values.threads < 0 || values.threads > kMostThreads) {
    throw argument_fault("threads is " + std::to_string(values.threads) + ": use 1 to " +
                         with_commas(kMostThreads) + ", or 0 for one per core");
  }
  if (values.device < 0) {
    throw argument_fault("device is " + std::to_string(values.device) +
                         ": it must be the number of a CUDA device, from 0");
  }
  if (values.selftest < DSUNET_SELFTEST_AUTO || values.selftest > DSUNET_SELFTEST_NEVER) {
    throw argument_fault("unknown selftest " + std::to_string(values.selftest) +
                         ": use a dsunet_selftest_policy");
  }
  options.provider = text_of(values.provider);
  options.threads = values.threads;
  options.device = values.device;
  options.selftest = static_cast<dsunet_selftest_policy>(values.selftest);
  options.allow_cpu_fallback = values.allow_cpu_fallback != 0;
  options.verify_hashes = values.verify_hashes != 0;
  options.library = text_of(values.library);
  options.provider_library = text_of(values.provider_library);
  options.backends = text_of(values.backends);
  return options;
}

dsunet_range range_of(const Range &range) {
  return {static_cast<std::int32_t>(range.minimum), static_cast<std::int32_t>(range.optimum),
          static_cast<std::int32_t>(range.maximum)};
}

void check_frames(const dsunet_frame *frames, const dsunet_mask *masks, std::size_t count) {
  require(count > 0, "count is 0: give at least one frame");
  if (count > kMostFrames) {
    throw argument_fault("count is " + std::to_string(count) + ": give at most " +
                         with_commas(kMostFrames) + " frames at once");
  }
  require_structs(frames, count, "frames", "DSUNET_FRAME_INIT");
  require_structs(masks, count, "masks", "DSUNET_MASK_INIT");
}

dsunet_selftest_result result_of(const std::vector<Comparison> &found) {
  const Comparison &worst = worst_of(found);
  const SelfTestCase &one = *worst.reference;
  dsunet_selftest_result result{};
  result.comparisons = static_cast<std::int32_t>(found.size());
  for (const Comparison &comparison : found) result.failed += comparison.passed() ? 0 : 1;
  result.batch = static_cast<std::int32_t>(worst.batch);
  result.place = static_cast<std::int32_t>(worst.place);
  result.picture = static_cast<std::int32_t>(one.picture);
  result.width = static_cast<std::int32_t>(one.width);
  result.height = static_cast<std::int32_t>(one.height);
  result.blocks = worst.blocks;
  result.blocks_tolerance = one.blocks_tolerance;
  result.points = worst.points;
  result.points_tolerance = one.points_tolerance;
  return result;
}

}  // namespace
}  // namespace dsunet_runtime

using namespace dsunet_runtime;

int32_t dsunet_interface_version(void) { return DSUNET_INTERFACE_VERSION; }

const char *dsunet_version(void) { return DSUNET_VERSION; }

const char *dsunet_last_error(void) { return last_error().c_str(); }

dsunet_status dsunet_open(const char *path, const dsunet_options *options,
                          dsunet_segmenter **segmenter) {
  return guarded([&] {
    require(segmenter != nullptr, "segmenter is NULL: give the address of a pointer");
    *segmenter = nullptr;
    require(path != nullptr && *path != '\0', "path is empty: name an ONNX file or an engine");
    *segmenter = new dsunet_segmenter(path, checked(options));
  });
}

void dsunet_close(dsunet_segmenter **segmenter) {
  if (segmenter == nullptr) return;
  delete *segmenter;
  *segmenter = nullptr;
}

dsunet_status dsunet_describe(const dsunet_segmenter *segmenter, dsunet_description *description) {
  return guarded([&] {
    const Segmenter &one = opened(segmenter).segmenter;
    require_struct(description, "description", "DSUNET_DESCRIPTION_INIT");
    const Manifest &manifest = one.artifact().manifest;
    dsunet_description result{};
    result.is_engine = one.artifact().is_engine() ? 1 : 0;
    result.is_probability = manifest.mask_form == MaskForm::kProbability ? 1 : 0;
    result.weights_are_random = manifest.weights_are_random ? 1 : 0;
    result.batch = range_of(one.ranges().batch);
    result.height = range_of(one.ranges().height);
    result.width = range_of(one.ranges().width);
    result.provider = one.provider().c_str();
    result.precision = manifest.precision.element_type().c_str();
    result.machine = one.machine().c_str();
    result.manifest = one.artifact().document.c_str();
    fill_in(result, description);
  });
}

dsunet_status dsunet_segment(dsunet_segmenter *segmenter, const dsunet_frame *frames,
                             const dsunet_mask *masks, size_t count) {
  return guarded([&] {
    Segmenter &one = opened(segmenter).segmenter;
    check_frames(frames, masks, count);
    one.segment(frames, masks, count);
  });
}

dsunet_status dsunet_segment_device(dsunet_segmenter *segmenter, const dsunet_frame *frames,
                                    const dsunet_mask *masks, size_t count, void *stream) {
  return guarded([&] {
    Segmenter &one = opened(segmenter).segmenter;
    check_frames(frames, masks, count);
    one.segment_device(frames, masks, count, stream);
  });
}

dsunet_status dsunet_selftest(dsunet_segmenter *segmenter, dsunet_selftest_result *result) {
  return guarded([&] {
    Segmenter &one = opened(segmenter).segmenter;
    if (result != nullptr) require_struct(result, "result", "DSUNET_SELFTEST_RESULT_INIT");
    const std::vector<Comparison> found = run_and_record_selftest(one);
    if (result != nullptr) fill_in(result_of(found), result);
    check(found, one);
  });
}
