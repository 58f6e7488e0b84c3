// Check that ONNX Runtime computes a graph on the GPU (backends/onnxruntime/placement.py).

#include <array>
#include <string>
#include <vector>

#include "../../core/errors.hpp"
#include "../../core/message_text.hpp"
#include "session.hpp"

namespace dsunet_runtime::onnxruntime {
namespace {

constexpr const char *kAllow = "allow it (allow_cpu_fallback in dsunet_options)";
constexpr std::uint32_t kPlacementApi = 24;

#if ORT_API_VERSION >= 24

// Operators that take nearly all of the time, also fused and quantised ones.
bool is_heavy(const std::string &operator_type) {
  constexpr std::array kHeavy{"MatMul", "Gemm", "Attention", "Einsum"};
  for (const char *part : kHeavy) {
    if (operator_type.find(part) != std::string::npos) return true;
  }
  const std::size_t conv = operator_type.find("Conv");
  return conv != std::string::npos && operator_type.compare(conv, 7, "Convert") != 0;
}

#endif

}  // namespace

void check_placement(const Library &library, OrtSession *session, const std::string &path,
                     const std::string &provider) {
  if (!library.has_api(kPlacementApi)) {
    throw backend_fault(
        path +
        ": this ONNX Runtime does not report whether it computes on the GPU or on the "
        "CPU: update it to 1.24 or later, or " +
        kAllow);
  }
#if ORT_API_VERSION >= 24
  const OrtEpAssignedSubgraph *const *parts = nullptr;
  std::size_t part_count = 0, heavy = 0;
  std::vector<std::string> on_cpu;
  library.require(library->Session_GetEpGraphAssignmentInfo(session, &parts, &part_count));
  for (std::size_t part = 0; part < part_count; ++part) {
    const char *assigned = nullptr;
    const OrtEpAssignedNode *const *nodes = nullptr;
    std::size_t node_count = 0;
    library.require(library->EpAssignedSubgraph_GetEpName(parts[part], &assigned));
    library.require(library->EpAssignedSubgraph_GetNodes(parts[part], &nodes, &node_count));
    for (std::size_t node = 0; node < node_count; ++node) {
      const char *type = nullptr, *name = nullptr;
      library.require(library->EpAssignedNode_GetOperatorType(nodes[node], &type));
      library.require(library->EpAssignedNode_GetName(nodes[node], &name));
      if (!is_heavy(type)) continue;
      ++heavy;
      if (official_name("cpu") == assigned) on_cpu.push_back(std::string(type) + " " + name);
    }
  }
  if (!on_cpu.empty()) {
    throw backend_fault(path + ": the provider '" + provider + "' leaves " +
                        with_commas(static_cast<std::int64_t>(on_cpu.size())) + " of " +
                        with_commas(static_cast<std::int64_t>(heavy)) +
                        " matrix multiplications and convolutions to the CPU (" + shorten(on_cpu) +
                        "): export with another --precision or --opset, update the provider, or " +
                        kAllow);
  }
#else
  (void)session;
  throw backend_fault(
      path + ": the provider '" + provider +
      "' may leave the network to the CPU, which this backend cannot tell: it was built "
      "with the headers of ONNX Runtime 1." +
      std::to_string(ORT_API_VERSION) + "; build it with those of 1.24 or later, or " + kAllow);
#endif
}

}  // namespace dsunet_runtime::onnxruntime
