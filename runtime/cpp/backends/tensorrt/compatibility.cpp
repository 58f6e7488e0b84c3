#include "compatibility.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "../../core/artifact/file_kinds.hpp"
#include "../../core/artifact/shapes.hpp"
#include "../../core/errors.hpp"
#include "../../core/message_text.hpp"

namespace dsunet_runtime::tensorrt {
namespace {

// Compute capabilities for which TensorRT for RTX 1 builds engines.
constexpr std::array kRtxCapabilities{"7.5", "8.0", "8.6", "8.9", "12.0", "12.1"};

constexpr std::array<std::pair<const char *, const char *>, 3> kPrecisions{
    {{"fp32", "float32"}, {"fp16", "float16"}, {"bf16", "bfloat16"}}};

// Values of the command that replace those in the manifest.
struct Changes {
  std::optional<Flavor> flavor;
  std::string compute_capability;
  bool keeps_weights = false;
};

// The engine's ONNX file, assuming that it is next to the engine.
std::string graph_of(const Artifact &artifact) {
  return with_name(artifact.path, artifact.manifest.graph.name);
}

std::string precision_of(const Manifest &manifest) {
  for (const auto &[option, element_type] : kPrecisions) {
    if (manifest.precision.compute == element_type) return option;
  }
  throw artifact_fault("the manifest names the precision " + quote(manifest.precision.compute) +
                       ", which this version does not support: export again");
}

std::string ends(const std::array<std::string, 3> &values) {
  return values[0] == values[2] ? values[0] : values[0] + ":" + values[1] + ":" + values[2];
}

std::string size_text(std::int64_t height, std::int64_t width) {
  return std::to_string(height) + "x" + std::to_string(width);
}

std::vector<std::string> range_options(const Manifest &manifest) {
  const auto &[batch, height, width] = frame_ranges(manifest);
  return {"--batch",
          ends({std::to_string(batch.minimum), std::to_string(batch.optimum),
                std::to_string(batch.maximum)}),
          "--size",
          ends({size_text(height.minimum, width.minimum), size_text(height.optimum, width.optimum),
                size_text(height.maximum, width.maximum)})};
}

std::string command(const Artifact &artifact, const Changes &changes) {
  const Engine &engine = *artifact.manifest.engine;
  const Flavor flavor = changes.flavor.value_or(engine.flavor);
  std::vector<std::string> words{"dsunet-export", "trt",      graph_of(artifact), "-o",
                                 artifact.path,   "--flavor", name(flavor)};
  const auto add = [&words](const std::string &option, const std::string &value) {
    words.push_back(option);
    words.push_back(value);
  };
  if (flavor == Flavor::kRtx) {  // classic TensorRT builds for the GPU of the machine
    if (changes.compute_capability.empty()) {
      for (const std::string &one : engine.compute_capabilities) add("--compute-capability", one);
    } else {
      add("--compute-capability", changes.compute_capability);
    }
  }
  add("--precision", precision_of(artifact.manifest));
  for (const std::string &word : range_options(artifact.manifest)) words.push_back(word);
  if (engine.optimization_level) add("--opt-level", std::to_string(*engine.optimization_level));
  if (engine.weights_stripped && !changes.keeps_weights) words.emplace_back("--strip-weights");
  if (engine.shared_weights) words.emplace_back("--refit");
  for (std::string &word : words) word = shell_quoted(word);
  return "`" + join(words, " ") + "`";
}

std::string without_gpu(const Artifact &artifact) {
  if (artifact.manifest.precision.compute == "bfloat16") {
    return "without a GPU, export in fp16 or fp32: no CPU backend supports bf16";
  }
  return "without a GPU, run " + graph_of(artifact) + " instead";
}

bool contains(const std::vector<std::string> &values, const std::string &value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

}  // namespace

void check_engine(const Artifact &artifact) {
  const Engine &engine = *artifact.manifest.engine;
  if (engine.flavor == Flavor::kTensorRT && engine.platform != this_platform()) {
    throw backend_fault(artifact.path + ": built for " + printable(engine.platform) +
                        ", and this machine is " + this_platform() +
                        ": build it on this machine: " + rebuild_command(artifact));
  }
  if (engine.weights_stripped) {
    Changes changes;
    changes.keeps_weights = true;
    throw backend_fault(artifact.path +
                        ": has no weights, and only the Python runtime loads them from the ONNX "
                        "file: build it with weights: " +
                        command(artifact, changes));
  }
}

Driver find_driver(const Artifact &artifact) {
  try {
    return Driver();
  } catch (const Fault &fault) {
    throw backend_fault(std::string(fault.what()) + "; " + without_gpu(artifact));
  }
}

Gpu choose_gpu(const Artifact &artifact, const Driver &driver, int number) {
  const Engine &engine = *artifact.manifest.engine;
  const std::vector<Gpu> gpus = find_gpus(driver);
  if (gpus.empty()) {
    throw backend_fault(artifact.path + ": CUDA finds no GPU: check CUDA_VISIBLE_DEVICES; " +
                        without_gpu(artifact));
  }
  if (static_cast<std::size_t>(number) >= gpus.size()) {
    throw backend_fault(artifact.path + ": CUDA finds no GPU " + std::to_string(number) +
                        ", only 0 to " + std::to_string(gpus.size() - 1) +
                        ": set another device, or check CUDA_VISIBLE_DEVICES");
  }
  const Gpu &gpu = gpus[static_cast<std::size_t>(number)];
  if (!contains(engine.compute_capabilities, gpu.compute_capability)) {
    const bool is_known = std::find(kRtxCapabilities.begin(), kRtxCapabilities.end(),
                                    gpu.compute_capability) != kRtxCapabilities.end();
    Changes changes;
    changes.flavor = is_known ? engine.flavor : Flavor::kTensorRT;
    changes.compute_capability = gpu.compute_capability;
    throw backend_fault(artifact.path + ": built for compute capability " +
                        join(engine.compute_capabilities, " and ") + ", and " + gpu.name + " has " +
                        gpu.compute_capability +
                        ": build one for it: " + command(artifact, changes));
  }
  // Classic TensorRT selects the fastest kernels by timing them on the GPU.
  if (engine.flavor == Flavor::kTensorRT && !contains(engine.gpus, gpu.name)) {
    throw backend_fault(artifact.path + ": built on " + shorten(engine.gpus) + ", and the GPU is " +
                        gpu.name + ": build it on this machine: " + rebuild_command(artifact));
  }
  return gpu;
}

std::string rebuild_command(const Artifact &artifact) { return command(artifact, {}); }

}  // namespace dsunet_runtime::tensorrt
