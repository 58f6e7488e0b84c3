/* The mask of an image, in C.
 *
 *     segment_image_c nano.onnx photo.ppm mask.pgm [--provider NAME] [--threshold 128] [--selftest]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dsunet/runtime.h"
#include "netpbm.h"

static const char *const kUsage =
    "usage: segment_image_c ARTIFACT IMAGE.ppm MASK.pgm [--provider NAME] [--threshold 1..255] "
    "[--selftest]\n";

typedef struct arguments {
  const char *files[3];
  const char *provider;
  int threshold;
  int runs_selftest;
} arguments;

static int parse(int count, char **words, arguments *result) {
  int files = 0, index;
  for (index = 1; index < count; ++index) {
    const int has_value = index + 1 < count;
    if (strcmp(words[index], "--provider") == 0 && has_value) {
      result->provider = words[++index];
    } else if (strcmp(words[index], "--threshold") == 0 && has_value) {
      char *end = NULL;
      const long threshold = strtol(words[++index], &end, 10);
      if (*end != '\0' || threshold < 1 || threshold > 255) return 0;
      result->threshold = (int)threshold;
    } else if (strcmp(words[index], "--selftest") == 0) {
      result->runs_selftest = 1;
    } else if (words[index][0] != '-' && files < 3) {
      result->files[files++] = words[index];
    } else {
      return 0;
    }
  }
  return files == 3;
}

static int fail(const char *file, const char *reason) {
  fprintf(stderr, "segment_image_c: %s%s%s\n", file, *file ? ": " : "", reason);
  return 1;
}

/* Compute the mask of an image into `levels`, height × width bytes. */
static dsunet_status compute(const arguments *given, const ppm_image *photo,
                             unsigned char *levels) {
  dsunet_options options = DSUNET_OPTIONS_INIT;
  dsunet_frame frame = DSUNET_FRAME_INIT;
  dsunet_mask mask = DSUNET_MASK_INIT;
  dsunet_segmenter *segmenter = NULL;
  dsunet_status status;

  options.provider = given->provider;
  if (given->runs_selftest) options.selftest = DSUNET_SELFTEST_ALWAYS;
  frame.data = photo->pixels;
  frame.width = photo->width;
  frame.height = photo->height;
  mask.data = levels;
  mask.threshold = given->threshold;

  status = dsunet_open(given->files[0], &options, &segmenter);
  if (status == DSUNET_OK) status = dsunet_segment(segmenter, &frame, &mask, 1);
  dsunet_close(&segmenter); /* keeps the message of the call that failed */
  return status;
}

int main(int count, char **words) {
  arguments given = {{NULL, NULL, NULL}, NULL, 0, 0};
  ppm_image photo = {0, 0, NULL};
  unsigned char *levels;
  const char *fault;

  if (!parse(count, words, &given)) {
    fputs(kUsage, stderr);
    return 2;
  }
  fault = read_ppm(given.files[1], &photo);
  if (fault != NULL) return fail(given.files[1], fault);
  levels = (unsigned char *)malloc((size_t)photo.width * (size_t)photo.height);
  if (levels == NULL) {
    free(photo.pixels);
    return fail("", "out of memory");
  }
  if (compute(&given, &photo, levels) != DSUNET_OK) {
    fault = dsunet_last_error();
    fail("", fault);
  } else {
    fault = write_pgm(given.files[2], levels, photo.width, photo.height);
    if (fault != NULL) fail(given.files[2], fault);
  }
  free(levels);
  free(photo.pixels);
  return fault == NULL ? 0 : 1;
}
