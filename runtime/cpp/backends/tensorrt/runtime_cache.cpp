#include "runtime_cache.hpp"

#include <filesystem>
#include <limits>

#include "../../core/artifact/file_kinds.hpp"
#include "../../core/message_text.hpp"
#include "../../core/sha256.hpp"
#include "../../core/system.hpp"

namespace dsunet_runtime::tensorrt {
namespace {

constexpr const char *kSuffix = ".cache";

// Letters, digits and dots; each run of others as one hyphen.
std::string name_of(const std::string &text) {
  std::string name;
  for (const char letter : text) {
    const bool is_kept = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
                         (letter >= '0' && letter <= '9') || letter == '.';
    if (is_kept) {
      name += letter;
    } else if (name.empty() || name.back() != '-') {
      name += '-';
    }
  }
  return name;
}

// The name without driver, release and suffix.
std::string engine_and_gpu(const std::string &name) {
  const std::size_t release = name.rfind('_');
  if (release == std::string::npos || release == 0) return name;
  const std::size_t driver = name.rfind('_', release - 1);
  return name.substr(0, driver == std::string::npos ? release : driver);
}

}  // namespace

RuntimeCache::RuntimeCache(const std::string &engine, const std::string &gpu,
                           const std::string &driver, const std::string &version)
    : file_(engine + "." + name_of(gpu) + "_" + name_of(driver) + "_" + name_of(version) +
            kSuffix) {}

std::string RuntimeCache::read() {
  try {
    std::string kernels = RegularFile(file_).read_text(0, std::numeric_limits<std::size_t>::max());
    saved_ = sha256_of(kernels);
    return kernels;
  } catch (const FileError &) {
    return "";
  }
}

void RuntimeCache::save(const std::string &kernels) {
  if (kernels.empty()) return;
  const std::string found = sha256_of(kernels);
  if (found == saved_) return;
  try {
    write_whole(file_, kernels);
  } catch (const FileError &) {
    return;
  }
  saved_ = found;
  delete_older();
}

void RuntimeCache::delete_older() const {
  namespace fs = std::filesystem;
  const std::string folder = folder_part(file_), name = name_part(file_);
  std::error_code error;
  fs::directory_iterator files(fs::u8path(folder.empty() ? "." : folder), error);
  for (; !error && files != fs::directory_iterator(); files.increment(error)) {
    const std::string other = files->path().filename().u8string();
    const bool is_older =
        other != name && ends_with(other, kSuffix) && engine_and_gpu(other) == engine_and_gpu(name);
    std::error_code ignored;
    if (is_older) fs::remove(files->path(), ignored);
  }
}

}  // namespace dsunet_runtime::tensorrt
