/* The C interface of the dsunet runtime: from an artifact and a frame to a mask.
 *
 * The mask of an RGB frame of 1280×720, `pixels`, as one byte per pixel in `levels`:
 *
 *     dsunet_segmenter *segmenter = NULL;
 *     if (dsunet_open("dsunet.onnx", NULL, &segmenter) != DSUNET_OK) {
 *       fprintf(stderr, "%s\n", dsunet_last_error());
 *       return 1;
 *     }
 *     dsunet_frame frame = DSUNET_FRAME_INIT;
 *     frame.data = pixels; frame.width = 1280; frame.height = 720;
 *     dsunet_mask mask = DSUNET_MASK_INIT;
 *     mask.data = levels;
 *     if (dsunet_segment(segmenter, &frame, &mask, 1) != DSUNET_OK) {
 *       fprintf(stderr, "%s\n", dsunet_last_error());
 *     }
 *     dsunet_close(&segmenter);
 *
 * Errors.  Functions that can fail return a status; `dsunet_last_error` then has one line that says
 * what is wrong and what to do.  No C++ exception leaves the library.  After an error the segmenter
 * can be used further, unless the GPU itself is lost: then every call fails.
 *
 * Threads.  All functions may be called from several threads at once, also with the same segmenter.
 * Exception: when `dsunet_close` is called, no other call with that segmenter may be running.  On
 * ONNX Runtime concurrent calls run side by side; each uses buffers of its own, which are kept for
 * later calls.  On TensorRT the GPU runs them one after the other, and copies overlap.
 *
 * Ownership.  The library copies options and strings, and does not access frames and masks
 * after a call; only `dsunet_segment_device` does so until its work is done.  A segmenter
 * belongs to the caller, who closes it.  Strings that the library returns belong to the library.
 *
 * Structs begin with their size, so that later versions can add fields at the end: initialise them
 * with the macros.  A field that the loaded library does not have must be 0.  Strings are UTF-8 and
 * end in NUL.
 */
#ifndef DSUNET_RUNTIME_H
#define DSUNET_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#if defined(DSUNET_BUILDS_RUNTIME)
#define DSUNET_API __declspec(dllexport)
#else
#define DSUNET_API __declspec(dllimport)
#endif
#else
#define DSUNET_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Version of this interface.  It changes only if programs have to be compiled again. */
#define DSUNET_INTERFACE_VERSION 1

/* The interface version of the loaded library, to compare with DSUNET_INTERFACE_VERSION. */
DSUNET_API int32_t dsunet_interface_version(void);

/* The version of the dsunet release, such as "0.1.0"; valid while the library is loaded. */
DSUNET_API const char *dsunet_version(void);

typedef enum dsunet_status {
  DSUNET_OK = 0,
  DSUNET_ERROR_ARGUMENT = 1, /* NULL, a wrong size or count, an unknown value */
  DSUNET_ERROR_ARTIFACT = 2, /* damaged, incomplete, or of an unsupported format */
  DSUNET_ERROR_BACKEND = 3,  /* missing, or cannot run the artifact on this machine */
  DSUNET_ERROR_IMAGE = 4,    /* a frame or a mask is not valid, or does not fit the artifact */
  DSUNET_ERROR_SELFTEST = 5, /* masks differ from the references in the artifact */
  DSUNET_ERROR_MEMORY = 6,   /* out of host memory */
  DSUNET_ERROR_INTERNAL = 7  /* a defect of this library */
} dsunet_status;

/* The message of the last call in this thread that failed: one line, valid until the next call in
 * this thread.  Empty if none failed. */
DSUNET_API const char *dsunet_last_error(void);

/* An artifact that is loaded and ready to compute masks. */
typedef struct dsunet_segmenter dsunet_segmenter;

