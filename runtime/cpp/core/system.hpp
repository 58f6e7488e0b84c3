// The interface to the operating system: files, shared libraries, environment variables, memory.
//
// `system_posix.cpp` and `system_windows.cpp` implement it; nothing else includes their headers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace dsunet_runtime {

// A file cannot be read or written; the message completes a sentence that begins with its path.
class FileError : public std::exception {
 public:
  FileError(std::string reason, bool is_missing, bool is_folder)
      : reason_(std::move(reason)), is_missing_(is_missing), is_folder_(is_folder) {}

  const char *what() const noexcept override { return reason_.c_str(); }
  bool is_missing() const noexcept { return is_missing_; }
  bool is_folder() const noexcept { return is_folder_; }

 private:
  std::string reason_;
  bool is_missing_;
  bool is_folder_;
};

// A regular file that is open for reading.  Folders, pipes and devices are refused without
// blocking.
class RegularFile {
 public:
  explicit RegularFile(const std::string &path);
  ~RegularFile();
  RegularFile(const RegularFile &) = delete;
  RegularFile &operator=(const RegularFile &) = delete;

  std::uint64_t size() const { return size_; }

  // Read up to `count` bytes from `offset` on; fewer at the end of the file.
  std::size_t read(std::uint64_t offset, void *buffer, std::size_t count) const;

  // All bytes from `offset` on, at most `limit`.
  std::string read_text(std::uint64_t offset, std::size_t limit) const {
    const std::uint64_t left = offset < size_ ? size_ - offset : 0;
    std::string text(static_cast<std::size_t>(std::min<std::uint64_t>(left, limit)), '\0');
    text.resize(read(offset, text.data(), text.size()));
    return text;
  }

 private:
  friend class MappedFile;

  std::intptr_t handle_;
  std::uint64_t size_;
};

// A file that is mapped into memory: pages are read at the first access.
class MappedFile {
 public:
  explicit MappedFile(const std::string &path);
  ~MappedFile();
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;

  void *data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  void *data_;
  std::size_t size_;
};

// A shared library that is loaded until the end of the process: NVIDIA's and ONNX Runtime's
// libraries do not support being unloaded.
class SharedLibrary {
 public:
  // Throws FileError with the loader's reason.
  explicit SharedLibrary(const std::string &path);

  // The address of a symbol; nullptr if there is none.
  void *find(const char *symbol) const;

  template <class Function>
  Function *function(const char *symbol) const {
    return reinterpret_cast<Function *>(find(symbol));
  }

 private:
  void *handle_;
};

// The folder of the library that contains `address`.
std::string folder_of_library(const void *address);

// The file name of a shared library: "libNAME.so", "NAME.dll".
std::string library_file(const std::string &name);

std::optional<std::string> environment(const char *name);

// Set an environment variable, unless it is set.
void set_default_environment(const char *name, const char *value);

// A path as ONNX Runtime takes it.
#if defined(_WIN32)
using NativePath = std::wstring;
#else
using NativePath = std::string;
#endif
NativePath native(const std::string &path);

// The bytes that can be allocated without swapping, within a container's limit; none if unknown.
std::optional<std::uint64_t> available_memory();

// A path without links; the path itself if it cannot be resolved.
std::string resolved(const std::string &path);

bool is_folder(const std::string &path);

// Write a file as a whole: other processes see the old one or the new one.  Throws FileError.
void write_whole(const std::string &path, const std::string &content);

// Create a folder that only this user can read, if there is none.  Returns whether the folder can
// be used: it belongs to this user, and not all users can write to it.
bool own_folder(const std::string &path);

// Names and sizes of the loaded libraries whose file names begin with one of these, sorted; empty
// where the system does not list them.
std::vector<std::string> loaded_libraries(const std::vector<std::string> &beginnings);

// "linux x86_64", as manifests name platforms.
std::string this_platform();

}  // namespace dsunet_runtime
