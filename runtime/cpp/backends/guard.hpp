// Exceptions of a backend as the failures of its interface.
#pragma once

#include <cstdio>
#include <new>

#include "../core/error.hpp"
#include "interface.h"

namespace dsunet {

// Run the body of a function of the interface.
template <class Body>
dsunet_status guarded(dsunet_failure *failure, const Body &body) noexcept {
  const auto fail = [failure](dsunet_status status, const char *message) {
    std::snprintf(failure->message, sizeof failure->message, "%s", message);
    return status;
  };
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

}  // namespace dsunet
