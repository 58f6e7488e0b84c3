// A check of the available memory before large allocations (memory.py).
//
// Linux overcommits memory and kills a process that uses too much of it.
#pragma once

#include <cstdint>

namespace dsunet_runtime {

// Throws Fault if the memory for the frames of a large batch is not available.
void check_memory_for_batch(std::int64_t count, std::int64_t height, std::int64_t width);

}  // namespace dsunet_runtime