/* When `dsunet_open` runs the artifact's self-test. */
typedef enum dsunet_selftest_policy {
  /* The first time on each machine (device, driver, libraries); never on ONNX Runtime's provider
   * `cpu`.  ARTIFACT.selftest.json records the machines on which it passed, as in Python; a failure
   * removes the machine from it. */
  DSUNET_SELFTEST_AUTO = 0,
  DSUNET_SELFTEST_ALWAYS = 1,
  DSUNET_SELFTEST_NEVER = 2
} dsunet_selftest_policy;

typedef struct dsunet_options {
  size_t struct_size;
  /* ONNX Runtime's execution provider: `cpu` (NULL is the same), `cuda`, `tensorrt` or `rtx`.  NULL
   * for engines. */
  const char *provider;
  /* Number of CPU threads per operation, 1 to 1024; 0: one per core.  0 for engines. */
  int32_t threads;
  /* Number of the CUDA device, from 0, in CUDA's order. */
  int32_t device;
  int32_t selftest; /* dsunet_selftest_policy */
  /* 1: a provider on a GPU may leave matrix multiplications and convolutions to the CPU.  0: that
   * is an error. */
  int32_t allow_cpu_fallback;
  /* 1: compare the SHA-256 of all files with the manifest, which reads them completely.  Sizes, and
   * the digest of the manifest itself, are always compared, and for `tensorrt` and `rtx`, which
   * keep what they compile, the SHA-256 too. */
  int32_t verify_hashes;
  /* Path of ONNX Runtime's or TensorRT's library.  NULL: the environment variable
   * DSUNET_ONNXRUNTIME_LIBRARY or DSUNET_TENSORRT_LIBRARY, or else the system's search path.
   * Engines also need the NVIDIA driver's library: on that path, or named by DSUNET_CUDA_LIBRARY.
   */
  const char *library;
  /* Path of the library of the plugin `rtx`.  NULL: the environment variable
   * DSUNET_RTX_PROVIDER_LIBRARY. */
  const char *provider_library;
  /* Folder of this library's backends.  NULL: the folder `dsunet` beside this library. */
  const char *backends;
} dsunet_options;

#define DSUNET_OPTIONS_INIT {sizeof(dsunet_options), NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL}

/* Load an artifact: an ONNX file (NAME.onnx) or an engine (NAME.engine, NAME.plan) that
 * `dsunet-export` wrote in the frames form.
 *
 * `options` may be NULL: all defaults.  On success `*segmenter` must be closed with `dsunet_close`;
 * otherwise it is NULL.  Returns any of the errors above but DSUNET_ERROR_IMAGE.
 *
 * For ONNX files, the environment variable ORT_DISABLE_TELEMETRY is set to 1, and for `tensorrt`
 * and `rtx` NVIDIA_TF32_OVERRIDE to 0, unless they are set.  A program whose other threads read the
 * environment sets them itself, before it starts these. */
DSUNET_API dsunet_status dsunet_open(const char *path, const dsunet_options *options,
                                     dsunet_segmenter **segmenter);

/* Release everything, and set `*segmenter` to NULL.  Waits for work that `dsunet_segment_device`
 * has enqueued.  Copies of the pointer, and strings of `dsunet_describe`, become invalid.  NULL and
 * a pointer to NULL are ignored. */
DSUNET_API void dsunet_close(dsunet_segmenter **segmenter);

/* The range of sizes of one dimension; both ends are included. */
typedef struct dsunet_range {
  int32_t minimum;
  int32_t optimum; /* the size that an engine is optimised for */
  int32_t maximum; /* 0: no limit */
} dsunet_range;

/* What an artifact takes and computes.  Strings are valid until the segmenter is closed. */
typedef struct dsunet_description {
  size_t struct_size;
  int32_t is_engine;
  int32_t is_probability; /* 1: level = probability × 255; 0: each mask is stretched to 0..255 */
  int32_t weights_are_random; /* randomly initialised: masks are not meaningful */
  dsunet_range batch;
  dsunet_range height;
  dsunet_range width;
  const char *provider;  /* `cpu`, …; `tensorrt` or `rtx` for an engine, by its flavor */
  const char *precision; /* `float32`, `float16`, `bfloat16`, `int8` or `float8e4m3fn` */
  const char *machine;   /* device, driver and libraries, separated by ", "; empty for `cpu` */
  const char *manifest;  /* the artifact's whole manifest, JSON */
} dsunet_description;

