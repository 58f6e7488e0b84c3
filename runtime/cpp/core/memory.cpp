#include "memory.hpp"

#include "errors.hpp"
#include "message_text.hpp"
#include "system.hpp"

namespace dsunet_runtime {
namespace {

constexpr std::uint64_t kCheckedFrom = std::uint64_t{1} << 28;  // bytes; the check reads files

// Bytes with one digit after the point.
std::string gigabytes(std::uint64_t size) {
  const std::uint64_t tenths = size / 100'000'000 + (size % 100'000'000 >= 50'000'000 ? 1 : 0);
  return with_commas(static_cast<std::int64_t>(tenths / 10)) + "." + std::to_string(tenths % 10) +
         " GB";
}

}  // namespace

void check_memory_for_batch(std::int64_t count, std::int64_t height, std::int64_t width) {
  // At most kMostOfDimension each, by the manifest's bounds and those of frames.
  const std::uint64_t size = 3 * static_cast<std::uint64_t>(count * height * width);
  if (size <= kCheckedFrom) return;
  const auto available = available_memory();
  if (!available || size <= *available) return;
  throw Fault(DSUNET_ERROR_MEMORY, "a batch of " + with_commas(count) + " images takes " +
                                       gigabytes(size) + " and only " + gigabytes(*available) +
                                       " of memory are available: use a smaller batch");
}

}  // namespace dsunet_runtime
