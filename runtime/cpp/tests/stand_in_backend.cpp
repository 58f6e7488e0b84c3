// A backend in the place of ONNX Runtime's, which computes (R + 2 G + 5 B) / 8.
//
// DSUNET_STAND_IN_MACHINE: the machine that it reports.  DSUNET_STAND_IN_FAULT: it computes wrong
// masks.  DSUNET_STAND_IN_NO_BUFFERS: it has no buffers for frames and masks.
#include <cstdlib>
#include <new>
#include <vector>

#include "../backends/guard.hpp"

namespace {

struct Lane {
  std::vector<std::uint8_t> frames, masks;
};

dsunet_status open(const dsunet_backend_request *, void **backend, dsunet_failure *) {
  *backend = nullptr;
  return DSUNET_OK;
}

void close(void *) {}

const char *machine(const void *) {
  const char *named = std::getenv("DSUNET_STAND_IN_MACHINE");
  return named == nullptr ? "" : named;
}

dsunet_status open_lane(void *, void **lane, dsunet_failure *failure) {
  return dsunet_runtime::guarded(failure, [&] { *lane = new Lane; });
}

void close_lane(void *lane) { delete static_cast<Lane *>(lane); }

// Buffers of exactly the size, so that a sanitizer reports accesses beyond it.
dsunet_status reserve(void *lane, std::int64_t count, std::int64_t height, std::int64_t width,
                      std::uint8_t **frames, std::uint8_t **masks, dsunet_failure *failure) {
  return dsunet_runtime::guarded(failure, [&] {
    if (std::getenv("DSUNET_STAND_IN_NO_BUFFERS") != nullptr) throw std::bad_alloc();
    const auto pixels = static_cast<std::size_t>(count * height * width);
    Lane &one = *static_cast<Lane *>(lane);
    std::vector<std::uint8_t>(3 * pixels).swap(one.frames);
    std::vector<std::uint8_t>(pixels).swap(one.masks);
    *frames = one.frames.data();
    *masks = one.masks.data();
  });
}

dsunet_status run(void *, const dsunet_batch *batch, dsunet_failure *) {
  const auto pixels = static_cast<std::size_t>(batch->count * batch->height * batch->width);
  const int added = std::getenv("DSUNET_STAND_IN_FAULT") == nullptr ? 0 : 8;
  for (std::size_t at = 0; at < pixels; ++at) {
    const std::uint8_t *rgb = batch->frames + 3 * at;
    batch->masks[at] = static_cast<std::uint8_t>((rgb[0] + 2 * rgb[1] + 5 * rgb[2] + added) / 8);
  }
  return DSUNET_OK;
}

}  // namespace

extern "C" DSUNET_API const dsunet_backend_table *dsunet_backend(void) {
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
