// Names of the GPUs and the driver's version, from NVIDIA's management library (cuda/nvml.py).
#pragma once

#include <string>
#include <vector>

namespace dsunet_runtime::nvml {

struct Gpus {
  std::vector<std::string> names;
  std::string driver;
};

// Empty without a driver.
Gpus find_gpus();

}  // namespace dsunet_runtime::nvml
