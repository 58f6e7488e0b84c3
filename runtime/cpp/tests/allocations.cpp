// Counts the allocations of calls in a steady state, and those of ONNX Runtime alone on the same
// buffers.  The difference is what this library adds.
//
//     dsunet_allocations ARTIFACT LIBRARY
//
// Prints a line for each kind of call: its name, the allocations of kCalls calls of this library,
// and those of ONNX Runtime.
#include <dlfcn.h>
#include <onnxruntime_c_api.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "dsunet/runtime.hpp"

// The C library's own functions; those below replace them in the whole process.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): glibc's names
extern "C" {
void *__libc_malloc(std::size_t);
void *__libc_calloc(std::size_t, std::size_t);
void *__libc_realloc(void *, std::size_t);
void *__libc_memalign(std::size_t, std::size_t);
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

namespace {

std::atomic<std::uint64_t> allocations{0};

}  // namespace

extern "C" {

void *malloc(std::size_t size) {
  ++allocations;
  return __libc_malloc(size);
}

void *calloc(std::size_t count, std::size_t size) {
  ++allocations;
  return __libc_calloc(count, size);
}

void *realloc(void *old, std::size_t size) {
  ++allocations;
  return __libc_realloc(old, size);
}

void *memalign(std::size_t alignment, std::size_t size) {
  ++allocations;
  return __libc_memalign(alignment, size);
}

void *aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }

int posix_memalign(void **result, std::size_t alignment, std::size_t size) {
  *result = memalign(alignment, size);
  return *result == nullptr ? ENOMEM : 0;
}

}  // extern "C"

namespace {

constexpr int kWarmUp = 10;
constexpr int kCalls = 50;
constexpr int kRounds = 3;  // the least counts: on a busy machine one call in 50 allocated once
                            // more, for no known reason
constexpr int kWidth = 64, kHeight = 48;
constexpr std::size_t kPixels = std::size_t{kWidth} * kHeight;

// ONNX Runtime's C interface on caller's buffers.
class Bare {
 public:
  Bare(const char *artifact, const char *library) {
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    const auto base = reinterpret_cast<const OrtApiBase *(*)()>(dlsym(handle, "OrtGetApiBase"));
    api_ = base()->GetApi(18);
    OrtSessionOptions *options = nullptr;
    require(api_->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "bare", &env_));
    require(api_->CreateSessionOptions(&options));
    require(api_->SetIntraOpNumThreads(options, 1));
    require(api_->CreateSession(env_, artifact, options, &session_));
    require(api_->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory_));
  }

  OrtValue *tensor(std::vector<std::uint8_t> &data, std::vector<std::int64_t> shape) {
    OrtValue *value = nullptr;
    require(api_->CreateTensorWithDataAsOrtValue(memory_, data.data(), data.size(), shape.data(),
                                                 shape.size(), ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
                                                 &value));
    return value;
  }

  void run(const OrtValue *image, OrtValue *mask) {
    constexpr std::array kInputs{"image"}, kOutputs{"mask"};
    require(api_->Run(session_, nullptr, kInputs.data(), &image, 1, kOutputs.data(), 1, &mask));
  }

 private:
  void require(OrtStatus *status) {
    if (status == nullptr) return;
    std::fprintf(stderr, "%s\n", api_->GetErrorMessage(status));
    std::exit(1);
  }

  const OrtApi *api_ = nullptr;
  OrtEnv *env_ = nullptr;
  OrtSession *session_ = nullptr;
  OrtMemoryInfo *memory_ = nullptr;
};

std::uint64_t count(const std::function<void(int)> &call) {
  for (int number = 0; number < kWarmUp; ++number) call(number);
  std::uint64_t least = UINT64_MAX;
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t before = allocations;
    for (int number = 0; number < kCalls; ++number) call(number);
    least = std::min(least, allocations - before);
  }
  return least;
}

void print(const char *name, std::uint64_t ours, std::uint64_t bare) {
  std::printf("%s\t%llu\t%llu\n", name, static_cast<unsigned long long>(ours),
              static_cast<unsigned long long>(bare));
}

}  // namespace

