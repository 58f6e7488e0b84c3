/* The interface between the core and its backends, which are shared objects that it opens at run
 * time.
 *
 * A backend exports `dsunet_backend`.  Core and backends come from one release: its version, and
 * the number below, are compared.  Functions return a dsunet_status and, if that is not DSUNET_OK,
 * fill in the failure.  No exception crosses this interface.
 */
#ifndef DSUNET_BACKEND_INTERFACE_H
#define DSUNET_BACKEND_INTERFACE_H

#include "../core/images/pixels.hpp"
#include "dsunet/runtime.h"

extern "C" {

#define DSUNET_BACKEND_INTERFACE 1
#define DSUNET_BACKEND_ENTRY "dsunet_backend"

typedef struct dsunet_failure {
  char message[8192]; /* longer than any path */
} dsunet_failure;

/* An artifact to load.  Texts are never NULL; empty if they do not apply. */
typedef struct dsunet_backend_request {
  const char *path;
  const char *manifest; /* JSON, already checked */
  const char *provider;
  const char *library;
  const char *provider_library;
  int32_t threads;
  int32_t device;
  int32_t allow_cpu_fallback;
} dsunet_backend_request;

/* A batch in host memory, without gaps. */
typedef struct dsunet_batch {
  const uint8_t *frames; /* count × height × width × 3, RGB */
  uint8_t *masks;        /* count × height × width */
  int64_t count;
  int64_t height;
  int64_t width;
} dsunet_batch;

typedef struct dsunet_backend_table {
  int32_t interface_version;
  const char *version; /* the dsunet release */
  /* The greatest number of lanes that is useful at once; 0: any number. */
  int32_t most_lanes;
  /* 1: `run` takes any host memory.  0: only the buffers of `reserve`. */
  int32_t takes_any_memory;

  dsunet_status (*open)(const dsunet_backend_request *, void **backend, dsunet_failure *);
  void (*close)(void *backend);

  /* Device, driver and libraries, one per line; empty for the provider `cpu`. */
  const char *(*machine)(const void *backend);

  /* A lane computes one batch at a time; several lanes compute at once. */
  dsunet_status (*open_lane)(void *backend, void **lane, dsunet_failure *);
  void (*close_lane)(void *lane);

  /* Buffers of the lane for a batch; they grow, and stay valid until the next call. */
  dsunet_status (*reserve)(void *lane, int64_t count, int64_t height, int64_t width,
                           uint8_t **frames, uint8_t **masks, dsunet_failure *);

  /* Compute a batch, and wait for it. */
  dsunet_status (*run)(void *lane, const dsunet_batch *, dsunet_failure *);

  /* Enqueue the work of dsunet_segment_device.  Frames are checked, and have one size.  NULL if the
   * backend does not support it. */
  dsunet_status (*enqueue)(void *backend, const dsunet_runtime::FrameView *frames,
                           const dsunet_runtime::MaskView *masks, size_t count, void *stream,
                           dsunet_failure *);
} dsunet_backend_table;

typedef const dsunet_backend_table *dsunet_backend_function(void);
}

#endif
