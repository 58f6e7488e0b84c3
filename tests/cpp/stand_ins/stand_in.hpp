// Functions of the stand-in of CUDA's driver for the stand-ins of TensorRT.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <functional>
#include <string>

#define STAND_IN_API __attribute__((visibility("default")))

namespace stand_in {

// Count a call, and return whether a test lets it fail.
STAND_IN_API bool fails(const char *call);

// Put work into a stream.  It is done when a thread waits for it.
STAND_IN_API void enqueue(CUstream stream, std::function<void()> work);

// Bytes of device memory.  Throws if they are not allocated.
STAND_IN_API std::uint8_t *at(CUdeviceptr address, std::size_t size);

STAND_IN_API bool is_default(CUstream stream);

// Whether this thread has a context.
STAND_IN_API bool is_current();

// Count objects that are not released.
STAND_IN_API void hold(const std::string &kind);
STAND_IN_API void release(const std::string &kind);

// Record an error that real libraries would not survive.
STAND_IN_API void fault(const std::string &what);

// A number that a test has set; 0 otherwise.
STAND_IN_API std::int64_t setting(const char *name);

// Block a call while a test pauses its function.
STAND_IN_API void pause(const std::string &call);

}  // namespace stand_in
