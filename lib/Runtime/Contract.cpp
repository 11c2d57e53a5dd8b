//===- Contract.cpp - Any contraction of two strided arrays ---------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Runtime/Contract.h"
#include "quantopt/Runtime/Multiply.h"

#include "Blas.h"

#include <algorithm>
#include <omp.h>

using namespace quantopt;

namespace {

using Loop = ContractionLoop;

struct Operand {
  const char *data;
  FloatKind kind;
};

/// Copies one matrix row of an operand, all sum loops of it, to `out`.
/// `stride` picks the operand's stride.
void packSums(Operand from, int64_t offset, std::span<const Loop> sums,
              int64_t Loop::*stride, float *&out) {
  if (sums.empty() || (sums.size() == 1 && sums[0].*stride == 1)) {
    int64_t count = sums.empty() ? 1 : sums[0].size;
    widen(from.kind, from.data + offset * byteWidth(from.kind), count, out);
    out += count;
    return;
  }
  for (int64_t i = 0; i < sums[0].size; ++i)
    packSums(from, offset + i * (sums[0].*stride), sums.subspan(1), stride,
             out);
}

/// One operand as the BLAS takes it: `count` lines of k, or k lines of `count`.
struct BlasOperand {
  const float *data;
  int64_t leading;
  bool linesAreSums; // each line holds the k values of one row or column
};

/// A block of lines [begin, begin + count) of an operand; copied to `scratch`
/// where the BLAS cannot read it in place.
BlasOperand takeOperand(Operand from, int64_t offset, const Loop &line,
                        std::span<const Loop> sums, int64_t k,
                        int64_t Loop::*stride, int64_t begin, int64_t count,
                        float *scratch) {
  int64_t lineStride = line.*stride;
  offset += begin * lineStride;
  if (from.kind == FloatKind::F32 && sums.size() <= 1) {
    const float *data = reinterpret_cast<const float *>(from.data) + offset;
    int64_t sumStride = sums.empty() ? 1 : sums[0].*stride;
    if (sumStride == 1 && (count == 1 || lineStride >= k))
      return {data, std::max(lineStride, k), true};
    if ((lineStride == 1 || count == 1) && sumStride >= count)
      return {data, sumStride, false};
  }
  float *out = scratch;
  for (int64_t i = 0; i < count; ++i)
    packSums(from, offset + i * lineStride, sums, stride, out);
  return {scratch, k, true};
}

/// Adds or stores a computed [rows, columns] block to strided c.
void storeBlock(const float *block, int64_t rows, int64_t columns,
                FloatKind kind, char *c, int64_t rowStride,
                int64_t columnStride, bool accumulate) {
  int64_t bytes = byteWidth(kind);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      char *to = c + (i * rowStride + j * columnStride) * bytes;
      float value = block[i * columns + j];
      if (accumulate) {
        float old;
        widen(kind, to, 1, &old);
        value += old;
      }
      narrow(kind, &value, 1, to);
    }
}

struct Job {
  const ContractionPlan &plan;
  Operand a, b;
  FloatKind cKind;
  char *c;
  bool accumulate;
  int64_t rowStep, columnStep; // block sizes, from the shape alone

  void runBlock(int64_t batch, int64_t rowBegin, int64_t columnBegin) const;
};

} // namespace

