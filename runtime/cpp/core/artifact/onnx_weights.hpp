// Files that the graph of an ONNX file reads weights from (artifact/onnx_weights.py).
#pragma once

#include <set>
#include <string>

namespace dsunet_runtime {

// The names of the files, relative to the graph's folder.  Throws Fault.
std::set<std::string> external_files(const std::string &path);

}  // namespace dsunet_runtime
