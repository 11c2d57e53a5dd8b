//===- WarpgroupKernelTest.cpp - wgmma kernels on the emulator ------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LinearRun.h"

#include <gtest/gtest.h>

using namespace quantopt;
using namespace quantopt::kernels;

static LinearProblem wgmmaProblem(int64_t m, int64_t n, int64_t k) {
  LinearProblem problem = problemOf(m, n, k);
  problem.chip = *parseChip("sm_90a");
  return problem;
}

TEST(WarpgroupKernel, AnyScheme) { checkSchemes(wgmmaProblem(70, 48, 192)); }

TEST(WarpgroupKernel, AnyShape) {
  for (int64_t m : {65, 128, 129})
    for (auto [n, k] : std::initializer_list<std::pair<int64_t, int64_t>>{
             {1, 1}, {33, 63}, {300, 200}}) {
      check(wgmmaProblem(m, n, k));
      LinearProblem wide = wgmmaProblem(m, n, k);
      wide.x = wide.y = FloatKind::F32;
      wide.compute = FloatKind::BF16;
      check(wide);
    }
}

TEST(WarpgroupKernel, SharesRowBlocks) { check(wgmmaProblem(100, 300, 700)); }