void Job::runBlock(int64_t batch, int64_t rowBegin, int64_t columnBegin) const {
  int64_t offsetA = 0, offsetB = 0, offsetC = 0;
  for (size_t i = plan.batch.size(); i-- > 0;) {
    const Loop &loop = plan.batch[i];
    int64_t index = batch % loop.size;
    batch /= loop.size;
    offsetA += index * loop.a;
    offsetB += index * loop.b;
    offsetC += index * loop.c;
  }
  int64_t rows = std::min(rowStep, plan.row.size - rowBegin);
  int64_t columns = std::min(columnStep, plan.column.size - columnBegin);
  int64_t k = plan.k;
  offsetC += rowBegin * plan.row.c + columnBegin * plan.column.c;

  // Scratch is cheap to take (the pool keeps it), so take what may be needed.
  Scratch scratchA(rows * k), scratchB(columns * k);
  BlasOperand x = takeOperand(a, offsetA, plan.row, plan.sums, k, &Loop::a,
                              rowBegin, rows, scratchA.data());
  BlasOperand w = takeOperand(b, offsetB, plan.column, plan.sums, k, &Loop::b,
                              columnBegin, columns, scratchB.data());
  auto gemm = [&](bool swapped, float *out, int64_t leading, float beta) {
    auto transposed = [](bool value) {
      return value ? CblasTrans : CblasNoTrans;
    };
    if (!swapped)
      cblas_sgemm(CblasRowMajor, transposed(!x.linesAreSums),
                  transposed(w.linesAreSums), rows, columns, k, 1, x.data,
                  x.leading, w.data, w.leading, beta, out, leading);
    else
      cblas_sgemm(CblasRowMajor, transposed(!w.linesAreSums),
                  transposed(x.linesAreSums), columns, rows, k, 1, w.data,
                  w.leading, x.data, x.leading, beta, out, leading);
  };
  if (cKind == FloatKind::F32) {
    float *out = reinterpret_cast<float *>(c) + offsetC;
    int64_t rowStride = plan.row.c, columnStride = plan.column.c;
    float beta = accumulate ? 1 : 0;
    if ((columns == 1 || columnStride == 1) &&
        (rows == 1 || rowStride >= columns))
      return gemm(false, out, std::max(rowStride, columns), beta);
    if ((rows == 1 || rowStride == 1) && (columns == 1 || columnStride >= rows))
      return gemm(true, out, std::max(columnStride, rows), beta);
  }
  Scratch block(rows * columns);
  gemm(false, block.data(), columns, 0);
  storeBlock(block.data(), rows, columns, cKind, c + offsetC * byteWidth(cKind),
             plan.row.c, plan.column.c, accumulate);
}

void quantopt::contract(FloatKind aKind, const void *a, FloatKind bKind,
                        const void *b, FloatKind cKind, void *c,
                        std::span<const ContractionLoop> loops,
                        bool accumulate) {
  bool emptySum = false;
  for (const Loop &loop : loops) {
    if (loop.size == 0 && loop.c != 0)
      return;
    emptySum |= loop.size == 0;
  }
  ContractionPlan plan = planContraction(loops);
  useSingleThreadedBlas();
  Job job{plan,
          {static_cast<const char *>(a), aKind},
          {static_cast<const char *>(b), bKind},
          cKind,
          static_cast<char *>(c),
          accumulate,
          plan.row.size,
          plan.column.size};
  if (emptySum)
    plan.k = 0;
  // Few matrices are cut, so that threads have something to share. The longer
  // side is cut: that repeats least of the packing.
  double perMatrix = double(plan.row.size) * plan.column.size * plan.k;
  if (plan.batches < 8 && perMatrix > (1 << 21)) {
    if (plan.column.size >= plan.row.size)
      job.columnStep = panelRows(plan.column.size);
    else
      job.rowStep = panelRows(plan.row.size);
  }
  int64_t rowBlocks = (plan.row.size + job.rowStep - 1) / job.rowStep;
  int64_t columnBlocks =
      (plan.column.size + job.columnStep - 1) / job.columnStep;
  int64_t blocks = plan.batches * rowBlocks * columnBlocks;
  bool worthThreads = blocks > 1 && perMatrix * plan.batches > (1 << 18);
#pragma omp parallel for schedule(dynamic, 1) if (worthThreads)
  for (int64_t block = 0; block < blocks; ++block) {
    int64_t column = block % columnBlocks;
    int64_t row = block / columnBlocks % rowBlocks;
    job.runBlock(block / columnBlocks / rowBlocks, row * job.rowStep,
                 column * job.columnStep);
  }
}
