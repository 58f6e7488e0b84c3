// Shared code of the backends' interfaces: the artifact of a request, and exceptions as failures.
#pragma once

#include <cstdio>

#include "../core/artifact/manifest_file.hpp"
#include "../core/errors.hpp"
#include "interface.h"

namespace dsunet_runtime {

inline Artifact artifact_of(const dsunet_backend_request &request) {
  return {request.path, parse_manifest(request.manifest), request.manifest};
}

// Run the body of a function of the interface.
template <class Body>
dsunet_status guarded(dsunet_failure *failure, const Body &body) noexcept {
  const auto fail = [failure](dsunet_status status, const char *message) {
    std::snprintf(failure->message, sizeof failure->message, "%s", message);
    return status;
  };
  return status_of(fail, body);
}

}  // namespace dsunet_runtime
