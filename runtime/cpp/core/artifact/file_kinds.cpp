#include "file_kinds.hpp"

#include <algorithm>
#include <cctype>
#include <cstring>

#include "../message_text.hpp"
#include "../system.hpp"

namespace dsunet_runtime {
namespace {

constexpr std::size_t kStart = 512;
constexpr const char *kOnnxSuffix = ".onnx";
constexpr const char *kEngineSuffix = ".engine";

enum class FileKind {
  kOnnx,
  kEngine,
  kSafetensors,
  kTorch,
  kPickle,
  kImage,
  kJson,
  kHtml,
  kLfsPointer,
  kEmpty,
  kFolder,
  kUnknown
};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char byte) { return static_cast<char>(std::tolower(byte)); });
  return text;
}

bool is_onnx(const std::string &path) { return lower(suffix_part(path)) == kOnnxSuffix; }

bool begins_with(const std::string &text, const std::string &beginning) {
  return text.compare(0, beginning.size(), beginning) == 0;
}

std::string without_space(const std::string &text) {
  const std::size_t first = text.find_first_not_of(" \t\n\r\v\f");
  return first == std::string::npos ? "" : text.substr(first);
}

bool is_html(std::string text) {
  if (begins_with(text, "\xEF\xBB\xBF")) text.erase(0, 3);
  text = lower(without_space(text));
  for (const char *tag : {"<!doctype", "<html", "<head", "<body", "<?xml"}) {
    if (begins_with(text, tag)) return true;
  }
  return false;
}

bool is_json(std::string text) {
  text = without_space(text);
  if (text.empty() || std::strchr("[{", text[0]) == nullptr) return false;
  text = without_space(text.substr(1));
  return !text.empty() && std::strchr("\"[{]}", text[0]) != nullptr;
}

bool is_image(const std::string &text) {
  using namespace std::string_literals;
  for (const std::string &magic : {"\x89PNG"s, "\xFF\xD8\xFF"s, "GIF8"s, "II*\0"s, "MM\0*"s}) {
    if (begins_with(text, magic)) return true;
  }
  const bool is_bmp =
      begins_with(text, "BM") && text.size() >= 10 && text.substr(6, 4) == "\0\0\0\0"s;
  const bool is_webp =
      begins_with(text, "RIFF") && text.size() >= 12 && text.substr(8, 4) == "WEBP";
  return is_bmp || is_webp;
}

bool is_onnx_start(const std::string &text) {
  return text.size() >= 3 && text[0] == 8 && text[1] >= 1 && text[1] <= 0x20 &&
         std::string("\x12\x1A\x22\x28\x32\x3A\x42\x72").find(text[2]) != std::string::npos;
}

FileKind recognise(const std::string &path) {
  if (is_folder(path)) return FileKind::kFolder;
  const std::string start = RegularFile(path).read_text(0, kStart);
  if (start.empty()) return FileKind::kEmpty;
  if (begins_with(start, "version https://git-lfs")) return FileKind::kLfsPointer;
  if (start.size() > 8 && start[8] == '{') return FileKind::kSafetensors;
  if (begins_with(start, "PK\x03\x04")) return FileKind::kTorch;
  if (start.size() >= 4 && std::islower(static_cast<unsigned char>(start[0])) &&
      start.substr(1, 3) == "trt") {
    return FileKind::kEngine;  // `ftrt`, of TensorRT for RTX `vtrt`
  }
  if (start.size() >= 2 && start[0] == '\x80' && start[1] >= 2 && start[1] <= 5)
    return FileKind::kPickle;
  if (is_onnx_start(start)) return FileKind::kOnnx;
  if (is_image(start)) return FileKind::kImage;
  if (is_html(start)) return FileKind::kHtml;
  return is_json(start) ? FileKind::kJson : FileKind::kUnknown;
}

const char *description_of(FileKind kind) {
  switch (kind) {
    case FileKind::kOnnx:
      return "an ONNX file";
    case FileKind::kEngine:
      return "a TensorRT engine";
    case FileKind::kSafetensors:
      return "a safetensors file";
    case FileKind::kTorch:
      return "a PyTorch checkpoint (or another zip archive)";
    case FileKind::kPickle:
      return "a pickle, as PyTorch's older checkpoints are";
    case FileKind::kImage:
      return "an image";
    case FileKind::kJson:
      return "a JSON document";
    case FileKind::kHtml:
      return "an HTML page";
    case FileKind::kLfsPointer:
      return "a Git LFS pointer to the file";
    case FileKind::kEmpty:
      return "empty";
    case FileKind::kFolder:
      return "a folder";
    case FileKind::kUnknown:
      break;
  }
  return "of an unknown format";
}

