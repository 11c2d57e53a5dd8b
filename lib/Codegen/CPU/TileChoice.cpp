//===- TileChoice.cpp - Which tiles a number of rows takes ----------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "MatrixRegisters.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::cpu;
using line::ceilDiv;

/// Rows of the largest tile for `vectors`: sums, operands and one word of x
/// have to be in registers; the totals too, if they are needed often.
static int64_t maxRows(const VectorTarget &target, int64_t vectors,
                       bool keepsTotals) {
  return (target.registers() - 2 * vectors - 2) /
         (vectors * (keepsTotals ? 2 : 1));
}

/// Segments up to this length make it worth to keep totals in registers.
static constexpr int64_t kShortSegment = 64;

/// Up to so many rows, memory or its latency decides more than registers do.
static constexpr int64_t kFewRows = 4;

/// Bytes of x that stay in the second cache beside what goes by.
static constexpr int64_t kBlockInput = 320 << 10;

/// With fewer sums a product waits for the one before.
static constexpr int64_t kSumsInFlight = 4;

/// Rows that are counted when the function runs take tiles as for so many.
static constexpr int64_t kCountedRows = 8;

/// Rows of the largest tile of matrix registers: codes are decoded once for
/// each, and its totals are to stay in the first cache.
static constexpr int64_t kMatrixTileRows = 128;

/// The fewest rows for which matrix registers are faster than vectors; none if
/// they cannot be used.
static std::optional<int64_t> fewestMatrixRows(const LinearProblem &problem) {
  if (problem.target.isa != Isa::Amx ||
      problem.products.compute == Compute::F32)
    return std::nullopt;
  Segments segments(problem, problem.weights[0].scheme);
  if (!segments.hasWholeBlocks())
    return std::nullopt;
  if (problem.products.compute == Compute::BF16)
    return 2; // pairs of bf16 are slow in vectors
  // Sums of short segments are scaled too often.
  return segments.length < kShortSegment ? 9 : 5;
}

/// Sums in flight where few rows have few sums.
static int64_t splitOf(int64_t rows, int64_t vectors) {
  return std::max<int64_t>(kSumsInFlight / (rows * vectors), 1);
}

static int64_t tilesPerBlock(const LinearProblem &problem, int64_t tileRows) {
  return std::max<int64_t>(kBlockInput / (tileRows * inputRowBytes(problem)),
                           1);
}

/// Tiles of matrix registers, and of vectors for the few rows that are left.
static TileChoice chooseMatrixTiles(const LinearProblem &problem, int64_t rows,
                                    int64_t fewestRows) {
  TileChoice choice;
  choice.vectors = MatrixRegisters::kOperands;
  choice.prefetches = true;
  choice.tilesPerBlock = tilesPerBlock(problem, kMatrixTileRows);
  auto add = [&](int64_t rows, int64_t count) {
    bool isMatrix = rows >= fewestRows;
    choice.tiles.push_back(
        {rows, count, isMatrix ? 1 : splitOf(rows, choice.vectors), isMatrix});
  };
  if (ShapedType::isDynamic(rows)) {
    for (int64_t size = kMatrixTileRows; size > 0; size /= 2)
      add(size, ShapedType::kDynamic);
    return choice;
  }
  // A tile has one size of registers.
  if (int64_t count = rows / kMatrixTileRows)
    add(kMatrixTileRows, count);
  int64_t left = rows % kMatrixTileRows, odd = left % MatrixRegisters::kRows;
  if (left != odd)
    add(left - odd, 1);
  if (odd)
    add(odd, 1);
  return choice;
}

