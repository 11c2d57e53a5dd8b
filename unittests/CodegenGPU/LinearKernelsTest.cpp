//===- LinearKernelsTest.cpp - Generated kernels on the emulator ----------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LinearRun.h"

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>

using namespace quantopt;
using namespace quantopt::kernels;

/// Runs a problem under all schedules: right within the bound, and the same
/// each time.
static void check(const LinearProblem &problem) {
  CompiledLinear compiled = compileLinear(problem);
  std::string name = compiled.plan.empty() ? "" : compiled.plan.back().kernel;
  SCOPED_TRACE(name);
  if (const char *folder = std::getenv("QUANTOPT_PTX_DIR"))
    std::ofstream(std::string(folder) + "/" + problem.chip.name() + "_" + name +
                  ".ptx")
        << compiled.ptx;
  LinearCase linear = makeCase(problem, problem.m + problem.n + problem.k);
  std::vector<float> first;
  for (auto schedule : {ptx::Schedule::Greedy, ptx::Schedule::RoundRobin,
                        ptx::Schedule::Random}) {
    ptx::RunOptions options;
    options.schedule = schedule;
    options.seed = 1 + problem.n;
    std::vector<float> y = runLinear(compiled, linear, options);
    ASSERT_EQ(y.size(), linear.y.size());
    for (size_t i = 0; i < y.size(); ++i) {
      // Not ">": NaN must fail.
      ASSERT_TRUE(std::abs(y[i] - linear.y[i]) <= errorBound(linear, i))
          << "y[" << i / problem.n << "][" << i % problem.n << "] is " << y[i]
          << " instead of " << linear.y[i] << " +- " << errorBound(linear, i);
    }
    if (first.empty())
      first = y;
    EXPECT_EQ(y, first) << "another schedule, another result";
  }
}

static LinearProblem problemOf(int64_t m, int64_t n, int64_t k) {
  LinearProblem problem;
  problem.m = m;
  problem.n = n;
  problem.k = k;
  problem.scheme.zero = ZeroKind::Symmetric;
  problem.chip = *parseChip("sm_80");
  return problem;
}

TEST(SkinnyKernel, AnyBits) {
  for (unsigned bits = 2; bits <= 8; ++bits)
    for (FloatKind type : {FloatKind::F16, FloatKind::BF16})
      for (ZeroKind zero :
           {ZeroKind::Symmetric, ZeroKind::Integer, ZeroKind::Minimum}) {
        LinearProblem problem = problemOf(2, 32, 192);
        problem.scheme.bits = bits;
        problem.scheme.zero = zero;
        problem.x = problem.y = problem.compute = type;
        check(problem);
      }
}

TEST(SkinnyKernel, AnyGroup) {
  for (int64_t group : {16, 32, 48, 64, 128, 40, 7, 1000})
    for (ZeroKind zero :
         {ZeroKind::Symmetric, ZeroKind::Integer, ZeroKind::Minimum})
      for (ScaleKind scale :
           {ScaleKind::F16, ScaleKind::BF16, ScaleKind::F32}) {
        LinearProblem problem = problemOf(3, 17, 328);
        problem.scheme.groupSize = group;
        problem.scheme.zero = zero;
        problem.scheme.scaleType = scale;
        check(problem);
      }
}

TEST(SkinnyKernel, Tables) {
  for (CodeTable table :
       {CodeTable::NF4, CodeTable::FP4, CodeTable::IQ4NL, CodeTable::E2M1})
    for (FloatKind type : {FloatKind::F16, FloatKind::BF16})
      for (int64_t group : {32, 64}) {
        LinearProblem problem = problemOf(1, 48, 256);
        problem.scheme.table = table;
        problem.scheme.groupSize = group;
        problem.scheme.scaleType = ScaleKind::F32;
        problem.x = problem.y = problem.compute = type;
        check(problem);
      }
}

TEST(SkinnyKernel, AnyShape) {
  for (int64_t m : {1, 2, 5, 8, 9, 16})
    for (auto [n, k] : std::initializer_list<std::pair<int64_t, int64_t>>{
             {1, 1}, {16, 64}, {33, 63}, {100, 130}, {64, 1100}}) {
      check(problemOf(m, n, k));
      LinearProblem wide = problemOf(m, n, k);
      wide.x = wide.y = FloatKind::F32;
      wide.compute = FloatKind::BF16;
      check(wide);
    }
}

//===----------------------------------------------------------------------===//
// More rows of x
//===----------------------------------------------------------------------===//

static LinearProblem wgmmaProblem(int64_t m, int64_t n, int64_t k) {
  LinearProblem problem = problemOf(m, n, k);
  problem.chip = *parseChip("sm_90a");
  return problem;
}

/// The cases that both kernels for many rows have to handle.
static void checkSchemes(LinearProblem base) {
  for (unsigned bits : {2, 3, 4, 8})
    for (FloatKind type : {FloatKind::F16, FloatKind::BF16})
      for (ZeroKind zero :
           {ZeroKind::Symmetric, ZeroKind::Integer, ZeroKind::Minimum}) {
        LinearProblem problem = base;
        problem.scheme.bits = bits;
        problem.scheme.zero = zero;
        problem.x = problem.y = problem.compute = type;
        check(problem);
      }
  for (int64_t group : {32, 40, 128}) {
    LinearProblem problem = base;
    problem.scheme.groupSize = group;
    check(problem);
  }
  for (CodeTable table : {CodeTable::NF4, CodeTable::FP4}) {
    LinearProblem problem = base;
    problem.scheme.table = table;
    problem.scheme.scaleType = ScaleKind::F32;
    check(problem);
  }
}

TEST(TiledKernel, AnyScheme) {
  checkSchemes(problemOf(20, 48, 192));
  checkSchemes(problemOf(40, 48, 192));
}

TEST(TiledKernel, AnyShape) {
  for (int64_t m : {17, 32, 33, 64, 65, 150})
    for (auto [n, k] : std::initializer_list<std::pair<int64_t, int64_t>>{
             {1, 1}, {33, 63}, {300, 200}}) {
      check(problemOf(m, n, k));
      LinearProblem wide = problemOf(m, n, k);
      wide.x = wide.y = FloatKind::F32;
      wide.compute = FloatKind::BF16;
      check(wide);
    }
}

TEST(TiledKernel, SharesRowBlocks) {
  // Stripes of 8 blocks of k over row blocks of 11.
  check(problemOf(24, 300, 700));
  check(problemOf(70, 600, 700));
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

TEST(WarpgroupKernel, SharesRowBlocks) {
  check(wgmmaProblem(100, 300, 700));
}

TEST(LinearProblem, Refusals) {
  LinearProblem problem = problemOf(1, 16, 64);
  EXPECT_EQ(verify(problem), "");
  problem.scheme.granularity = Granularity::Flat;
  EXPECT_NE(verify(problem), "");
  problem = problemOf(1, 16, 64);
  problem.compute = FloatKind::F32;
  EXPECT_NE(verify(problem), "");
  problem = problemOf(0, 16, 64);
  EXPECT_NE(verify(problem), "");
}

TEST(Chip, Names) {
  EXPECT_EQ(parseChip("sm_90a")->name(), "sm_90a");
  EXPECT_TRUE(parseChip("sm_90a")->hasWgmma());
  EXPECT_FALSE(parseChip("sm_90")->hasWgmma());
  EXPECT_EQ(parseChip("sm_120")->sm, 120u);
  for (const char *name : {"sm_75", "sm_", "90", "sm_80b", "gfx90a"})
    EXPECT_FALSE(parseChip(name)) << name;
}
