// The interface of the ONNX Runtime backend.

#include "../guard.hpp"
#include "lane.hpp"
#include "session.hpp"

namespace dsunet_runtime::onnxruntime {
namespace {

dsunet_status open(const dsunet_backend_request *request, void **backend, dsunet_failure *failure) {
  return guarded(failure, [&] { *backend = new Session(*request); });
}

void close(void *backend) { delete static_cast<Session *>(backend); }

const char *machine(const void *backend) {
  return static_cast<const Session *>(backend)->machine().c_str();
}

dsunet_status open_lane(void *backend, void **lane, dsunet_failure *failure) {
  return guarded(failure, [&] { *lane = new Lane(*static_cast<Session *>(backend)); });
}

void close_lane(void *lane) { delete static_cast<Lane *>(lane); }

dsunet_status reserve(void *lane, std::int64_t count, std::int64_t height, std::int64_t width,
                      std::uint8_t **frames, std::uint8_t **masks, dsunet_failure *failure) {
  return guarded(failure,
                 [&] { static_cast<Lane *>(lane)->reserve(count, height, width, frames, masks); });
}

dsunet_status run(void *lane, const dsunet_batch *batch, dsunet_failure *failure) {
  return guarded(failure, [&] { static_cast<Lane *>(lane)->run(*batch); });
}

}  // namespace
}  // namespace dsunet_runtime::onnxruntime

extern "C" DSUNET_API const dsunet_backend_table *dsunet_backend(void) {
  using namespace dsunet_runtime::onnxruntime;
  static const dsunet_backend_table table{DSUNET_BACKEND_INTERFACE,
                                          DSUNET_VERSION,
                                          0,
                                          1,
                                          open,
                                          close,
                                          machine,
                                          open_lane,
                                          close_lane,
                                          reserve,
                                          run,
                                          nullptr};
  return &table;
}
