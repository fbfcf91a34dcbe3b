/* fewshift in C (C99): ONNX classifiers on the CPU.
 *
 *   fewshift_model *model;
 *   fewshift_session *session;
 *   fewshift_class best[5];
 *   int64_t found, k;
 *   if (fewshift_model_open("model.onnx", NULL, &model) != FEWSHIFT_OK ||
 *       fewshift_session_create(model, 1, 1, &session) != FEWSHIFT_OK ||
 *       fewshift_classify_file(session, "photo.jpg", best, 5, &found) != FEWSHIFT_OK)
 *     return fprintf(stderr, "%s\n", fewshift_error()), 1;
 *   for (k = 0; k < found; ++k) printf("%s %.3f\n", best[k].name, best[k].score);
 *
 * Threads. A model is constant: any number of threads may use one at a time, and close it while sessions of
 * it live. A session is for one thread at a time. It computes on the calling thread and, where more than one
 * was asked for, on a pool of its own, which sleeps between runs. To use threads of your own instead, give
 * each a session of one thread.
 *
 * Errors. What returns a fewshift_status gives FEWSHIFT_OK or says with fewshift_error() what went wrong,
 * naming the file or field; what it would have written to is left as it was. Nothing is printed, no exception
 * leaves the library, nothing ends the process. Where an argument must not be NULL (it says so where it may),
 * NULL is such an error; functions that return no status then give 0 or NULL.
 *
 * Text is UTF-8 and belongs to the library; it lives as long as the model it comes from.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FEWSHIFT_FEWSHIFT_H
#define FEWSHIFT_FEWSHIFT_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define FEWSHIFT_API __attribute__((visibility("default")))
#else
#define FEWSHIFT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Of this header. Grows where programs built against an older one would no longer work with the library. */
#define FEWSHIFT_ABI_VERSION 1

/* Of the library that is loaded. */
FEWSHIFT_API int fewshift_abi_version(void);
FEWSHIFT_API const char* fewshift_version(void); /* "0.1.0" */
/* The instruction set that it uses here: "avx512", "avx2", "sse4", "neon" or "baseline"; "" where the
 * environment's FEWSHIFT_ISA names one that is not to be had. */
FEWSHIFT_API const char* fewshift_isa(void);

typedef enum fewshift_status {
  FEWSHIFT_OK = 0,
  FEWSHIFT_NOT_FOUND = 1,        /* a file that is not there */
  FEWSHIFT_INVALID_ARGUMENT = 2, /* a value out of its range */
  FEWSHIFT_CORRUPT = 3,          /* a file whose bytes are not what its format demands */
  FEWSHIFT_UNSUPPORTED = 4,      /* well-formed, but not computed here, or beyond a limit */
  FEWSHIFT_IO = 5,               /* the system refused */
  FEWSHIFT_NUMERIC = 6,          /* NaN or infinity where a number was needed */
  FEWSHIFT_NO_MEMORY = 7,
  FEWSHIFT_INTERNAL = 8 /* a fault of the library */
} fewshift_status;

/* What went wrong in the calling thread's last call that failed, in one line; "" if none has. It stays
 * through calls that succeed, until the next that fails. */
FEWSHIFT_API const char* fewshift_error(void);

/* What a model may take at most: files may come from strangers. 0 means the library's own limit. */
typedef struct fewshift_limits {
  size_t size; /* sizeof(fewshift_limits), so that later versions may add to it: what lies beyond it is not
                  read */
  int64_t file_bytes;   /* of the ONNX file; 2 GiB */
  int64_t nodes;        /* of its graph; 20,000 */
  int64_t weight_bytes; /* of its weights as the nodes read them; 4 GiB */
  int64_t memory_bytes; /* of a session's activations; 8 GiB */
  int64_t madds;        /* multiply-adds of one picture; 10 * 2^40 */
} fewshift_limits;

typedef struct fewshift_model fewshift_model;
typedef struct fewshift_session fewshift_session;

/* An ONNX file, or its bytes, which may go afterwards. limits may be NULL. */
FEWSHIFT_API fewshift_status fewshift_model_open(const char* path, const fewshift_limits* limits,
                                                 fewshift_model** model);
FEWSHIFT_API fewshift_status fewshift_model_open_bytes(const void* bytes, size_t size,
                                                       const fewshift_limits* limits, fewshift_model** model);
FEWSHIFT_API void fewshift_model_close(fewshift_model* model); /* may be NULL */

