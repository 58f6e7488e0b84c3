// The mask of an image, in C++.
//
//     segment_image_cpp nano.onnx photo.ppm mask.pgm [--provider NAME] [--threshold 128]
#include "arguments.hpp"
#include "dsunet/runtime.hpp"
#include "netpbm.hpp"

int main(int count, char **words) {
  return run_program("segment_image_cpp", [&] {
    const Arguments given(
        count, words, 3, {"--provider", "--threshold"}, {},
        "segment_image_cpp ARTIFACT IMAGE.ppm MASK.pgm [--provider NAME] [--threshold 1..255]");
    const int threshold = given.integer("--threshold", 0, 1, 255);
    dsunet::Options options;
    options.provider = given.text("--provider");
    dsunet::Segmenter segmenter(given[0], options);

    const Image image = read_image(given[1]);
    const dsunet::Frame frame = dsunet::rgb(image.pixels.data(), image.width, image.height);
    write_mask(given[2], segmenter.segment(frame, threshold), image.width, image.height);
  });
}
