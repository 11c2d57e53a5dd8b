//===- RefineCodes.cpp - Coordinate descent over codes --------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// With R = (Q - W) (H + damp), the best value of column i for all others given
// is Q_i - R_i / H_ii. Its change moves R of the columns still to come: inside
// a block of columns at once, beyond it by one matrix product.
//
//===----------------------------------------------------------------------===//

#include "Blas.h"
#include "RowBlock.h"
#include "quantopt/Quantize/Refine.h"

#include <algorithm>

#pragma STDC FP_CONTRACT OFF

using namespace quantopt;

static constexpr int64_t kColumnBlock = 64;

namespace {

/// One block of columns, each `rows` long.
struct SweepBlock {
  float *gradients;     ///< R, updated within the block
  float *values;        ///< Q, in and out: the change of Q
  uint8_t *codes;       ///< out
  const float *hessian; ///< H_ii of its first column
  int64_t stride;       ///< of H
  int64_t count, rows;
  const GroupRows *groups; ///< the group of each column
  CodeRange range;
};

} // namespace

template <CodeKind kind>
QUANTOPT_INLINE void sweepBlockLoop(const SweepBlock &block) {
  for (int64_t i = 0; i < block.count; ++i) {
    const float *hessian = block.hessian + i * block.stride;
    float inverse = 1.0f / hessian[i];
    int64_t begin = i * block.rows;
    for (int64_t row = 0; row < block.rows; row += kLanes) {
      FloatLanes gradient, old, value;
      load(gradient, block.gradients + begin + row);
      load(old, block.values + begin + row);
      FloatLanes step = gradient * inverse;
      quantizeLanes<kind>(old - step, block.groups[i], row, block.range, value,
                          block.codes + begin + row);
      store(block.values + begin + row, value - old);
    }
    spreadColumn<1>(block.gradients, block.rows, block.values + begin, hessian,
                    i + 1, block.count);
  }
}

QUANTOPT_CLONES static void sweepBlock(const SweepBlock &block) {
  switch (block.range.kind) {
  case CodeKind::Zero:
    return sweepBlockLoop<CodeKind::Zero>(block);
  case CodeKind::Minimum:
    return sweepBlockLoop<CodeKind::Minimum>(block);
  case CodeKind::Table:
    return sweepBlockLoop<CodeKind::Table>(block);
  }
}

/// `values` holds Q and `gradients` R of the rows in `space`.
static void sweepRows(RowsAsColumns &space, std::vector<float> &values,
                      std::vector<float> &gradients, const Scheme &scheme,
                      std::span<const int64_t> order, const float *hessian) {
  int64_t k = order.size(), padded = space.padded;
  GroupRows groups[kColumnBlock];
  for (int64_t first = 0; first < k; first += kColumnBlock) {
    int64_t count = std::min(kColumnBlock, k - first), end = first + count;
    for (int64_t i = 0; i < count; ++i)
      groups[i] = space.groupOf(scheme, order[first + i], k);
    SweepBlock block = {gradients.data() + first * padded,
                        values.data() + first * padded,
                        space.codes.data() + first * padded,
                        hessian + first * k + first,
                        k,
                        count,
                        padded,
                        groups,
                        CodeRange(scheme)};
    sweepBlock(block);
    multiplyTransposed(k - end, padded, count, 1.0f,
                       {hessian + first * k + end, k},
                       {values.data() + first * padded, padded}, 1.0f,
                       gradients.data() + end * padded, padded);
  }
}

QuantizedMatrix quantopt::sweepCodes(const QuantizedMatrix &matrix,
                                     std::span<const float> w,
                                     const GptqFactor &factor) {
  useSingleThreadedBlas();
  QuantizedMatrix result = matrix;
  int64_t n = matrix.n, k = matrix.k;
  if (n == 0 || k == 0)
    return result;
  std::span<const int64_t> order = factor.order();
  std::vector<float> hessian = factor.dampedHessian(true);
  int64_t blocks = (n + kRowBlock - 1) / kRowBlock;
#pragma omp parallel
  {
    RowsAsColumns space;
    std::vector<float> values, gradients;
#pragma omp for schedule(dynamic, 1)
    for (int64_t block = 0; block < blocks; ++block) {
      space.begin(block, n);
      space.loadGroups(matrix.scheme, matrix.scales, matrix.offsets, k);
      space.gather(space.codes, matrix.codes.data(), order);
      space.gather(space.columns, w.data(), order);
      space.gatherValues(values, matrix, order);
      for (size_t i = 0; i < values.size(); ++i)
        space.columns[i] = values[i] - space.columns[i];
      gradients.resize(values.size());
      multiplyTransposed(k, space.padded, k, 1.0f, {hessian.data(), k},
                         {space.columns.data(), space.padded}, 0.0f,
                         gradients.data(), space.padded);
      sweepRows(space, values, gradients, matrix.scheme, order, hessian.data());
      space.scatterCodes(result.codes.data(), order);
    }
  }
  return result;
}
