// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a processor can do at most: read bandwidth of the memory and the rate of
// its vector instructions. roofs.py compiles this for the machine it runs on.
// A kind that the machine has no instruction for has rate 0.

#include <immintrin.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum Kind { READ, DOT_I8, DOT_BF16, FMA_F32, MATRIX_I8, MATRIX_BF16 };

// Independent sums: more than latency times throughput on any core so far.
#define SUMS(step)                                                             \
  step(0) step(1) step(2) step(3) step(4) step(5) step(6) step(7) step(8)      \
      step(9) step(10) step(11)
enum { NUM_SUMS = 12, ROUNDS = 200000, MAX_STREAMS = 4, MAX_THREADS = 64 };

#if defined(__AVX512F__)
typedef __m512i Vector;
enum { VECTOR = 64 };
#else
typedef __m256i Vector;
enum { VECTOR = 32 };
#endif
#define FMA "vfmadd231ps %1, %1, %0"
#if defined(__AVX512VNNI__)
#define DOT8 "vpdpbusd %1, %1, %0"
#elif defined(__AVXVNNI__)
#define DOT8 "{vex} vpdpbusd %1, %1, %0"
#endif
#if defined(__AVX512BF16__)
#define DOT16 "vdpbf16ps %1, %1, %0"
#endif

typedef struct {
  enum Kind kind;
  const char *begin; // of the slice that this thread reads
  size_t bytes;
  int streams;
  pthread_barrier_t *start;
  double from, to; // seconds
  int64_t sink;
} Job;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + 1e-9 * time.tv_nsec;
}

static inline int64_t readAll(const char *begin, size_t bytes, int streams) {
  size_t each = bytes / streams;
  Vector sums[MAX_STREAMS] = {0};
  for (size_t at = 0; at < each; at += 4 * VECTOR)
    for (int stream = 0; stream < streams; ++stream) {
      const Vector *from = (const Vector *)(begin + stream * each + at);
      sums[stream] ^= from[0] ^ from[1] ^ from[2] ^ from[3];
    }
  int64_t total = 0;
  for (int stream = 0; stream < streams; ++stream)
    total ^= sums[stream][0];
  return total;
}

#define DEFINE_RATE(name, instruction)                                         \
  static void name(void) {                                                     \
    Vector factor = {0}, sums[NUM_SUMS] = {0};                                 \
    for (int round = 0; round < ROUNDS; ++round) {                             \
      SUMS(instruction)                                                        \
    }                                                                          \
  }
#define ISSUE_FMA(i) __asm__ volatile(FMA : "+v"(sums[i]) : "v"(factor));
DEFINE_RATE(issueFma, ISSUE_FMA)
#ifdef DOT8
#define ISSUE_DOT8(i) __asm__ volatile(DOT8 : "+v"(sums[i]) : "v"(factor));
DEFINE_RATE(issueDot8, ISSUE_DOT8)
#endif
#ifdef DOT16
#define ISSUE_DOT16(i) __asm__ volatile(DOT16 : "+v"(sums[i]) : "v"(factor));
DEFINE_RATE(issueDot16, ISSUE_DOT16)
#endif

#if defined(__AMX_INT8__) && defined(__AMX_BF16__)
#define MATRIX
// Four sums of two operands each, as many as the eight registers allow.
#define ISSUE_MATRIX(instruction)                                              \
  __asm__ volatile(instruction " %%tmm6, %%tmm4, %%tmm0\n\t" instruction       \
                               " %%tmm7, %%tmm4, %%tmm1\n\t" instruction       \
                               " %%tmm6, %%tmm5, %%tmm2\n\t" instruction       \
                               " %%tmm7, %%tmm5, %%tmm3" ::);
static void issueMatrix(enum Kind kind) {
  struct {
    uint8_t palette, start, unused[14];
    uint16_t rowBytes[16];
    uint8_t rows[16];
  } config = {.palette = 1};
  for (int i = 0; i < 8; ++i) {
    config.rowBytes[i] = 64;
    config.rows[i] = 16;
  }
  __asm__ volatile("ldtilecfg %0" ::"m"(config));
  for (int i = 0; i < ROUNDS; ++i)
    if (kind == MATRIX_I8)
      ISSUE_MATRIX("tdpbsud")
    else
      ISSUE_MATRIX("tdpbf16ps")
  __asm__ volatile("tilerelease");
}
#endif

