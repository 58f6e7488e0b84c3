// Structs of the C interface, which may be those of another version: their size determines their
// fields.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace dsunet_runtime {

// An item of the caller's array with the fields of this version; those that the caller's version
// lacks are 0.
template <class Struct>
Struct item(const Struct *items, std::size_t index = 0) {
  const std::size_t size = items->struct_size;
  Struct result{};
  std::memcpy(&result, reinterpret_cast<const unsigned char *>(items) + index * size,
              std::min(sizeof result, size));
  return result;
}

// Whether an item sets fields that this version does not have.
template <class Struct>
bool sets_later_fields(const Struct *items, std::size_t index = 0) {
  const std::size_t size = items->struct_size;
  const auto *bytes = reinterpret_cast<const unsigned char *>(items) + index * size;
  return size > sizeof(Struct) && std::any_of(bytes + sizeof(Struct), bytes + size,
                                              [](unsigned char byte) { return byte != 0; });
}

// Write those fields of a result that the caller's version has.
template <class Struct>
void fill_in(const Struct &result, Struct *given) {
  const std::size_t size = given->struct_size;
  std::memcpy(given, &result, std::min(sizeof result, size));
  given->struct_size = size;
}

}  // namespace dsunet_runtime
