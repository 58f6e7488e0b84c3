// The exception of this library: a status of the C interface, and one line.
#pragma once

#include <new>
#include <stdexcept>
#include <string>

#include "dsunet/runtime.h"

namespace dsunet_runtime {

class Fault : public std::runtime_error {
 public:
  Fault(dsunet_status status, const std::string &message)
      : std::runtime_error(message), status_(status) {}

  dsunet_status status() const noexcept { return status_; }

 private:
  dsunet_status status_;
};

inline Fault argument_fault(const std::string &message) {
  return Fault(DSUNET_ERROR_ARGUMENT, message);
}

inline Fault artifact_fault(const std::string &message) {
  return Fault(DSUNET_ERROR_ARTIFACT, message);
}

inline Fault backend_fault(const std::string &message) {
  return Fault(DSUNET_ERROR_BACKEND, message);
}

inline Fault image_fault(const std::string &message) { return Fault(DSUNET_ERROR_IMAGE, message); }

// Run a body; turn its exception into what `fail` makes of a status and a message.
template <class Fail, class Body>
dsunet_status status_of(const Fail &fail, const Body &body) noexcept {
  try {
    body();
    return DSUNET_OK;
  } catch (const Fault &fault) {
    return fail(fault.status(), fault.what());
  } catch (const std::bad_alloc &) {
    return fail(DSUNET_ERROR_MEMORY, "out of memory: use smaller frames or batches");
  } catch (const std::exception &error) {
    return fail(DSUNET_ERROR_INTERNAL, error.what());
  } catch (...) {
    return fail(DSUNET_ERROR_INTERNAL, "an unknown exception");
  }
}

}  // namespace dsunet_runtime