bool is_checkpoint(FileKind kind) {
  return kind == FileKind::kSafetensors || kind == FileKind::kTorch || kind == FileKind::kPickle;
}

std::string misnamed(const std::string &path, FileKind kind, const char *suffix) {
  return "is " + std::string(description_of(kind)) + ", but its name does not end in " + suffix +
         ": rename it by `mv " + shell_quoted(path) + " " +
         shell_quoted(with_suffix(path, suffix)) + "`";
}

std::string no_model(const std::string &path, FileKind kind) {
  const std::string is = "is not an ONNX file";
  switch (kind) {
    case FileKind::kUnknown:
      return is + ", or cut short";
    case FileKind::kEmpty:
      return is + ", but empty: copy or download it again";
    case FileKind::kFolder:
      return is + ", but a folder: name a file in it";
    case FileKind::kHtml:
      return is + ", but an HTML page: the download failed; download it again";
    case FileKind::kLfsPointer: {
      const std::string folder = folder_part(path);
      const std::string repository = folder.empty()      ? "."
                                     : folder.size() > 1 ? folder.substr(0, folder.size() - 1)
                                                         : folder;
      return is + ", but " + description_of(kind) + ": fetch it with `git -C " +
             shell_quoted(repository) + " lfs pull`";
    }
    default:
      break;
  }
  const std::string about = with_suffix(path, "");
  if (kind == FileKind::kJson && (is_engine(about) || is_onnx(about))) {
    return is + ", but " + description_of(kind) + " about " + name_part(about) + ": name " + about;
  }
  return is + ", but " + description_of(kind);
}

}  // namespace

std::string folder_part(const std::string &path) {
  const std::size_t slash = path.find_last_of("/\\");
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

std::string name_part(const std::string &path) { return path.substr(folder_part(path).size()); }

std::string suffix_part(const std::string &path) {
  const std::string name = name_part(path);
  const std::size_t dot = name.rfind('.');
  return dot == std::string::npos || dot == 0 || dot + 1 == name.size() ? "" : name.substr(dot);
}

std::string with_name(const std::string &path, const std::string &name) {
  return folder_part(path) + name;
}

std::string with_suffix(const std::string &path, const std::string &suffix) {
  return path.substr(0, path.size() - suffix_part(path).size()) + suffix;
}

bool is_engine(const std::string &path) {
  const std::string suffix = lower(suffix_part(path));
  return suffix == kEngineSuffix || suffix == ".plan";
}

bool begins_as_onnx(const std::string &path) {
  try {
    return recognise(path) == FileKind::kOnnx;
  } catch (const FileError &) {
    return false;
  }
}

bool begins_as_other_model(const std::string &path) {
  try {
    const FileKind kind = recognise(path);
    return kind == FileKind::kOnnx || is_checkpoint(kind);
  } catch (const FileError &) {
    return false;
  }
}

std::string why_no_artifact(const std::string &path) {
  FileKind kind = FileKind::kUnknown;
  try {
    kind = recognise(path);
  } catch (const FileError &error) {
    return error.what();
  }
  if (is_checkpoint(kind)) {
    const std::string onnx = name_part(with_suffix(path, kOnnxSuffix));
    return "is not an ONNX file, but " + std::string(description_of(kind)) + ": `dsunet inspect " +
           shell_quoted(path) + "` describes it, `dsunet-export onnx " + shell_quoted(path) +
           " -o " + shell_quoted(onnx) + "` exports it";
  }
  if (kind == FileKind::kOnnx && !is_engine(path)) {
    return "is an ONNX file, but damaged or cut short: copy it or export it again";
  }
  if (kind == FileKind::kEngine && !is_engine(path)) return misnamed(path, kind, kEngineSuffix);
  if (kind == FileKind::kOnnx && !is_onnx(path)) return misnamed(path, kind, kOnnxSuffix);
  return no_model(path, kind);
}

}  // namespace dsunet_runtime
