// The interface of system.hpp for Windows.  It compiles with MinGW, and has never been run.
#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
// After windows.h
#include <psapi.h>

#include <algorithm>
#include <cstdlib>

#include "system.hpp"
#include "temporary_name.hpp"

namespace dsunet_runtime {
namespace {

std::wstring wide(const std::string &text) {
  const int size = static_cast<int>(text.size());
  const int count = MultiByteToWideChar(CP_UTF8, 0, text.data(), size, nullptr, 0);
  std::wstring result(static_cast<std::size_t>(count), L'\0');
  MultiByteToWideChar(CP_UTF8, 0, text.data(), size, result.data(), count);
  return result;
}

std::string narrow(const std::wstring &text) {
  const int size = static_cast<int>(text.size());
  const int count =
      WideCharToMultiByte(CP_UTF8, 0, text.data(), size, nullptr, 0, nullptr, nullptr);
  std::string result(static_cast<std::size_t>(count), '\0');
  WideCharToMultiByte(CP_UTF8, 0, text.data(), size, result.data(), count, nullptr, nullptr);
  return result;
}

std::string message_of(DWORD error) {
  wchar_t text[512];
  DWORD size = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, nullptr,
                              error, 0, text, 512, nullptr);
  while (size > 0 && (text[size - 1] <= L' ' || text[size - 1] == L'.')) --size;
  return size == 0 ? "error " + std::to_string(error) : narrow(std::wstring(text, size));
}

[[noreturn]] void fail(DWORD error) {
  throw FileError(message_of(error), error == ERROR_FILE_NOT_FOUND || error == ERROR_PATH_NOT_FOUND,
                  false);
}

HANDLE handle_of(std::intptr_t handle) { return reinterpret_cast<HANDLE>(handle); }

std::string folder_of(const std::string &path) {
  const std::size_t slash = path.find_last_of("/\\");
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

void write_all(const std::string &path, const std::string &content) {
  HANDLE file = CreateFileW(wide(path).c_str(), GENERIC_WRITE, 0, nullptr, CREATE_NEW,
                            FILE_ATTRIBUTE_NORMAL, nullptr);
  if (file == INVALID_HANDLE_VALUE) fail(GetLastError());
  DWORD written = 0;
  const bool is_written =
      WriteFile(file, content.data(), static_cast<DWORD>(content.size()), &written, nullptr) != 0;
  const DWORD error = GetLastError();
  CloseHandle(file);
  if (!is_written) fail(error);
}

// The file name, in lower case: Windows does not tell cases apart.
std::string file_name(const std::wstring &path) {
  std::string name = narrow(path.substr(path.find_last_of(L"/\\") + 1));
  std::transform(name.begin(), name.end(), name.begin(), [](char byte) {
    return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : byte;
  });
  return name;
}

}  // namespace

RegularFile::RegularFile(const std::string &path) : handle_(-1), size_(0) {
  if (is_folder(path)) throw FileError("is a folder, not a file", false, true);
  HANDLE file = CreateFileW(wide(path).c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE,
                            nullptr, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (file == INVALID_HANDLE_VALUE) fail(GetLastError());
  LARGE_INTEGER size;
  if (GetFileType(file) != FILE_TYPE_DISK || !GetFileSizeEx(file, &size)) {
    CloseHandle(file);
    throw FileError("is a pipe or a device, not a file", false, false);
  }
  handle_ = reinterpret_cast<std::intptr_t>(file);
  size_ = static_cast<std::uint64_t>(size.QuadPart);
}

RegularFile::~RegularFile() { CloseHandle(handle_of(handle_)); }

std::size_t RegularFile::read(std::uint64_t offset, void *buffer, std::size_t count) const {
  constexpr std::size_t kMost = std::size_t{1} << 30;
  std::size_t done = 0;
  while (done < count) {
    const std::uint64_t from = offset + done;
    OVERLAPPED place{};
    place.Offset = static_cast<DWORD>(from);
    place.OffsetHigh = static_cast<DWORD>(from >> 32);
    DWORD part = 0;
    const auto wanted = static_cast<DWORD>(std::min(count - done, kMost));
    if (!ReadFile(handle_of(handle_), static_cast<char *>(buffer) + done, wanted, &part, &place)) {
      if (GetLastError() == ERROR_HANDLE_EOF) break;
      fail(GetLastError());
    }
    if (part == 0) break;
    done += part;
  }
  return done;
}

MappedFile::MappedFile(const std::string &path) : data_(nullptr), size_(0) {
  const RegularFile regular(path);
  if (regular.size() == 0) throw FileError("is empty", false, false);
  // The view keeps the mapping, and the mapping the file.
  HANDLE mapping =
      CreateFileMappingW(handle_of(regular.handle_), nullptr, PAGE_READONLY, 0, 0, nullptr);
  if (mapping == nullptr) fail(GetLastError());
  data_ = MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0);
  const DWORD error = GetLastError();
  CloseHandle(mapping);
  if (data_ == nullptr) fail(error);
  size_ = static_cast<std::size_t>(regular.size());
}

MappedFile::~MappedFile() { UnmapViewOfFile(data_); }

// Libraries that a library needs are searched beside it, if its path is given.
SharedLibrary::SharedLibrary(const std::string &path)
    : handle_(LoadLibraryExW(
          wide(path).c_str(), nullptr,
          path.find_first_of("/\\") == std::string::npos
              ? 0
              : LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_DEFAULT_DIRS)) {
  if (handle_ == nullptr) {
    throw FileError(path + ": " + message_of(GetLastError()), false, false);
  }
}

void *SharedLibrary::find(const char *symbol) const {
  return reinterpret_cast<void *>(GetProcAddress(static_cast<HMODULE>(handle_), symbol));
}

std::string folder_of_library(const void *address) {
  HMODULE module = nullptr;
  wchar_t path[32768];
  if (!GetModuleHandleExW(
          GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
          static_cast<const wchar_t *>(address), &module)) {
    return ".";
  }
  return folder_of(narrow(std::wstring(path, GetModuleFileNameW(module, path, 32768))));
}

std::string library_file(const std::string &name) { return name + ".dll"; }

std::optional<std::string> environment(const char *name) {
  const char *value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

void set_default_environment(const char *name, const char *value) {
  if (std::getenv(name) == nullptr) _putenv_s(name, value);
}

NativePath native(const std::string &path) { return wide(path); }

std::string resolved(const std::string &path) {
  wchar_t full[32768];
  const DWORD size = GetFullPathNameW(wide(path).c_str(), 32768, full, nullptr);
  return size == 0 || size >= 32768 ? path : narrow(std::wstring(full, size));
}

std::optional<std::uint64_t> available_memory() {
  MEMORYSTATUSEX status{};
  status.dwLength = sizeof status;
  if (!GlobalMemoryStatusEx(&status)) return std::nullopt;
  return status.ullAvailPhys;
}

bool is_folder(const std::string &path) {
  const DWORD found = GetFileAttributesW(wide(path).c_str());
  return found != INVALID_FILE_ATTRIBUTES && (found & FILE_ATTRIBUTE_DIRECTORY) != 0;
}

void write_whole(const std::string &path, const std::string &content) {
  const std::wstring name = wide(temporary_name(folder_of(path)));
  try {
    write_all(narrow(name), content);
    if (!MoveFileExW(name.c_str(), wide(path).c_str(), MOVEFILE_REPLACE_EXISTING)) {
      fail(GetLastError());
    }
  } catch (...) {
    DeleteFileW(name.c_str());
    throw;
  }
}

// Access lists are not read.
bool own_folder(const std::string &path) {
  return CreateDirectoryW(wide(path).c_str(), nullptr) != 0 || is_folder(path);
}

std::vector<std::string> loaded_libraries(const std::vector<std::string> &beginnings) {
  HMODULE modules[1024];
  DWORD bytes = 0;
  std::vector<std::string> found;
  if (!EnumProcessModules(GetCurrentProcess(), modules, sizeof modules, &bytes)) return found;
  const std::size_t count = std::min<std::size_t>(bytes / sizeof(HMODULE), 1024);
  for (std::size_t index = 0; index < count; ++index) {
    wchar_t path[32768];
    const std::string name =
        file_name(std::wstring(path, GetModuleFileNameW(modules[index], path, 32768)));
    const bool is_wanted =
        std::any_of(beginnings.begin(), beginnings.end(), [&](const std::string &beginning) {
          return name.compare(0, beginning.size(), beginning) == 0;
        });
    if (is_wanted) found.push_back(name);
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string this_platform() {
#if defined(_M_ARM64)
  return "windows arm64";
#else
  return "windows amd64";
#endif
}

}  // namespace dsunet_runtime
