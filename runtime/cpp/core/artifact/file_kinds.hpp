// Kinds of files, by name and by content (artifact/file_kinds.py), and the parts of a path.
#pragma once

#include <string>

namespace dsunet_runtime {

// Whether a path names a TensorRT engine: NAME.engine or NAME.plan, in any case.
bool is_engine(const std::string &path);

// The reason why a file is not an artifact, with a remedy; it completes a message that begins with
// the path.
std::string why_no_artifact(const std::string &path);

// Whether a file begins as an ONNX file.
bool begins_as_onnx(const std::string &path);

// Whether a file begins as an ONNX file or a checkpoint.
bool begins_as_other_model(const std::string &path);

// The parts of a path: folder with its slash, name, and suffix with its dot.
std::string folder_part(const std::string &path);
std::string name_part(const std::string &path);
std::string suffix_part(const std::string &path);

// `path` with another name, or with another suffix.
std::string with_name(const std::string &path, const std::string &name);
std::string with_suffix(const std::string &path, const std::string &suffix);

}  // namespace dsunet_runtime
