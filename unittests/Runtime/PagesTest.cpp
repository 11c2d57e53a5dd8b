//===- PagesTest.cpp - Memory in huge pages -------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Runtime/Pages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

using namespace quantopt;

TEST(Pages, HugeOnesBeginAtOneAndHoldZeros) {
  size_t bytes = (size_t(5) << 20) + 3;
  std::shared_ptr<std::byte> memory = allocateHugePages(bytes);
  ASSERT_NE(memory, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.get()) % (size_t(2) << 20), 0u);
  EXPECT_TRUE(
      std::all_of(memory.get(), memory.get() + bytes,
                  [](std::byte value) { return value == std::byte(0); }));
  std::fill_n(memory.get(), bytes, std::byte(1));
}
