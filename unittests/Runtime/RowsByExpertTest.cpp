//===- RowsByExpertTest.cpp - The rows that each expert multiplies --------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Runtime/RowsByExpert.h"

#include <gtest/gtest.h>
#include <random>

using namespace quantopt;

namespace {

TEST(RowsByExpert, AgainstAScan) {
  std::mt19937 random(1);
  for (int64_t rows : {0, 1, 7, 500}) {
    std::vector<int64_t> expertOf(rows);
    for (int64_t &expert : expertOf)
      expert = int64_t(random() % 9) - 2;
    RowsByExpert byExpert(expertOf);
    for (int64_t expert = -3; expert < 9; ++expert) {
      std::vector<int64_t> expected;
      for (int64_t row = 0; row < rows; ++row)
        if (expertOf[row] == expert)
          expected.push_back(row);
      std::span<const int64_t> found = byExpert.rows(expert);
      EXPECT_EQ(std::vector<int64_t>(found.begin(), found.end()), expected)
          << "expert " << expert << " of " << rows << " rows";
    }
  }
}

TEST(RowsByExpert, GatherThenScatter) {
  const std::vector<int64_t> which = {3, 0, 2};
  const std::vector<float> matrix = {0, 1, 2, 3, 4, 5, 6, 7};
  std::vector<float> some(6);
  gatherRows({matrix.data(), 4, 2}, which, some.data());
  EXPECT_EQ(some, (std::vector<float>{6, 7, 0, 1, 4, 5}));
  std::vector<float> back = {-1, -1, -1, -1, -1, -1, -1, -1};
  scatterRows(some.data(), which, {back.data(), 4, 2, FloatKind::F32});
  EXPECT_EQ(back, (std::vector<float>{0, 1, -1, -1, 4, 5, 6, 7}));

  const std::vector<uint16_t> half = {10, 11, 12, 13, 14, 15};
  std::vector<uint16_t> two(4), halfBack(6, 0);
  const std::vector<int64_t> lastTwo = {2, 1};
  gatherRows({half.data(), 3, 2, FloatKind::BF16}, lastTwo, two.data());
  EXPECT_EQ(two, (std::vector<uint16_t>{14, 15, 12, 13}));
  scatterRows(two.data(), lastTwo, {halfBack.data(), 3, 2, FloatKind::BF16});
  EXPECT_EQ(halfBack, (std::vector<uint16_t>{0, 0, 12, 13, 14, 15}));
}

} // namespace
