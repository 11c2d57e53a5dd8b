//===- Wrapper.c - What an object file of a model has around its code -----===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Compiled to LLVM IR with quant-opt, and from there with each model for its
// processor. So nothing here may depend on one: no headers of the system, whose
// types differ, and 64-bit little-endian POSIX is all that is assumed.
//
//===----------------------------------------------------------------------===//

typedef unsigned long Size;

int open(const char *path, int flags, ...);
int close(int file);
long lseek(int file, long offset, int whence);
void *mmap(void *at, Size size, int protection, int flags, int file, long from);
int munmap(void *at, Size size);
int snprintf(char *to, Size size, const char *format, ...);
void *aligned_alloc(Size alignment, Size size);
void free(void *block);
void abort(void);
long syscall(long number, ...);

enum { readOnly = 0, toEnd = 2, protRead = 1, mapPrivate = 2, errorSize = 256 };

/// The first 64 bytes of a file of weights; WeightsFile.cpp writes them.
typedef struct {
  char magic[8];
  Size size, digest;
  char unused[40];
} Header;

/// What compiled code was made for.
typedef struct {
  Size size, digest; // of the file of weights
  Size arena;        // bytes of activations
  Size matrices;     // whether AMX's registers are used
} Description;

typedef struct {
  char *weights;
  char *arena;
  Size size;
} Model;

static void *fail(char *error, const char *path, const char *message) {
  if (error)
    snprintf(error, errorSize, "%s: %s", path, message);
  return 0;
}

static const char *check(const Header *header, Size size,
                         const Description *expected) {
  static const char magic[] = "QOWEIGHT";
  for (int i = 0; i < 8; ++i)
    if (header->magic[i] != magic[i])
      return "is not a file of weights";
  if (size != expected->size || header->size != size)
    return "has not the size of this model's weights";
  if (header->digest != expected->digest)
    return "holds the weights of another model";
  return 0;
}

/// Linux on x86-64 lets a process use AMX's registers once it has asked.
static int allowMatrices(void) {
  enum { archPrctl = 158, requestPermission = 0x1023, matrixData = 18 };
  return syscall(archPrctl, requestPermission, matrixData) == 0;
}

Model *quantoptOpen(const char *path, char *error,
                    const Description *expected) {
  if (expected->matrices && !allowMatrices())
    return fail(error, "this model", "needs AMX, which the system refuses");
  int file = open(path, readOnly);
  if (file < 0)
    return fail(error, path, "cannot be opened");
  long size = lseek(file, 0, toEnd);
  void *map = (void *)-1;
  if (size >= (long)sizeof(Header))
    map = mmap(0, size, protRead, mapPrivate, file, 0);
  close(file);
  if (map == (void *)-1)
    return fail(error, path, "cannot be mapped, or is too short");
  const char *problem = check(map, size, expected);
  Model *model = problem ? 0 : aligned_alloc(64, 64);
  char *arena =
      model ? aligned_alloc(64, (expected->arena + 127) / 64 * 64) : 0;
  if (!arena) {
    free(model);
    munmap(map, size);
    return fail(error, path, problem ? problem : "no memory for activations");
  }
  model->weights = map;
  model->arena = arena;
  model->size = size;
  return model;
}

void quantoptClose(Model *model) {
  if (!model)
    return;
  munmap(model->weights, model->size);
  free(model->arena);
  free(model);
}

/// Number of the first check that failed in this run, counted from 1.
static _Thread_local long failedCheck;

void quantoptBegin(void) { failedCheck = 0; }
long quantoptEnd(void) { return failedCheck; }

void quantoptReportCheck(long id) {
  if (!failedCheck)
    failedCheck = id + 1;
}

// Buffers whose place in the arena is not known beforehand.
void *_mlir_memref_to_llvm_aligned_alloc(long alignment, long size) {
  void *block = aligned_alloc(64, (size + 63) / 64 * 64);
  if (!block)
    abort();
  return block;
}
void *_mlir_memref_to_llvm_alloc(long size) {
  return _mlir_memref_to_llvm_aligned_alloc(64, size);
}
void _mlir_memref_to_llvm_free(void *block) { free(block); }
