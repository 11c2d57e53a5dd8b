//===- Blas.h - The BLAS on one thread --------------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_RUNTIME_BLAS_H
#define QUANTOPT_LIB_RUNTIME_BLAS_H

#include "quantopt/Runtime/BufferPool.h"

#include <cblas.h>

namespace quantopt {

/// Makes the BLAS run on the calling thread. Parallelism is ours: the BLAS
/// would cut the work by the number of threads, and the sums with it.
inline void useSingleThreadedBlas() {
#ifdef OPENBLAS_VERSION
  static bool once = (openblas_set_num_threads(1), true);
  (void)once;
#endif
}

/// A block of floats from the pool.
class Scratch {
public:
  explicit Scratch(int64_t count)
      : block(count ? poolAllocate(count * sizeof(float)) : nullptr) {}
  Scratch(const Scratch &) = delete;
  Scratch &operator=(const Scratch &) = delete;
  ~Scratch() { poolFree(block); }
  float *data() { return static_cast<float *>(block); }

private:
  void *block;
};

} // namespace quantopt

#endif // QUANTOPT_LIB_RUNTIME_BLAS_H