// NOLINTNEXTLINE(bugprone-exception-escape): a test program ends with an error then
int main(int argument_count, char **arguments) {
  if (argument_count != 3) return 2;
  dsunet::Options options;
  options.threads = 1;
  options.library = arguments[2];
  dsunet::Segmenter segmenter(arguments[1], options);
  dsunet_segmenter *handle = segmenter.get();
  Bare bare(arguments[1], arguments[2]);

  constexpr int kBuffers = 5;
  std::vector<std::vector<std::uint8_t>> frames(kBuffers,
                                                std::vector<std::uint8_t>(4 * kPixels, 9));
  std::vector<std::vector<std::uint8_t>> masks(kBuffers, std::vector<std::uint8_t>(2 * kPixels));
  std::vector<std::uint8_t> four(4 * 3 * kPixels, 9), four_masks(4 * kPixels);

  OrtValue *image = bare.tensor(frames[0], {1, kHeight, kWidth, 3});
  OrtValue *mask = bare.tensor(masks[0], {1, kHeight, kWidth});
  OrtValue *images = bare.tensor(four, {4, kHeight, kWidth, 3});
  OrtValue *image_masks = bare.tensor(four_masks, {4, kHeight, kWidth});
  OrtValue *small = bare.tensor(frames[1], {1, kHeight / 2, kWidth / 2, 3});
  OrtValue *small_mask = bare.tensor(masks[1], {1, kHeight / 2, kWidth / 2});
  const std::uint64_t one = count([&](int) { bare.run(image, mask); });
  const std::uint64_t batch = count([&](int) { bare.run(images, image_masks); });
  const std::uint64_t two_sizes = count([&](int) {
    bare.run(image, mask);
    bare.run(small, small_mask);
  });

  const auto segment = [&](const dsunet_frame *given, const dsunet_mask *results,
                           std::size_t number) {
    if (dsunet_segment(handle, given, results, number) == DSUNET_OK) return;
    std::fprintf(stderr, "%s\n", dsunet_last_error());
    std::exit(1);
  };
  const dsunet_mask packed = dsunet::mask(masks[0].data());
  const dsunet_frame rgb = dsunet::rgb(frames[0].data(), kWidth, kHeight);
  print("packed RGB", count([&](int) { segment(&rgb, &packed, 1); }), one);

  const dsunet_mask apart = dsunet::mask(masks[0].data(), 2 * kWidth, 128);
  print("a mask with gaps", count([&](int) { segment(&rgb, &apart, 1); }), one);
  for (const auto &[name, format] : {std::pair{"BGR", DSUNET_BGR},
                                     {"RGBA", DSUNET_RGBA},
                                     {"BGRA", DSUNET_BGRA},
                                     {"NV12", DSUNET_NV12}}) {
    const dsunet_frame frame = dsunet::frame(format, frames[0].data(), kWidth, kHeight);
    print(name, count([&](int) { segment(&frame, &packed, 1); }), one);
  }

  std::vector<dsunet_frame> some;
  std::vector<dsunet_mask> results;
  for (std::size_t number = 0; number < 4; ++number) {
    some.push_back(dsunet::rgb(frames[number].data(), kWidth, kHeight));
    results.push_back(dsunet::mask(masks[number].data()));
  }
  print("a batch", count([&](int) { segment(some.data(), results.data(), 4); }), batch);

  const dsunet_frame mixed[] = {rgb, dsunet::rgb(frames[1].data(), kWidth / 2, kHeight / 2)};
  const dsunet_mask mixed_masks[] = {packed, dsunet::mask(masks[1].data())};
  print("two sizes", count([&](int) { segment(mixed, mixed_masks, 2); }), two_sizes);

  const auto in_turn = [&](int number) {
    const auto place = static_cast<std::size_t>(number % kBuffers);
    const dsunet_frame frame = dsunet::rgb(frames[place].data(), kWidth, kHeight);
    const dsunet_mask result = dsunet::mask(masks[place].data());
    segment(&frame, &result, 1);
  };
  print("alternating buffers", count(in_turn), one);
  return 0;
}
