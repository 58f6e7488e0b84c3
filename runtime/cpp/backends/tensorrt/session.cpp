#include "session.hpp"

#include <new>

#include "../../core/message_text.hpp"
#include "../guard.hpp"
#include "../nvml.hpp"
#include "compatibility.hpp"

namespace dsunet_runtime::tensorrt {
namespace {

Artifact checked(const dsunet_backend_request &request) {
  Artifact artifact = artifact_of(request);
  check_engine(artifact);
  return artifact;
}

// The driver's version, or without NVML that of CUDA.
std::string driver_version(const Driver &driver) {
  const std::string version = nvml::find_gpus().driver;
  return version.empty() ? "cuda" + driver.version() : version;
}

}  // namespace

Session::Session(const dsunet_backend_request &request) : Session(checked(request), request) {}

Session::Session(const Artifact &artifact, const dsunet_backend_request &request)
    : library_(artifact, request.library),
      driver_(find_driver(artifact)),
      device_(driver_, choose_gpu(artifact, driver_, request.device)) {
  const Flavor flavor = artifact.manifest.engine->flavor;
  const std::string driver = driver_version(driver_);
  machine_ = join(
      {std::string(title(flavor)) + " " + library_.version(), device_.gpu().name, driver}, "\n");
  if (flavor == Flavor::kRtx) {
    cache_.emplace(artifact.path, device_.gpu().name, driver, library_.version());
  }
  const CurrentContext current(device_);
  try {
    start(artifact);
  } catch (...) {
    release();
    throw;
  }
}

Session::~Session() {
  const CurrentContext current(device_, std::nothrow);
  try {
    if (cache_) cache_->save(engine_->compiled_kernels());
  } catch (...) {
    cache_.reset();  // later processes compile them again
  }
  release();
}

void Session::start(const Artifact &artifact) {
  engine_ = library_.sdk().open(artifact, library_.shared(), cache_ ? cache_->read() : "");
  execution_.emplace(driver_, *engine_);
  device_frames_.emplace(device_, *execution_);
  if (cache_) cache_->save(engine_->compiled_kernels());
}

// In this order: work on streams uses the engine and the buffers.
void Session::release() {
  if (execution_) execution_->finish();
  device_frames_.reset();
  execution_.reset();
  engine_.reset();
}

}  // namespace dsunet_runtime::tensorrt