TileChoice cpu::chooseTiles(const LinearProblem &problem, int64_t rows) {
  bool isCounted = ShapedType::isDynamic(rows);
  std::optional<int64_t> matrixRows = fewestMatrixRows(problem);
  if (matrixRows && (isCounted || rows >= *matrixRows))
    return chooseMatrixTiles(problem, rows, *matrixRows);
  rows = isCounted ? kCountedRows : std::max<int64_t>(rows, 1);
  VectorTarget target(problem.target);
  bool isWide = target.registers() == 32;
  bool isBytes = problem.products.compute == Compute::I8;
  bool isShort =
      segmentLength(problem, problem.weights[0].scheme) <= kShortSegment;
  TileChoice choice;
  // All of a line, so that a thread reads one stream of codes.
  choice.vectors = line::kBlockRows / target.lanes();
  if (rows > kFewRows)
    // Words of x come from the first cache and may be read for each vector.
    // Operands of floats cost a lookup each, and serve as many rows as there
    // are registers.
    choice.vectors = isBytes ? std::min<int64_t>(choice.vectors, 2) : 1;
  // Where nothing but codes is waited for, the processor's own prefetcher is
  // better, but not on those that have AMX.
  choice.prefetches = !(isBytes && rows == 1) || problem.target.isa == Isa::Amx;
  bool keepsTotals =
      isWide && (choice.vectors == 1 || (isShort && rows > kFewRows));
  int64_t most = maxRows(target, choice.vectors, keepsTotals);
  choice.tilesPerBlock = tilesPerBlock(problem, most);
  auto add = [&](int64_t rows, int64_t count) {
    choice.tiles.push_back({rows, count, splitOf(rows, choice.vectors)});
  };
  if (isCounted) {
    // The largest, then powers of two.
    for (int64_t size = most; size > 0;
         size = int64_t(llvm::bit_floor(uint64_t(size - 1))))
      add(size, ShapedType::kDynamic);
    return choice;
  }
  int64_t tiles = ceilDiv(rows, most), each = rows / tiles, more = rows % tiles;
  if (more)
    add(each + 1, more);
  add(each, tiles - more);
  return choice;
}

/// How many tiles of a size there are, behind `row`.
static Value countTiles(KernelBuilder &b, const RowTiles &tiles, Value rows,
                        Value row) {
  return ShapedType::isDynamic(tiles.count)
             ? b.div(b.sub(rows, row), tiles.rows)
             : b.constant(tiles.count);
}

RowBlocks::RowBlocks(KernelBuilder &b, const TileChoice &choice, Value rows)
    : numTiles(b.constant(0)) {
  Value row = b.constant(0);
  for (const RowTiles &tiles : choice.tiles) {
    Value count = countTiles(b, tiles, rows, row);
    numTiles = b.add(numTiles, count);
    row = b.add(row, b.mul(count, tiles.rows));
  }
  count = b.div(b.add(numTiles, b.constant(choice.tilesPerBlock - 1)),
                choice.tilesPerBlock);
}

std::pair<Value, Value> RowBlocks::tiles(KernelBuilder &b, Value block) const {
  auto start = [&](Value block) {
    return b.div(b.mul(block, numTiles), count);
  };
  return {start(block), start(b.add(block, b.constant(1)))};
}

void cpu::forTiles(KernelBuilder &b, const TileChoice &choice, Value rows,
                   std::pair<Value, Value> range,
                   function_ref<void(Value, const RowTiles &)> tile) {
  auto [begin, end] = range;
  Value zero = b.constant(0), row = zero;
  for (const RowTiles &tiles : choice.tiles) {
    Value count = countTiles(b, tiles, rows, row);
    auto clamp = [&](Value index) { return b.max(zero, b.min(index, count)); };
    Value first = clamp(begin), last = clamp(end);
    b.loop(b.sub(last, first), 1, {}, [&](Value index, ValueRange) {
      tile(b.add(row, b.mul(b.add(first, index), tiles.rows)), tiles);
      return Values();
    });
    begin = b.sub(begin, count);
    end = b.sub(end, count);
    row = b.add(row, b.mul(count, tiles.rows));
  }
}

Panels::Panels(const LinearProblem &problem, const LinearWeight &weight,
               const TileChoice &choice)
    : vectors(choice.vectors) {
  int64_t lanes = VectorTarget(problem.target).lanes();
  numWhole = weight.n / (lanes * vectors);
  numRest = ceilDiv(weight.n, lanes) - numWhole * vectors;
}

void Panels::visit(KernelBuilder &b, Value index,
                   function_ref<void(Value, bool)> panel) const {
  auto part = [&](int64_t begin, int64_t count, int64_t firstVector,
                  int64_t vectors, bool masked) {
    if (count == 0)
      return;
    Value own = b.sub(index, b.constant(begin));
    // Unsigned: a panel before the part is behind its end.
    b.when(b.below(own, b.constant(count)), [&] {
      panel(b.add(b.mul(own, vectors), b.constant(firstVector)), masked);
    });
  };
  part(0, numWhole, 0, vectors, false);
  part(numWhole, numRest, numWhole * vectors, 1, true);
}
