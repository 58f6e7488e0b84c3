// The exception of this library: a status of the C interface, and one line.
#pragma once

#include <stdexcept>
#include <string>

#include "dsunet/runtime.h"

namespace dsunet {

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

}  // namespace dsunet