/// Linux wants to be asked for the registers of matrices.
static int hasMatrices(void) {
#ifdef MATRIX
  return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
#else
  return 0;
#endif
}

static void *work(void *argument) {
  Job *job = argument;
  pthread_barrier_wait(job->start);
  job->from = now();
  switch (job->kind) {
  case READ:
    job->sink = job->streams == 1
                    ? readAll(job->begin, job->bytes, 1)
                    : readAll(job->begin, job->bytes, MAX_STREAMS);
    break;
  case DOT_I8:
#ifdef DOT8
    issueDot8();
#endif
    break;
  case DOT_BF16:
#ifdef DOT16
    issueDot16();
#endif
    break;
  case FMA_F32:
    issueFma();
    break;
  case MATRIX_I8:
  case MATRIX_BF16:
#ifdef MATRIX
    issueMatrix(job->kind);
#endif
    break;
  }
  job->to = now();
  return 0;
}

// Multiplications and additions of a round; 0 if there is no instruction.
static int operations(enum Kind kind) {
  switch (kind) {
  case READ:
    return 0;
  case DOT_I8:
#ifdef DOT8
    return NUM_SUMS * 2 * VECTOR;
#else
    return 0;
#endif
  case DOT_BF16:
#ifdef DOT16
    return NUM_SUMS * 2 * VECTOR / 2;
#else
    return 0;
#endif
  case FMA_F32:
    return NUM_SUMS * 2 * VECTOR / 4;
  case MATRIX_I8:
    return hasMatrices() ? 4 * 2 * 16 * 16 * 64 : 0;
  case MATRIX_BF16:
    return hasMatrices() ? 4 * 2 * 16 * 16 * 32 : 0;
  }
  return 0;
}

/// A buffer whose pages exist; 0 if there is no memory.
char *allocate(size_t bytes) {
  char *buffer = mmap(0, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (buffer == MAP_FAILED)
    return 0;
  madvise(buffer, bytes, MADV_HUGEPAGE);
  for (size_t at = 0; at < bytes; at += 64)
    buffer[at] = (char)(at >> 6);
  return buffer;
}

/// Best of `repeats`: bytes per second read from `buffer`, or operations per
/// second. Which way to read is faster differs between processors: each thread
/// reads in one stream and in several by turns.
double rate(enum Kind kind, int threads, const char *buffer, size_t bytes,
            int repeats) {
  if (threads < 1 || threads > MAX_THREADS ||
      (kind != READ && !operations(kind)))
    return 0;
  // Whole steps of readAll for each thread.
  size_t slice = bytes / threads / (4 * VECTOR * MAX_STREAMS);
  slice *= 4 * VECTOR * MAX_STREAMS;
  double best = 0;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    pthread_t ids[MAX_THREADS];
    Job jobs[MAX_THREADS];
    pthread_barrier_t start;
    pthread_barrier_init(&start, 0, threads);
    for (int i = 0; i < threads; ++i) {
      jobs[i] = (Job){kind,   buffer + slice * i,
                      slice,  repeat % 2 ? MAX_STREAMS : 1,
                      &start, 0,
                      0,      0};
      if (i)
        pthread_create(&ids[i], 0, work, &jobs[i]);
    }
    work(&jobs[0]);
    double from = jobs[0].from, to = jobs[0].to;
    for (int i = 1; i < threads; ++i) {
      pthread_join(ids[i], 0);
      from = jobs[i].from < from ? jobs[i].from : from;
      to = jobs[i].to > to ? jobs[i].to : to;
    }
    pthread_barrier_destroy(&start);
    double done = kind == READ ? (double)slice * threads
                               : (double)operations(kind) * ROUNDS * threads;
    if (done / (to - from) > best)
      best = done / (to - from);
  }
  return best;
}
