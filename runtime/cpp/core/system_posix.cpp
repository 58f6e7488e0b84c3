// The interface of system.hpp for Linux and other POSIX systems.
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>

#include "system.hpp"
#include "temporary_name.hpp"

namespace dsunet_runtime {
namespace {

[[noreturn]] void fail(int error) {
  throw FileError(std::strerror(error), error == ENOENT, error == EISDIR);
}

int descriptor_of(std::intptr_t handle) { return static_cast<int>(handle); }

void write_all(int descriptor, const std::string &content) {
  for (std::size_t written = 0; written < content.size();) {
    const ssize_t count = ::write(descriptor, content.data() + written, content.size() - written);
    if (count < 0 && errno != EINTR) fail(errno);
    if (count > 0) written += static_cast<std::size_t>(count);
  }
}

std::string folder_of(const std::string &path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// The first number after `name` in a text file of the system; none if it is not there.
std::optional<std::uint64_t> number_in(const char *path, const std::string &name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, name.size(), name) != 0) continue;
    const std::string digits =
        line.substr(std::min(line.size(), line.find_first_not_of(' ', name.size())));
    if (digits.empty() || std::isdigit(static_cast<unsigned char>(digits[0])) == 0)
      return std::nullopt;
    return std::strtoull(digits.c_str(), nullptr, 10);
  }
  return std::nullopt;
}

// Memory left by the limit of a container; its page cache counts as free.
std::optional<std::uint64_t> memory_of_control_group() {
  const auto limit = number_in("/sys/fs/cgroup/memory.max", "");
  const auto used = number_in("/sys/fs/cgroup/memory.current", "");
  if (!limit || !used) return std::nullopt;
  const std::uint64_t cached = number_in("/sys/fs/cgroup/memory.stat", "file ").value_or(0);
  return *limit + cached > *used ? *limit + cached - *used : 0;
}

int list_library(dl_phdr_info *info, std::size_t, void *found) {
  static_cast<std::vector<std::string> *>(found)->push_back(info->dlpi_name);
  return 0;
}

}  // namespace

RegularFile::RegularFile(const std::string &path) : handle_(-1), size_(0) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) fail(errno);
  struct stat found;
  if (::fstat(descriptor, &found) != 0) {
    const int error = errno;
    ::close(descriptor);
    fail(error);
  }
  if (!S_ISREG(found.st_mode)) {
    const bool folder = S_ISDIR(found.st_mode);
    ::close(descriptor);
    throw FileError(folder ? "is a folder, not a file" : "is a pipe or a device, not a file", false,
                    folder);
  }
  handle_ = descriptor;
  size_ = static_cast<std::uint64_t>(found.st_size);
}

RegularFile::~RegularFile() { ::close(descriptor_of(handle_)); }

std::size_t RegularFile::read(std::uint64_t offset, void *buffer, std::size_t count) const {
  std::size_t done = 0;
  while (done < count) {
    const ssize_t part = ::pread(descriptor_of(handle_), static_cast<char *>(buffer) + done,
                                 count - done, static_cast<off_t>(offset + done));
    if (part < 0 && errno == EINTR) continue;
    if (part < 0) fail(errno);
    if (part == 0) break;
    done += static_cast<std::size_t>(part);
  }
  return done;
}

MappedFile::MappedFile(const std::string &path) : data_(nullptr), size_(0) {
  const RegularFile file(path);
  if (file.size() == 0) throw FileError("is empty", false, false);
  size_ = static_cast<std::size_t>(file.size());
  data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor_of(file.handle_), 0);
  if (data_ == MAP_FAILED) fail(errno);
}

MappedFile::~MappedFile() { ::munmap(data_, size_); }

SharedLibrary::SharedLibrary(const std::string &path)
    : handle_(::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (handle_ == nullptr) {
    const char *reason = ::dlerror();
    throw FileError(reason ? reason : "no reason given", false, false);
  }
}

void *SharedLibrary::find(const char *symbol) const { return ::dlsym(handle_, symbol); }

std::string folder_of_library(const void *address) {
  Dl_info info;
  if (::dladdr(address, &info) == 0 || info.dli_fname == nullptr) return ".";
  return folder_of(resolved(info.dli_fname));
}

std::string library_file(const std::string &name) { return "lib" + name + ".so"; }

namespace {

// Guards the environment, which two threads must not read and write at once.
std::mutex environment_mutex;

}  // namespace

std::optional<std::string> environment(const char *name) {
  const std::lock_guard<std::mutex> lock(environment_mutex);
  const char *value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

void set_default_environment(const char *name, const char *value) {
  const std::lock_guard<std::mutex> lock(environment_mutex);
  ::setenv(name, value, 0);
}

NativePath native(const std::string &path) { return path; }

std::string resolved(const std::string &path) {
  char *real = ::realpath(path.c_str(), nullptr);
  if (real == nullptr) return path;
  std::string result = real;
  std::free(real);
  return result;
}

std::optional<std::uint64_t> available_memory() {
  const auto kilobytes = number_in("/proc/meminfo", "MemAvailable:");
  const auto of_group = memory_of_control_group();
  if (!kilobytes) return of_group;
  return std::min(*kilobytes * 1024, of_group.value_or(UINT64_MAX));
}

bool is_folder(const std::string &path) {
  struct stat found;
  return ::stat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode);
}

void write_whole(const std::string &path, const std::string &content) {
  const std::string name = temporary_name(folder_of(path));
  const int descriptor = ::open(name.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
  if (descriptor < 0) fail(errno);
  ::flock(descriptor, LOCK_EX | LOCK_NB);
  try {
    write_all(descriptor, content);
    if (::fsync(descriptor) != 0) fail(errno);  // some file systems report a full disk only here
    if (::rename(name.c_str(), path.c_str()) != 0) fail(errno);
  } catch (...) {
    ::unlink(name.c_str());
    ::close(descriptor);
    throw;
  }
  ::close(descriptor);
}

bool own_folder(const std::string &path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return false;
  struct stat found;
  return ::lstat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode) &&
         found.st_uid == ::geteuid() && (found.st_mode & S_IWOTH) == 0 &&
         ::access(path.c_str(), W_OK) == 0;
}

std::vector<std::string> loaded_libraries(const std::vector<std::string> &beginnings) {
  std::vector<std::string> paths;
  ::dl_iterate_phdr(list_library, &paths);
  std::vector<std::string> found;
  for (const std::string &path : paths) {
    const std::string name = path.substr(path.rfind('/') + 1);
    const bool wanted = std::any_of(beginnings.begin(), beginnings.end(), [&](const auto &begin) {
      return name.compare(0, begin.size(), begin) == 0;
    });
    struct stat file;
    if (!wanted) continue;
    if (::stat(path.c_str(), &file) != 0) {
      found.push_back(name);
      continue;
    }
    found.push_back(name + " of " + std::to_string(file.st_size) + " bytes");
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

std::string this_platform() {
  utsname names;
  if (::uname(&names) != 0) return "unknown";
  std::string text = std::string(names.sysname) + " " + names.machine;
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char byte) { return static_cast<char>(std::tolower(byte)); });
  return text;
}

}  // namespace dsunet_runtime
