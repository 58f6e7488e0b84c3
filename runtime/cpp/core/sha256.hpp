// SHA-256 (FIPS 180-4).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace dsunet_runtime {

class Sha256 {
 public:
  void update(std::string_view bytes);

  // The digest in lower-case hexadecimal digits.  Do not use the object afterwards.
  std::string digest();

 private:
  void compress(const unsigned char *block);

  std::array<std::uint32_t, 8> state_{0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                                      0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};
  std::array<unsigned char, 64> pending_{};
  std::uint64_t length_ = 0;
};

std::string sha256_of(std::string_view bytes);

}  // namespace dsunet_runtime
