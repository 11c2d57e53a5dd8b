//===- LinearKernelsTest.cpp - Generated kernels on the emulator ----------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LinearRun.h"

#include <gtest/gtest.h>

using namespace quantopt;
using namespace quantopt::kernels;

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

TEST(TiledKernel, DequantizedFirst) {
  for (ZeroKind zero : {ZeroKind::Integer, ZeroKind::Minimum}) {
    LinearProblem problem = problemOf(70, 40, 130);
    problem.scheme.groupSize = 40;
    problem.scheme.zero = zero;
    check(problem);
  }
}

TEST(TiledKernel, SharesRowBlocks) {
  // Stripes of 8 blocks of k over row blocks of 11.
  check(problemOf(24, 300, 700));
  check(problemOf(70, 600, 700));
}

//===----------------------------------------------------------------------===//
// Mixtures of experts
//===----------------------------------------------------------------------===//

TEST(Experts, OneLaunchForAll) {
  for (auto [m, experts] : std::initializer_list<std::pair<int64_t, int64_t>>{
           {1, 4}, {9, 4}, {40, 8}, {40, 300}, {120, 3}, {300, 2}})
    for (FloatKind type : {FloatKind::F16, FloatKind::F32}) {
      LinearProblem problem = problemOf(m, 40, 130);
      problem.experts = experts;
      problem.scheme.zero = ZeroKind::Integer;
      problem.x = problem.y = type;
      check(problem);
    }
}

TEST(Chips, AllSchemesInAllKernels) {
  Scheme table;
  table.zero = ZeroKind::Symmetric;
  table.table = CodeTable::NF4;
  Scheme fp4 = table;
  fp4.table = CodeTable::FP4;
  fp4.groupSize = 32;
  fp4.scaleType = ScaleKind::F32;
  std::vector<Scheme> schemes = {table, fp4};
  for (unsigned bits : {2, 3, 4, 8})
    for (ZeroKind zero :
         {ZeroKind::Symmetric, ZeroKind::Integer, ZeroKind::Minimum})
      schemes.push_back({bits, Granularity::Group, bits == 4 ? 128 : 64, zero});
  // One block of tokens of each kernel and shape of it.
  for (const char *chip : {"sm_80", "sm_89", "sm_90a", "sm_100a", "sm_120"})
    for (int64_t m : {1, 9, 24, 50, 70})
      for (const Scheme &scheme : schemes) {
        LinearProblem problem = problemOf(m, 40, 136);
        problem.chip = *parseChip(chip);
        problem.scheme = scheme;
        problem.x = problem.y = problem.compute =
            m % 2 ? FloatKind::BF16 : FloatKind::F16;
        check(problem);
      }
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
