// Prints the version, and the mask of one pixel if an artifact is given.
#include <cstdio>
#include <dsunet/runtime.hpp>

int main(int count, char **words) {
  std::printf("%s %d\n", dsunet_version(), static_cast<int>(dsunet_interface_version()));
  if (count < 2) return 0;
  try {
    const std::uint8_t pixel[] = {8, 16, 24};
    dsunet::Segmenter segmenter(words[1]);
    std::printf("%d\n", segmenter.segment(dsunet::rgb(pixel, 1, 1))[0]);
  } catch (const dsunet::Error &error) {
    std::printf("%s\n", error.what());
    return 1;
  }
}
