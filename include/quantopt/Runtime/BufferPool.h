//===- BufferPool.h - Memory of activations ---------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Compiled code allocates and frees an activation for every op. Fresh pages
// cost more than most of these ops, so freed blocks are kept, warm, for the
// next one; all threads share them, so that a thread that waits holds only what
// is alive.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_RUNTIME_BUFFERPOOL_H
#define QUANTOPT_RUNTIME_BUFFERPOOL_H

#include <cstdint>

namespace quantopt {

/// A block of `bytes`, aligned to 64. Null if there is no memory.
void *poolAllocate(int64_t bytes);

/// Gives a block back. Null is ignored.
void poolFree(void *block);

/// Returns the blocks that nobody uses to the system.
void poolTrim();

/// What the pool holds.
struct PoolUse {
  int64_t liveBytes, cachedBytes, peakLiveBytes;
};
PoolUse poolUse();

} // namespace quantopt

#endif // QUANTOPT_RUNTIME_BUFFERPOOL_H
