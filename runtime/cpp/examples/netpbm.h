/* Images of the format PPM (colour, P6) and PGM (grey, P5), which need no library.
 *
 * `convert photo.jpg photo.ppm` (ImageMagick) or `ffmpeg -i photo.jpg photo.ppm` makes one. */
#ifndef NETPBM_H
#define NETPBM_H

#include <stdio.h>
#include <stdlib.h>

typedef struct ppm_image {
  int width, height;
  unsigned char *pixels; /* RGB, height × width × 3 bytes; release with free() */
} ppm_image;

/* The next number of a header, after white space and comments; -1 if there is none. */
static inline int read_number(FILE *file) {
  int next = fgetc(file), number = 0;
  while (next == ' ' || next == '\t' || next == '\n' || next == '\r' || next == '#') {
    if (next == '#') {
      while (next != '\n' && next != EOF) next = fgetc(file);
    }
    next = fgetc(file);
  }
  if (next < '0' || next > '9') return -1;
  for (; next >= '0' && next <= '9' && number < 100000; next = fgetc(file)) {
    number = 10 * number + (next - '0');
  }
  return number; /* the byte of white space after it has been read too */
}

/* Read a PPM file of 8 bits.  Returns NULL, or the reason of the failure. */
static inline const char *read_ppm(const char *path, ppm_image *result) {
  FILE *file = fopen(path, "rb");
  size_t size;
  if (file == NULL) return "cannot be opened";
  if (fgetc(file) != 'P' || fgetc(file) != '6') {
    fclose(file);
    return "is not a PPM file (P6): convert it with ImageMagick or ffmpeg";
  }
  result->width = read_number(file);
  result->height = read_number(file);
  if (result->width < 1 || result->height < 1 || read_number(file) != 255) {
    fclose(file);
    return "is not a PPM file of 8 bits";
  }
  size = 3 * (size_t)result->width * (size_t)result->height;
  result->pixels = (unsigned char *)malloc(size);
  if (result->pixels == NULL || fread(result->pixels, 1, size, file) != size) {
    free(result->pixels);
    result->pixels = NULL;
    fclose(file);
    return "ends too early";
  }
  fclose(file);
  return NULL;
}

/* Write a mask as a PGM file; if that fails, the file is left empty.  Returns NULL, or the reason
 * of the failure. */
static inline const char *write_pgm(const char *path, const unsigned char *levels, int width,
                                    int height) {
  const size_t size = (size_t)width * (size_t)height;
  FILE *file = fopen(path, "wb");
  int is_written;
  if (file == NULL) return "cannot be created";
  is_written =
      fprintf(file, "P5\n%d %d\n255\n", width, height) > 0 && fwrite(levels, 1, size, file) == size;
  if (fclose(file) == 0 && is_written) return NULL;
  file = fopen(path, "wb"); /* not removed: it may be a device */
  if (file != NULL) fclose(file);
  return "cannot be written: is the disk full?";
}

#endif
