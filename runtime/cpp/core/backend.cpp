#include "backend.hpp"

#include <algorithm>
#include <sstream>

#include "errors.hpp"
#include "memory.hpp"
#include "system.hpp"

namespace dsunet_runtime {
namespace {

// An address inside this library.  Those of exported functions may be inside the program.
const char kAnchor = 0;

// Throws Fault unless a call of a backend succeeded.
void require(dsunet_status status, const dsunet_failure &failure) {
  if (status != DSUNET_OK) throw Fault(status, failure.message);
}

const dsunet_backend_table *load(const std::string &name, const std::string &folder) {
  const std::string in = folder.empty() ? folder_of_library(&kAnchor) + "/dsunet" : folder;
  const std::string file = in + "/" + library_file("dsunet_" + name);
  dsunet_backend_function *entry = nullptr;
  try {
    entry = SharedLibrary(file).function<const dsunet_backend_table *()>(DSUNET_BACKEND_ENTRY);
  } catch (const FileError &error) {
    throw backend_fault(file + ": the backend that runs this artifact cannot be loaded: " +
                        printable(error.what()) +
                        "; build and install it, or name its folder (backends in dsunet_options)");
  }
  const dsunet_backend_table *table = entry == nullptr ? nullptr : entry();
  if (table == nullptr || table->interface_version != DSUNET_BACKEND_INTERFACE ||
      std::string(table->version) != DSUNET_VERSION) {
    throw backend_fault(
        file + ": is not a backend of this version of dsunet: build and install both again");
  }
  return table;
}

}  // namespace

BackendLane::BackendLane(const dsunet_backend_table &table, void *backend) : table_(table) {
  dsunet_failure failure{};
  require(table_.open_lane(backend, &lane_, &failure), failure);
}

BackendLane::~BackendLane() { table_.close_lane(lane_); }

dsunet_batch BackendLane::reserve(std::int64_t count, std::int64_t height, std::int64_t width,
                                  std::uint8_t **frames) {
  dsunet_failure failure{};
  dsunet_batch batch{nullptr, nullptr, count, height, width};
  if (count * height * width > largest_) check_memory_for_batch(count, height, width);
  require(table_.reserve(lane_, count, height, width, frames, &batch.masks, &failure), failure);
  largest_ = std::max(largest_, count * height * width);
  batch.frames = *frames;
  return batch;
}

void BackendLane::run(const dsunet_batch &batch) {
  dsunet_failure failure{};
  require(table_.run(lane_, &batch, &failure), failure);
}

Backend::Backend(const Artifact &artifact, const OpenOptions &options)
    : table_(load(artifact.is_engine() ? "tensorrt" : "onnxruntime", options.backends)) {
  const dsunet_backend_request request{
      artifact.path.c_str(),   artifact.document.c_str(),         options.provider.c_str(),
      options.library.c_str(), options.provider_library.c_str(),  options.threads,
      options.device,          options.allow_cpu_fallback ? 1 : 0};
  dsunet_failure failure{};
  require(table_->open(&request, &backend_, &failure), failure);
}

Backend::~Backend() { table_->close(backend_); }

std::vector<std::string> Backend::machine() const {
  std::istringstream lines(table_->machine(backend_));
  std::vector<std::string> parts;
  for (std::string line; std::getline(lines, line);) parts.push_back(line);
  return parts;
}

void Backend::require_device_frames() const {
  if (table_->enqueue == nullptr) {
    throw backend_fault(
        "dsunet_segment_device supports TensorRT engines only, and this is an ONNX file: build an "
        "engine with `dsunet-export trt` and open that");
  }
}

void Backend::enqueue(const std::vector<FrameView> &frames, const std::vector<MaskView> &masks,
                      void *stream) {
  dsunet_failure failure{};
  require(table_->enqueue(backend_, frames.data(), masks.data(), frames.size(), stream, &failure),
          failure);
}

}  // namespace dsunet_runtime
