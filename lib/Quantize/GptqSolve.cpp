//===- GptqSolve.cpp - The column loop of GPTQ ----------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Columns are taken in lazy blocks: inside a block errors move at once, beyond
// it by one matrix product.
//
//===----------------------------------------------------------------------===//

#include "GptqSolve.h"

#include "Blas.h"
#include "RowBlock.h"

#include <algorithm>

#pragma STDC FP_CONTRACT OFF

using namespace quantopt;

namespace {

/// One lazy block of columns.
struct ColumnBlock {
  float *columns;          ///< its columns, [count, rows]
  float *errors;           ///< out: (w - q) / U_ii, [count, rows]
  uint8_t *codes;          ///< out, [count, rows]
  const float *upper;      ///< U_ii of its first column
  int64_t stride;          ///< of U
  int64_t count, rows;     ///< rows: whole vectors
  const GroupRows *groups; ///< the group of each column
  CodeRange range;
};

} // namespace

template <CodeKind kind>
QUANTOPT_INLINE void quantizeColumn(const ColumnBlock &block, int64_t column) {
  float inversePivot = 1.0f / block.upper[column * block.stride + column];
  int64_t begin = column * block.rows;
  for (int64_t i = 0; i < block.rows; i += kLanes) {
    FloatLanes w, value;
    load(w, block.columns + begin + i);
    quantizeLanes<kind>(w, block.groups[column], i, block.range, value,
                        block.codes + begin + i);
    store(block.errors + begin + i, (w - value) * inversePivot);
  }
}

template <CodeKind kind>
QUANTOPT_INLINE void solveBlockLoop(const ColumnBlock &block) {
  for (int64_t i = 0; i < block.count; ++i) {
    quantizeColumn<kind>(block, i);
    spreadColumn<-1>(block.columns, block.rows, block.errors + i * block.rows,
                     block.upper + i * block.stride, i + 1, block.count);
  }
}

QUANTOPT_CLONES static void solveBlock(const ColumnBlock &block) {
  switch (block.range.kind) {
  case CodeKind::Zero:
    return solveBlockLoop<CodeKind::Zero>(block);
  case CodeKind::Minimum:
    return solveBlockLoop<CodeKind::Minimum>(block);
  case CodeKind::Table:
    return solveBlockLoop<CodeKind::Table>(block);
  }
}

/// All columns of the rows that `space` holds.
static void solveRows(RowsAsColumns &space, std::vector<float> &errors,
                      std::vector<GroupRows> &groups, const Scheme &scheme,
                      const GptqFactor &factor, int64_t blockSize) {
  int64_t k = factor.size(), padded = space.padded;
  space.codes.resize(k * padded);
  errors.resize(blockSize * padded);
  groups.resize(blockSize);
  const float *upper = factor.upper().data();
  for (int64_t first = 0; first < k; first += blockSize) {
    int64_t count = std::min(blockSize, k - first), end = first + count;
    for (int64_t i = 0; i < count; ++i)
      groups[i] = space.groupOf(scheme, factor.order()[first + i], k);
    ColumnBlock block = {space.columns.data() + first * padded,
                         errors.data(),
                         space.codes.data() + first * padded,
                         upper + first * k + first,
                         k,
                         count,
                         padded,
                         groups.data(),
                         CodeRange(scheme)};
    solveBlock(block);
    multiplyTransposed(k - end, padded, count, -1.0f,
                       {upper + first * k + end, k}, {errors.data(), padded},
                       1.0f, space.columns.data() + end * padded, padded);
  }
}

QuantizedMatrix quantopt::solveGptq(std::span<const float> w, int64_t n,
                                    int64_t k, const Scheme &scheme,
                                    const GroupParameters &parameters,
                                    const GptqFactor &factor,
                                    int64_t blockSize) {
  useSingleThreadedBlas();
  QuantizedMatrix result{
      scheme,           n, k, {}, parameters.scales, parameters.offsets,
      parameters.nested};
  result.codes.resize(n * k);
  int64_t blocks = (n + kRowBlock - 1) / kRowBlock;
  blockSize = std::min(blockSize, k);
#pragma omp parallel
  {
    RowsAsColumns space;
    std::vector<float> errors;
    std::vector<GroupRows> groups;
#pragma omp for schedule(dynamic, 1)
    for (int64_t block = 0; block < blocks; ++block) {
      space.begin(block, n);
      space.loadGroups(scheme, parameters.scales, parameters.offsets, k);
      space.gather(space.columns, w.data(), factor.order());
      solveRows(space, errors, groups, scheme, factor, blockSize);
      space.scatterCodes(result.codes.data(), factor.order());
    }
  }
  return result;
}
