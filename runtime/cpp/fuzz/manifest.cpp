// Manifests, unchanged and with a valid digest.  The mutator also replaces whole values.
#include "../core/artifact/manifest.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "../core/artifact/shapes.hpp"
#include "../core/errors.hpp"
#include "sealed.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t *data, std::size_t size, std::size_t most);

namespace {

using dsunet_runtime::Json;

constexpr const char *kHostile[] = {"null",
                                    "true",
                                    "0",
                                    "-1",
                                    "1.5",
                                    "1e308",
                                    "-1e-308",
                                    "2147483648",
                                    "4611686018427387904",
                                    "9223372036854775807",
                                    "9223372036854775808",
                                    "18446744073709551615",
                                    "-9223372036854775808",
                                    "\"\"",
                                    "\"..\"",
                                    "\"\\u001b[2J\"",
                                    "\"a\\u0000b\"",
                                    "\"\\u0085\\u200f\\ud83d\\ude00\"",
                                    "[]",
                                    "{}",
                                    "[[[[1]]]]",
                                    "{\"a\":{\"b\":[]}}",
                                    "[1048576,1048576,1048576,1048576]",
                                    "[0,0,0]"};

void read(std::string_view text) {
  try {
    const dsunet_runtime::Manifest manifest = dsunet_runtime::parse_manifest(text);
    manifest.avoids_fused_attention();
    dsunet_runtime::frame_ranges(manifest);
  } catch (const dsunet_runtime::Fault &fault) {
    if (std::strlen(fault.what()) > 3000) __builtin_trap();
  }
}

// Every value of a document that is inside another.
void collect(Json &value, std::vector<Json *> &places) {
  if (!value.is_structured()) return;
  for (Json &inside : value) {
    places.push_back(&inside);
    collect(inside, places);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char *>(data), size);
  read(text);
  read(dsunet_runtime::fuzz::sealed(text));
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t *data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  std::minstd_rand random(seed);
  if (random() % 2 == 0) return LLVMFuzzerMutate(data, size, most);
  try {
    Json document = dsunet_runtime::parse_object({reinterpret_cast<const char *>(data), size});
    std::vector<Json *> places;
    collect(document, places);
    if (places.empty()) return LLVMFuzzerMutate(data, size, most);
    Json &place = *places[random() % places.size()];
    const Json other = random() % 3 == 0 ? *places[random() % places.size()]
                                         : Json::parse(kHostile[random() % std::size(kHostile)]);
    place = other;
    const std::string text = document.dump();
    if (text.size() > most) return LLVMFuzzerMutate(data, size, most);
    std::memcpy(data, text.data(), text.size());
    return text.size();
  } catch (const dsunet_runtime::JsonError &) {
    return LLVMFuzzerMutate(data, size, most);
  }
}
