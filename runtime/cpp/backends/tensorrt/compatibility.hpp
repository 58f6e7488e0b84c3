// Compatibility of an engine with this machine, checked by its manifest before it is opened
// (backends/tensorrt/compatibility.py).
#pragma once

#include <string>
#include <vector>

#include "../../core/artifact/manifest_file.hpp"
#include "cuda.hpp"

namespace dsunet_runtime::tensorrt {

// Throws Fault if the engine was built for another operating system or processor, which does not
// matter to TensorRT for RTX, or if it has no weights.
void check_engine(const Artifact &artifact);

// Load the CUDA driver.  Throws Fault, which names what runs without a GPU.
Driver find_driver(const Artifact &artifact);

// The GPU of this number.  Throws Fault if there is none, or if the engine was not built for it.
Gpu choose_gpu(const Artifact &artifact, const Driver &driver, int number);

// The command that builds the engine again with the options in its manifest, in backquotes.
std::string rebuild_command(const Artifact &artifact);

}  // namespace dsunet_runtime::tensorrt
