// What is read from an ONNX file without its graph: the metadata, and the names of external
// weights.
#pragma once

#include <map>
#include <set>
#include <string>

namespace dsunet_runtime {

// The metadata_props of an ONNX file, found by seeking over the graph.  Throws Fault.
std::map<std::string, std::string> read_metadata(const std::string &path);

// A metadata entry, as `dsunet-export` appends it to an ONNX file.
std::string encode_metadata(const std::string &key, const std::string &value);

// The names of the files that the graph reads weights from.  Throws Fault.
std::set<std::string> external_files(const std::string &path);

}  // namespace dsunet_runtime
