// The two flavors of TensorRT (artifact/flavor.py).
#pragma once

namespace dsunet_runtime {

enum class Flavor { kRtx, kTensorRT };

// NVIDIA's name of the product: "TensorRT for RTX" or "TensorRT".
inline const char *title(Flavor flavor) {
  return flavor == Flavor::kRtx ? "TensorRT for RTX" : "TensorRT";
}

// The name in manifests and on the command line: "rtx" or "tensorrt".
inline const char *name(Flavor flavor) { return flavor == Flavor::kRtx ? "rtx" : "tensorrt"; }

}  // namespace dsunet_runtime