#define DSUNET_DESCRIPTION_INIT \
  {sizeof(dsunet_description), 0, 0, 0, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, NULL, NULL, NULL, NULL}

/* Fill in the description.  Returns DSUNET_ERROR_ARGUMENT for NULL and wrong structs. */
DSUNET_API dsunet_status dsunet_describe(const dsunet_segmenter *segmenter,
                                         dsunet_description *description);

/* Order of the bytes of a pixel.  Alpha is ignored: colours under transparent pixels count. */
typedef enum dsunet_pixel_format {
  DSUNET_RGB = 0,
  DSUNET_BGR = 1,
  DSUNET_RGBA = 2,
  DSUNET_BGRA = 3,
  /* A plane of Y, and one of pairs U, V for each 2×2 pixels; odd sizes are rounded up. */
  DSUNET_NV12 = 4
} dsunet_pixel_format;

/* The conversion of NV12 to RGB, in integers with 16 fractional bits; >> rounds down, and results
 * are limited to 0 and 255:
 *
 *     y = cy·(Y − y0);  u = U − 128;  v = V − 128
 *     R = (y + crv·v + 32768) >> 16
 *     G = (y − cgu·u − cgv·v + 32768) >> 16
 *     B = (y + cbu·u + 32768) >> 16
 *
 * The pixels of a 2×2 square have the same U and V.  The integers are those of ITU-R BT.601 and
 * BT.709 (docs/cpp.md has the table), and the same as in Python. */
typedef enum dsunet_yuv_encoding {
  DSUNET_BT601_LIMITED = 0,
  DSUNET_BT601_FULL = 1,
  DSUNET_BT709_LIMITED = 2,
  DSUNET_BT709_FULL = 3
} dsunet_yuv_encoding;

/* An image in memory, which the library only reads.  Sides are at most 2²⁰ pixels, strides 2³²
 * bytes. */
typedef struct dsunet_frame {
  size_t struct_size;
  const void *data; /* the top row; for NV12, that of Y */
  int32_t width;
  int32_t height;
  ptrdiff_t stride;   /* bytes from one row to the next; negative: the bottom row is the first in
                       * memory; 0: rows without gaps */
  const void *chroma; /* NV12: the top row of U and V.  NULL: `height` rows after `data` */
  ptrdiff_t chroma_stride; /* 0: that of Y, or without a gap if Y has none */
  int32_t format;          /* dsunet_pixel_format */
  int32_t encoding;        /* dsunet_yuv_encoding, of NV12 */
  /* The region of interest in pixels.  All 0: the whole frame. */
  int32_t x;
  int32_t y;
  int32_t region_width;
  int32_t region_height;
} dsunet_frame;

#define DSUNET_FRAME_INIT {sizeof(dsunet_frame), NULL, 0, 0, 0, NULL, 0, 0, 0, 0, 0, 0, 0}

/* Memory of a mask, which the library writes: one byte for each pixel of the frame, or of its
 * region. */
typedef struct dsunet_mask {
  size_t struct_size;
  void *data;
  ptrdiff_t stride; /* as in dsunet_frame */
  /* 0: levels from 0, outside, to 255, inside.  1 to 255: 255 where the level is at least this, and
   * 0 elsewhere. */
  int32_t threshold;
  int32_t reserved; /* 0 */
} dsunet_mask;

#define DSUNET_MASK_INIT {sizeof(dsunet_mask), NULL, 0, 0, 0}

