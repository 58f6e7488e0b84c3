// The functions of netpbm.h with vectors and exceptions.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "netpbm.h"

// RGB, height × width × 3 bytes.
struct Image {
  int width, height;
  std::vector<std::uint8_t> pixels;
};

inline Image read_image(const std::string &path) {
  ppm_image read{0, 0, nullptr};
  const char *fault = read_ppm(path.c_str(), &read);
  const std::unique_ptr<unsigned char, void (*)(void *)> owner(read.pixels, std::free);
  if (fault != nullptr) throw std::runtime_error(path + ": " + fault);
  const std::size_t size =
      std::size_t{3} * static_cast<std::size_t>(read.width) * static_cast<std::size_t>(read.height);
  return {read.width, read.height, {read.pixels, read.pixels + size}};
}

inline void write_mask(const std::string &path, const std::vector<std::uint8_t> &levels, int width,
                       int height) {
  const char *fault = write_pgm(path.c_str(), levels.data(), width, height);
  if (fault != nullptr) throw std::runtime_error(path + ": " + fault);
}
