#include "nvml.hpp"

#include <array>

#include "../core/system.hpp"

namespace dsunet_runtime::nvml {
namespace {

constexpr int kSuccess = 0;
using Text = std::array<char, 96>;

}  // namespace

Gpus find_gpus() {
  Gpus gpus;
  try {
    const SharedLibrary library("libnvidia-ml.so.1");
    const auto init = library.function<int()>("nvmlInit_v2");
    const auto shutdown = library.function<int()>("nvmlShutdown");
    const auto driver = library.function<int(char *, unsigned)>("nvmlSystemGetDriverVersion");
    const auto count = library.function<int(unsigned *)>("nvmlDeviceGetCount_v2");
    const auto handle = library.function<int(unsigned, void **)>("nvmlDeviceGetHandleByIndex_v2");
    const auto name = library.function<int(void *, char *, unsigned)>("nvmlDeviceGetName");
    if (!init || !shutdown || !driver || !count || !handle || !name || init() != kSuccess)
      return gpus;
    Text text{};
    if (driver(text.data(), static_cast<unsigned>(text.size())) == kSuccess)
      gpus.driver = text.data();
    unsigned found = 0;
    if (count(&found) != kSuccess) found = 0;
    for (unsigned index = 0; index < found; ++index) {
      void *device = nullptr;
      const bool is_named =
          handle(index, &device) == kSuccess &&
          name(device, text.data(), static_cast<unsigned>(text.size())) == kSuccess;
      if (is_named) gpus.names.emplace_back(text.data());
    }
    shutdown();
  } catch (const FileError &) {
    return gpus;  // no driver
  }
  return gpus;
}

}  // namespace dsunet_runtime::nvml
