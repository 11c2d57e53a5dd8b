//===- PoolTest.cpp - The pool of activations -----------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Runtime/BufferPool.h"

#include <gtest/gtest.h>

using namespace quantopt;

TEST(Pool, ReusesAndCounts) {
  poolTrim();
  PoolUse before = poolUse();
  void *block = poolAllocate(1 << 20);
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % 64, 0u);
  EXPECT_GE(poolUse().liveBytes, before.liveBytes + (1 << 20));
  poolFree(block);
  EXPECT_EQ(poolUse().liveBytes, before.liveBytes);
  EXPECT_GT(poolUse().cachedBytes, 0);
  // A little smaller is served by the same block, much smaller is not.
  void *again = poolAllocate((1 << 20) - 1000);
  EXPECT_EQ(again, block);
  poolFree(again);
  void *small = poolAllocate(1000);
  EXPECT_NE(small, block);
  poolFree(small);
  poolTrim();
  EXPECT_EQ(poolUse().cachedBytes, 0);
  poolFree(nullptr);
  poolFree(poolAllocate(0));
}
