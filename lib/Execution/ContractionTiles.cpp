//===- ContractionTiles.cpp - How a contraction is cut --------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The blocking is that of Goto and van de Geijn, Anatomy of High-Performance
// Matrix Multiplication (2008): a tile of c in registers, its rows of a in the
// first cache, packed columns of b in the second.
//
//===----------------------------------------------------------------------===//

#include "ContractionTiles.h"
#include "Lanes.h"

#include "llvm/Support/ErrorHandling.h"

#include <algorithm>

using namespace quantopt;
using namespace quantopt::execution;

/// Steps of k in a pass: rows of a tile then fill half of a small first cache.
static constexpr int64_t maxDepth = 256;
/// Numbers in the buffers of a task, which are on its stack.
static constexpr int64_t maxPacked = 24 << 10, maxSums = 4 << 10;
/// So many tasks keep the threads of a large machine busy.
static constexpr int64_t wantedTasks = 32;
/// With fewer rows, packing b costs more than it gains.
static constexpr int64_t minRowsToPack = 8;
/// Cycles until a sum can be used again.
static constexpr int64_t latency = 4;
/// Rows that are a multiple of so many bytes apart share the same few places
/// of the first cache.
static constexpr int64_t cacheWay = 4096;

static constexpr int64_t lanes = Lanes::count;

static int64_t divideUp(int64_t value, int64_t by) {
  return (value + by - 1) / by;
}

VectorRegisters execution::registersOf(cpu::Isa isa) {
  switch (isa) {
  case cpu::Isa::Generic:
    return {4, false};
  case cpu::Isa::Neon:
    return {8, true};
  case cpu::Isa::Avx2:
  case cpu::Isa::AvxVnni:
    return {8, true};
  case cpu::Isa::Avx512:
  case cpu::Isa::Amx:
    return {32, true};
  }
  llvm_unreachable("all sets of instructions handled");
}

ContractionLoop ContractionTiles::innerSum() const {
  return plan.sums.empty() ? ContractionLoop{1, 0, 0, 0} : plan.sums.back();
}

static void swapOperands(ContractionPlan &plan) {
  auto swap = [](ContractionLoop &loop) { std::swap(loop.a, loop.b); };
  for (ContractionLoop &loop : plan.batch)
    swap(loop);
  for (ContractionLoop &loop : plan.sums)
    swap(loop);
  std::swap(plan.row, plan.column);
  swap(plan.row);
  swap(plan.column);
}

/// Vectors hold what is contiguous in c; failing that, the longer side.
static bool vectorsAlongRows(const ContractionPlan &plan) {
  bool column = plan.column.size > 1 && plan.column.c == 1;
  bool row = plan.row.size > 1 && plan.row.c == 1;
  return column == row ? plan.row.size > plan.column.size : row;
}

/// The tile with the least cycles for a step of k over all of c.
static void chooseOuterTile(ContractionTiles &tiles,
                            const VectorRegisters &registers) {
  int64_t rows = tiles.plan.row.size;
  int64_t vectors = divideUp(tiles.plan.column.size, lanes);
  auto cycles = [](int64_t r, int64_t v) {
    return r && v ? std::max({r * v, r + 2 * v, latency}) : int64_t(0);
  };
  int64_t best = INT64_MAX;
  for (int64_t v = std::min<int64_t>(vectors, 8); v > 0; --v)
    for (int64_t r = std::min(rows, (registers.vectors - 1 - v) / v); r > 0;
         --r) {
      int64_t fullRows = rows / r, fullVectors = vectors / v;
      int64_t restRows = rows % r, restVectors = vectors % v;
      int64_t cost = fullRows * fullVectors * cycles(r, v) +
                     fullRows * cycles(r, restVectors) +
                     fullVectors * cycles(restRows, v) +
                     cycles(restRows, restVectors);
      if (cost < best) {
        best = cost;
        tiles.tileRows = r;
        tiles.tileColumns = v * lanes;
      }
    }
}

static void chooseDotTile(ContractionTiles &tiles,
                          const VectorRegisters &registers) {
  int64_t sums = registers.vectors * 3 / 4;
  tiles.tileRows = std::min<int64_t>({tiles.plan.row.size, 4, sums});
  tiles.tileColumns = std::min<int64_t>(
      {tiles.plan.column.size, 8, std::max<int64_t>(sums / tiles.tileRows, 1)});
}

/// Cuts c into enough tasks: columns first, since every task packs its own. A
/// task has at most `maxColumns` and `maxSize` elements of c.
static void cutTasks(ContractionTiles &tiles, int64_t maxColumns,
                     int64_t maxSize) {
  int64_t rows = tiles.plan.row.size, columns = tiles.plan.column.size;
  auto wholeTiles = [](int64_t size, int64_t most, int64_t tile) {
    int64_t parts = divideUp(size, std::max(most / tile * tile, tile));
    return divideUp(divideUp(size, parts), tile) * tile;
  };
  int64_t others = divideUp(wantedTasks, tiles.plan.batches);
  tiles.taskColumns =
      wholeTiles(columns, std::min(maxColumns, divideUp(columns, others)),
                 tiles.tileColumns);
  others = divideUp(others, divideUp(columns, tiles.taskColumns));
  // Fewer rows would not pay for packing the columns again.
  int64_t fewest = 8 * tiles.tileRows;
  tiles.taskRows =
      wholeTiles(rows,
                 std::min(maxSize / tiles.taskColumns,
                          std::max(fewest, divideUp(rows, others))),
                 tiles.tileRows);
}

ContractionTiles execution::chooseTiles(std::span<const ContractionLoop> loops,
                                        FloatKind a, FloatKind b, FloatKind c,
                                        const VectorRegisters &registers) {
  ContractionTiles tiles{};
  tiles.plan = planContraction(loops);
  tiles.swapped = vectorsAlongRows(tiles.plan);
  if (tiles.swapped) {
    swapOperands(tiles.plan);
    std::swap(a, b);
  }
  const ContractionPlan &plan = tiles.plan;
  ContractionLoop k = tiles.innerSum();
  int64_t rows = plan.row.size, columns = plan.column.size;
  bool alongSums =
      k.a == 1 && k.b == 1 && plan.sums.size() == 1 && k.size >= lanes;
  if (rows < minRowsToPack && alongSums && plan.column.b != 1) {
    tiles.form = ContractionForm::Dot;
    tiles.depth = k.size;
    chooseDotTile(tiles, registers);
    cutTasks(tiles, columns, INT64_MAX);
    return tiles;
  }
  tiles.form = ContractionForm::Outer;
  chooseOuterTile(tiles, registers);
  bool wholeVectors = columns % lanes == 0;
  tiles.inPlace = c == FloatKind::F32 && plan.column.c == 1 && wholeVectors;
  tiles.packB = b != FloatKind::F32 || plan.column.b != 1 || !wholeVectors ||
                rows >= minRowsToPack;
  bool aliases = plan.row.a * byteWidth(a) % cacheWay == 0;
  tiles.packA =
      k.a == 1 && (a != FloatKind::F32 || (aliases && tiles.tileRows > 4));
  tiles.depth = divideUp(k.size, divideUp(k.size, maxDepth));
  int64_t maxColumns = tiles.packB ? maxPacked / tiles.depth : columns;
  if (!tiles.inPlace)
    maxColumns = std::min(maxColumns, maxSums / (4 * tiles.tileRows));
  cutTasks(tiles, maxColumns, tiles.inPlace ? INT64_MAX : maxSums);
  return tiles;
}
