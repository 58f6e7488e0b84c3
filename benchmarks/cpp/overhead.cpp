// A mask by ONNX Runtime's C call alone, and through the C interface of dsunet, on the same
// buffers.
//
//     overhead ARTIFACT BACKENDS ONNXRUNTIME_LIBRARY WIDTH HEIGHT ROUNDS SECONDS
//
// Prints the median seconds of a call in each round as JSON.  Both sessions use one thread: threads
// that wait for the next call of one session would disturb the other.
#include <dlfcn.h>
#include <onnxruntime_c_api.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "dsunet/runtime.hpp"

namespace {

using Clock = std::chrono::steady_clock;

const OrtApi *api = nullptr;

void require_ort(OrtStatus *status) {
  if (status == nullptr) return;
  std::fprintf(stderr, "%s\n", api->GetErrorMessage(status));
  std::exit(1);
}

double seconds_of(const std::function<void()> &call) {
  const auto start = Clock::now();
  call();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

OrtSession *open_session(const char *artifact, const char *library) {
  void *handle = dlopen(library, RTLD_NOW);
  auto base = reinterpret_cast<const OrtApiBase *(*)()>(dlsym(handle, "OrtGetApiBase"));
  api = base()->GetApi(ORT_API_VERSION);
  OrtEnv *env = nullptr;
  OrtSessionOptions *options = nullptr;
  OrtSession *session = nullptr;
  require_ort(api->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "bare", &env));
  require_ort(api->CreateSessionOptions(&options));
  require_ort(api->SetIntraOpNumThreads(options, 1));
  require_ort(api->CreateSession(env, artifact, options, &session));
  return session;
}

OrtValue *tensor(void *data, const std::vector<std::int64_t> &shape) {
  std::size_t bytes = 1;
  for (const std::int64_t side : shape) bytes *= static_cast<std::size_t>(side);
  OrtMemoryInfo *memory = nullptr;
  OrtValue *value = nullptr;
  require_ort(api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
  require_ort(api->CreateTensorWithDataAsOrtValue(memory, data, bytes, shape.data(), shape.size(),
                                                  ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, &value));
  return value;
}

}  // namespace

int main(int, char **arguments) {
  const int width = std::atoi(arguments[4]), height = std::atoi(arguments[5]);
  const int rounds = std::atoi(arguments[6]);
  const double seconds = std::atof(arguments[7]);
  const auto pixels = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
  std::vector<std::uint8_t> image(3 * pixels), levels(pixels);
  std::uint32_t state = 1;
  for (std::uint8_t &value : image)
    value = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);

  OrtSession *session = open_session(arguments[1], arguments[3]);
  const OrtValue *input = tensor(image.data(), {1, height, width, 3});
  OrtValue *output = tensor(levels.data(), {1, height, width});
  const char *input_name = "image", *output_name = "mask";

  dsunet::Options options;
  options.threads = 1;
  options.backends = arguments[2];
  options.library = arguments[3];
  dsunet::Segmenter segmenter(arguments[1], options);
  const dsunet::Mask mask = dsunet::mask(levels.data());

  const std::array<std::pair<const char *, std::function<void()>>, 3> calls{{
      {"bare",
       [&] {
         require_ort(api->Run(session, nullptr, &input_name, &input, 1, &output_name, 1, &output));
       }},
      {"rgb", [&] { segmenter.segment(dsunet::rgb(image.data(), width, height), mask); }},
      {"bgr", [&] { segmenter.segment(dsunet::bgr(image.data(), width, height), mask); }},
  }};
  std::vector<std::vector<double>> medians(calls.size());
  for (int round = -1; round < rounds; ++round) {  // the first is a warm-up
    std::vector<std::vector<double>> found(calls.size());
    // Interleaved call by call: the machine's speed changes within a round.
    for (double spent = 0; spent < seconds / rounds;) {
      for (std::size_t number = 0; number < calls.size(); ++number) {
        found[number].push_back(seconds_of(calls[number].second));
        spent += found[number].back();
      }
    }
    for (std::size_t number = 0; round >= 0 && number < calls.size(); ++number) {
      medians[number].push_back(median(found[number]));
    }
  }
  for (std::size_t number = 0; number < calls.size(); ++number) {
    std::printf("%s\"%s\": [", number == 0 ? "{" : ", ", calls[number].first);
    for (std::size_t round = 0; round < medians[number].size(); ++round) {
      std::printf("%s%.9f", round == 0 ? "" : ", ", medians[number][round]);
    }
    std::printf("]");
  }
  std::printf("}\n");
  return 0;
}
