// The metadata of an ONNX file, read without its graph (artifact/onnx_metadata.py).
#pragma once

#include <map>
#include <string>

namespace dsunet_runtime {

// Read the metadata_props of an ONNX file; the graph is skipped by seeking.  Throws Fault.
std::map<std::string, std::string> read_metadata(const std::string &path);

// A metadata entry, as `dsunet-export` appends it to an ONNX file.
std::string encode_metadata(const std::string &key, const std::string &value);

}  // namespace dsunet_runtime
