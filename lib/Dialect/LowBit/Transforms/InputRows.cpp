//===- InputRows.cpp - Inputs of a linear in f32 --------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "InputRows.h"

using namespace llvm;

namespace quantopt::lowbit {

std::vector<RowBlock> levelRows(ArrayRef<RowBlock> rows, int64_t k,
                                double levelTokens,
                                std::vector<std::vector<float>> &weights) {
  std::vector<RowBlock> blocks(rows.begin(), rows.end());
  if (levelTokens > 0)
    for (RowBlock &block : blocks)
      block.weights =
          weights.emplace_back(levelingWeights(block, k, levelTokens)).data();
  return blocks;
}

std::vector<float> secondMoments(ArrayRef<MatrixRef> inputs, int64_t k,
                                 double levelTokens) {
  HessianAccumulator accumulator(k);
  forEachBatch(inputs, [&](ArrayRef<RowBlock> rows) {
    std::vector<std::vector<float>> weights;
    accumulator.add(levelRows(rows, k, levelTokens, weights));
  });
  return accumulator.take();
}

} // namespace quantopt::lowbit
