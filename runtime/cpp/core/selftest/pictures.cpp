#include "pictures.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>

namespace dsunet_runtime {
namespace {

using Int = std::int64_t;
using Colour = std::array<Int, 3>;

// Eight pseudorandom bits for each pixel, by multiplication modulo 2³².
Int noise(Int x, Int y) {
  auto mixed = static_cast<std::uint32_t>(x * 73'856'093 ^ y * 19'349'663);
  mixed = (mixed ^ mixed >> 13) * std::uint32_t{1'274'126'177};
  return mixed >> 24;
}

Colour disc_on_a_gradient(Int y, Int x, Int height, Int width) {
  const Int radius = std::min(height, width) / 4;
  const Int dy = 5 * y - 2 * height, dx = 5 * x - 3 * width;
  if (dy * dy + dx * dx < 25 * radius * radius) {
    const Int tiles = 30 * ((x / 3 + y / 3) % 2);
    return {200 + tiles, 60 + tiles, 40 + tiles};
  }
  return {255 * x / width, 255 * y / height, 128};
}

Colour rectangle_in_its_own_texture(Int y, Int x, Int height, Int width) {
  const bool in_rows = height / 4 <= y && y < 3 * height / 4;
  if (in_rows && width / 8 <= x && x < width / 2) {
    const Int moved = noise(x / 5 + 7, y + 3) % 64;
    return {105 + moved, 100 + moved, 55 + moved};
  }
  const Int grain = noise(x / 2, y / 2) % 64;
  return {90 + grain, 110 + grain, 50 + grain};
}

Colour triangle_on_stripes(Int y, Int x, Int height, Int width) {
  const Int below = 3 * y - height;
  const Int grain = noise(x, y) % 32;
  if (below > 0 && std::abs(2 * x - width) * height < below * width) {
    return {220 - grain, 180 - grain, 60 + grain};
  }
  const Int stripes = 140 * ((x + 2 * y) / 7 % 2);
  return {40 + stripes, 60 + stripes, 100 + stripes};
}

}  // namespace

void draw_picture(std::int64_t number, std::int64_t height, std::int64_t width, std::uint8_t *rgb) {
  constexpr std::array kScenes{disc_on_a_gradient, rectangle_in_its_own_texture,
                               triangle_on_stripes};
  const auto scene = kScenes.at(static_cast<std::size_t>(number));
  for (Int y = 0; y < height; ++y) {
    for (Int x = 0; x < width; ++x) {
      for (const Int level : scene(y, x, height, width)) *rgb++ = static_cast<std::uint8_t>(level);
    }
  }
}

}  // namespace dsunet_runtime
