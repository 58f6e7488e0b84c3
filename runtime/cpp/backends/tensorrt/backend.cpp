// The interface of the TensorRT backend.

#include "../guard.hpp"
#include "lane.hpp"
#include "session.hpp"

namespace dsunet_runtime::tensorrt {
namespace {

// Two lanes overlap copies with computation; more would only use memory.
constexpr std::int32_t kLanes = 2;

// Run the body of a function of the interface with the device's context current.
template <class Body>
dsunet_status guarded_on(const Device &device, dsunet_failure *failure, const Body &body) noexcept {
  return guarded(failure, [&] {
    const CurrentContext current(device);
    body();
  });
}

dsunet_status open(const dsunet_backend_request *request, void **backend, dsunet_failure *failure) {
  return guarded(failure, [&] { *backend = new Session(*request); });
}

void close(void *backend) { delete static_cast<Session *>(backend); }

const char *machine(const void *backend) {
  return static_cast<const Session *>(backend)->machine().c_str();
}

dsunet_status open_lane(void *backend, void **lane, dsunet_failure *failure) {
  auto &session = *static_cast<Session *>(backend);
  return guarded_on(session.device(), failure,
                    [&] { *lane = new Lane(session.device(), session.execution()); });
}

void close_lane(void *lane) {
  const auto *closed = static_cast<Lane *>(lane);
  if (closed == nullptr) return;
  const CurrentContext current(closed->device(), std::nothrow);
  delete closed;
}

dsunet_status reserve(void *lane, std::int64_t count, std::int64_t height, std::int64_t width,
                      std::uint8_t **frames, std::uint8_t **masks, dsunet_failure *failure) {
  auto &reserved = *static_cast<Lane *>(lane);
  return guarded_on(reserved.device(), failure,
                    [&] { reserved.reserve({count, height, width}, frames, masks); });
}

dsunet_status run(void *lane, const dsunet_batch *batch, dsunet_failure *failure) {
  auto &running = *static_cast<Lane *>(lane);
  return guarded_on(running.device(), failure,
                    [&] { running.run({batch->count, batch->height, batch->width}); });
}

dsunet_status enqueue(void *backend, const FrameView *frames, const MaskView *masks,
                      std::size_t count, void *stream, dsunet_failure *failure) {
  auto &session = *static_cast<Session *>(backend);
  return guarded_on(session.device(), failure, [&] {
    session.device_frames().enqueue(frames, masks, count, static_cast<CUstream>(stream));
  });
}

}  // namespace
}  // namespace dsunet_runtime::tensorrt

extern "C" DSUNET_API const dsunet_backend_table *dsunet_backend(void) {
  using namespace dsunet_runtime::tensorrt;
  static const dsunet_backend_table table{DSUNET_BACKEND_INTERFACE,
                                          DSUNET_VERSION,
                                          kLanes,
                                          0,
                                          open,
                                          close,
                                          machine,
                                          open_lane,
                                          close_lane,
                                          reserve,
                                          run,
                                          enqueue};
  return &table;
}