/* The sizes of one picture's input, [1,C,H,W], and of its output: as many as the rank that is returned, of
 * which at most `capacity` are written (dims may be NULL where that is 0). */
FEWSHIFT_API int fewshift_model_input_dims(const fewshift_model* model, int64_t* dims, int capacity);
FEWSHIFT_API int fewshift_model_output_dims(const fewshift_model* model, int64_t* dims, int capacity);
/* Numbers of the pooled features of one picture, before the classifier; 0 where the network pools nowhere. */
FEWSHIFT_API int64_t fewshift_model_features(const fewshift_model* model);
/* Classes; 0 for a network that is no classifier of square RGB pictures: fewshift_run runs it all the same.
 */
FEWSHIFT_API int64_t fewshift_model_classes(const fewshift_model* model);
/* The name of class k, from the file ("3" where it has no names); NULL where there is no such class. */
FEWSHIFT_API const char* fewshift_model_class_name(const fewshift_model* model, int64_t k);
/* JSON: {"size":224,"resize":256,"mean":[...],"std":[...],"interpolation":"bilinear" or "bicubic",
 * "decode":"fast" (large JPEGs at a smaller scale) or "full"}: px; of RGB from 0 to 1. "" for what is no
 * classifier. */
FEWSHIFT_API const char* fewshift_model_preprocessing(const fewshift_model* model);
/* An entry of the file's metadata, or NULL. */
FEWSHIFT_API const char* fewshift_model_metadata(const fewshift_model* model, const char* key);

/* For batches of so many pictures (1 to 2^20), computed on so many threads (1 to 1,024; the caller's is one
 * of them). */
FEWSHIFT_API fewshift_status fewshift_session_create(const fewshift_model* model, int64_t batch, int threads,
                                                     fewshift_session** session);
FEWSHIFT_API void fewshift_session_close(fewshift_session* session); /* may be NULL */

/* The tensor road: input [batch,C,H,W], output [batch] times the output's sizes, features [batch][features]
 * or NULL (left alone where the network has none); float32, row-major. Allocates nothing and cannot fail but
 * for NULL. */
FEWSHIFT_API fewshift_status fewshift_run(fewshift_session* session, const float* input, float* output,
                                          float* features);

/* The classes' probabilities, [classes], of one picture's output: its softmax, or, where that is the
 * network's last operator, as it is. */
FEWSHIFT_API fewshift_status fewshift_scores(const fewshift_model* model, const float* output, float* scores);

typedef struct fewshift_class {
  int64_t index;
  float score; /* probability: softmax over all classes */
  const char* name;
} fewshift_class;

/* The picture road, for classifiers, one picture at a time, with the file's own preprocessing, in a session
 * of batch 1: the `top` likeliest classes, the first the likeliest, in best[0] to best[*found - 1]; *found
 * is `top`, or the number of classes. JPEG, PNG and
 * WebP (no animation), turned upright by EXIF, 16 bits scaled to 8; `pixels`: rows of `stride` bytes, `channels` bytes a
 * pixel: 1 (grey), 3 (RGB) or 4 (RGBA, of which A is left out). */
FEWSHIFT_API fewshift_status fewshift_classify_file(fewshift_session* session, const char* path,
                                                    fewshift_class* best, int64_t top, int64_t* found);
FEWSHIFT_API fewshift_status fewshift_classify_bytes(fewshift_session* session, const void* bytes,
                                                     size_t size, fewshift_class* best, int64_t top,
                                                     int64_t* found);
FEWSHIFT_API fewshift_status fewshift_classify_pixels(fewshift_session* session, const uint8_t* pixels,
                                                      int width, int height, size_t stride, int channels,
                                                      fewshift_class* best, int64_t top, int64_t* found);

/* From a picture to its part of a batch's input, [3,size,size] floats: for batches and features through
 * fewshift_run. */
FEWSHIFT_API fewshift_status fewshift_prepare_file(const fewshift_model* model, const char* path,
                                                   float* tensor);
FEWSHIFT_API fewshift_status fewshift_prepare_bytes(const fewshift_model* model, const void* bytes,
                                                    size_t size, float* tensor);
FEWSHIFT_API fewshift_status fewshift_prepare_pixels(const fewshift_model* model, const uint8_t* pixels,
                                                     int width, int height, size_t stride, int channels,
                                                     float* tensor);

#ifdef __cplusplus
}
#endif

#endif