/* Compute the masks of `count` frames in host memory, and wait for them.
 *
 * `frames` and `masks` are arrays; `masks[i]` is that of `frames[i]`.  The frames may have
 * different sizes and formats: those of the same size are combined into batches as large as the
 * artifact takes.
 *
 * Copies.  Frames are converted into a buffer of the segmenter.  There is no copy if those of a
 * batch have the format RGB without gaps between rows, no narrower region, and are adjacent in
 * memory in their order; a single frame counts as adjacent.  Masks are copied out of such a buffer,
 * unless those of a batch have no gaps and are adjacent.  If an artifact requires larger batches,
 * they are filled up in a buffer.  On TensorRT, all frames and masks pass through pinned memory.
 * Masks must not overlap frames or each other.
 *
 * Memory.  After the first call for a size and number of frames, this library allocates nothing, if
 * frames and masks that are not copied come from at most 16 pairs of buffers.  ONNX Runtime may
 * allocate memory within a run.
 *
 * `count` is 1 to 2²⁰.  After DSUNET_ERROR_ARGUMENT and DSUNET_ERROR_IMAGE no mask is written;
 * after other errors the content of the masks is undefined. */
DSUNET_API dsunet_status dsunet_segment(dsunet_segmenter *segmenter, const dsunet_frame *frames,
                                        const dsunet_mask *masks, size_t count);

/* Enqueue the computation of masks in GPU memory on a CUDA stream, and return.  Engines only.
 *
 * All pointers are device addresses in the segmenter's GPU; `stream` is a `cudaStream_t`,
 * `CUstream`, or NULL for the default stream, of that GPU's primary context.  All frames have the
 * same size, and `count` is a batch that the engine takes.  The frames must have been filled by
 * earlier work on the stream.  Frames and masks must stay allocated until the work is done, and
 * later work on the stream may read the masks.  The structs and arrays may be reused after the
 * call.
 *
 * Copies.  None of the frames if all have the format RGB without gaps, and are adjacent in memory
 * from a multiple of 256 bytes on; none of the masks if all have no gaps and no threshold, and are
 * adjacent like that.  Otherwise a kernel converts into buffers of the segmenter, or out of them,
 * on the same stream.
 *
 * The stream must not be under capture by a CUDA graph.  The call does not wait for the GPU, except
 * in the first one of a larger size whose frames or masks are converted.  On a default stream, the
 * work is put on a stream of the segmenter, after earlier and before later work on the default
 * stream.  After an error, work that was enqueued before it is still done: synchronise the stream
 * before memory is freed.  Returns DSUNET_ERROR_BACKEND for ONNX files. */
DSUNET_API dsunet_status dsunet_segment_device(dsunet_segmenter *segmenter,
                                               const dsunet_frame *frames, const dsunet_mask *masks,
                                               size_t count, void *stream);

/* The outcome of a self-test.  The fields from `batch` on describe the comparison that is furthest
 * from its reference. */
typedef struct dsunet_selftest_result {
  size_t struct_size;
  int32_t comparisons; /* number of all */
  int32_t failed;      /* number of those outside their tolerance */
  int32_t batch;
  int32_t place;   /* index in the batch */
  int32_t picture; /* number of the self-test's picture, from 0 */
  int32_t width;
  int32_t height;
  double blocks; /* mean difference of block means, in levels */
  double blocks_tolerance;
  double points; /* mean difference at points, in levels */
  double points_tolerance;
} dsunet_selftest_result;

#define DSUNET_SELFTEST_RESULT_INIT \
  {sizeof(dsunet_selftest_result), 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0}

/* Compare what this machine computes with the references in the manifest, at batch 1, 2 and the
 * largest, and record the outcome as with DSUNET_SELFTEST_ALWAYS.  Returns DSUNET_ERROR_SELFTEST if
 * a comparison is outside its tolerance, with the result filled in, and DSUNET_ERROR_ARTIFACT if
 * the artifact has no self-test for the sizes that it takes.  `result` may be NULL. */
DSUNET_API dsunet_status dsunet_selftest(dsunet_segmenter *segmenter,
                                         dsunet_selftest_result *result);

#ifdef __cplusplus
}
#endif

#endif
