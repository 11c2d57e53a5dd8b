//===- LinearKernels.cpp - Which kernels a linear layer takes -------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

#include "quantopt/Dialect/LowBit/IR/LowBit.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::kernels;
using namespace quantopt::fragment;

std::string Chip::name() const {
  return "sm_" + std::to_string(sm) + (archSpecific ? "a" : "");
}

std::optional<Chip> kernels::parseChip(StringRef name) {
  Chip chip;
  if (!name.consume_front("sm_"))
    return std::nullopt;
  chip.archSpecific = name.consume_back("a");
  if (name.getAsInteger(10, chip.sm) || chip.sm < 80)
    return std::nullopt;
  return chip;
}

std::string kernels::verify(const LinearProblem &problem) {
  const Scheme &scheme = problem.scheme;
  if (std::string message = scheme.verify(); !message.empty())
    return message;
  if (scheme.nesting != Nesting::None ||
      scheme.granularity == Granularity::Flat ||
      scheme.granularity == Granularity::Tensor ||
      scheme.scaleType == ScaleKind::E8M0 ||
      scheme.scaleType == ScaleKind::E4M3)
    return "GPU kernels take scales of f16, bf16 or f32 for each channel or "
           "group, as lowbit-pack leaves them";
  if (problem.compute == FloatKind::F32)
    return "tensor cores multiply f16 or bf16";
  if (problem.m < 1 || problem.n < 1 || problem.k < 1)
    return "a matrix is empty";
  // Bytes of a matrix are counted in 32 bits; y and x row by row.
  if (codeBytes(problem.n, problem.k, 16) >= int64_t(1) << 32 ||
      numScales(problem.n, scheme.numGroups(problem.k)) >= int64_t(1) << 30 ||
      std::max(problem.m, problem.k) >= int64_t(1) << 26)
    return "a matrix has 4 GiB or more";
  return "";
}

//===----------------------------------------------------------------------===//
// The choice. Numbers of blocks are meant for about 132 processors with two
// blocks each; they decide the order of sums and so do not depend on the chip.
//===----------------------------------------------------------------------===//

static constexpr int64_t kBlocks = 264;

namespace {
enum class Kind { Skinny, Tiled, Warpgroup };
struct Choice {
  Kind kind;
  SkinnyShape skinny = {};
  TileShape tile = {};
  /// Of x for the kernel that multiplies.
  std::optional<Arrangement> arrangement = std::nullopt;
};
} // namespace

/// Warps that split k: as many as have something to do, more where few blocks
/// of rows leave processors without work. 16 warps leave 128 registers a
/// thread, too few for the sums and words of several row tiles.
static int64_t skinnyWarps(const LinearProblem &problem, int64_t rowTiles) {
  int64_t columns = columnBlocks(problem.k);
  int64_t blocks = ceilDiv(fragment::rowTiles(problem.n), rowTiles);
  int64_t most = blocks >= kBlocks ? 8 : rowTiles == 1 ? 16 : 12;
  int64_t warps = 1;
  while (warps < most && 2 * warps <= columns)
    warps *= 2;
  return std::min(warps, most);
}

static SkinnyShape skinnyShape(const LinearProblem &problem, int64_t tokens) {
  SkinnyShape shape;
  shape.tokenTiles = ceilDiv(tokens, kTokens);
  if (WeightDecoder::isDifficult(problem)) {
    // The scales of one block fill the registers.
    shape.rowTiles = shape.blocks = 1;
    shape.warps = std::min<int64_t>(skinnyWarps(problem, 1), 8);
    return shape;
  }
  // More rows of W for each load of x, as x grows and while registers last.
  bool isWide = problem.scheme.bits > 4;
  shape.rowTiles = tokens <= 4 ? 1 : tokens <= 8 || isWide ? 2 : 4;
  shape.warps = skinnyWarps(problem, shape.rowTiles);
  shape.blocks = std::max<int64_t>(1, 4 / shape.rowTiles);
  return shape;
}

/// Where there are tiles enough for several rounds, none is shared.
static int64_t stripesOf(const LinearProblem &problem, const TileShape &shape) {
  int64_t rowBlocks = ceilDiv(problem.n, shape.rows());
  int64_t tokenBlocks = ceilDiv(problem.m, shape.tokens);
  if (rowBlocks * tokenBlocks >= 4 * kBlocks)
    return rowBlocks;
  return ceilDiv(kBlocks, tokenBlocks);
}

/// Each expert gets some of the rows; no more is known about how many.
static Choice chooseForExperts(const LinearProblem &problem) {
  int64_t rowsPerExpert = ceilDiv(problem.m, problem.experts);
  if (rowsPerExpert <= 16)
    return {Kind::Skinny, skinnyShape(problem, rowsPerExpert <= 4 ? 4 : 16)};
  Choice choice;
  choice.kind = Kind::Tiled;
  choice.tile = {
      .tokens = 64, .rowTiles = 2, .warps = 4, .stages = 4, .stripes = 0};
  if (WeightDecoder::isDifficult(problem))
    choice.tile.rowTiles = 1;
  choice.tile.stripes = ceilDiv(problem.n, choice.tile.rows());
  if (!readsInputDirectly(problem))
    choice.arrangement = Arrangement::Rows;
  return choice;
}

static Choice choose(const LinearProblem &problem) {
  if (problem.experts)
    return chooseForExperts(problem);
  if (problem.m <= 16)
    return {Kind::Skinny, skinnyShape(problem, problem.m)};
  Choice choice;
  if (problem.m > 64 && problem.chip.hasWgmma()) {
    choice.kind = Kind::Warpgroup;
    choice.tile = {
        .tokens = 128, .rowTiles = 1, .warps = 8, .stages = 4, .stripes = 0};
    choice.arrangement = Arrangement::Tiles;
  } else {
    choice.kind = Kind::Tiled;
    choice.tile = {.tokens = problem.m <= 32 ? 32 : 64,
                   .rowTiles = 2,
                   .warps = problem.m <= 64 ? 4 : 8,
                   .stages = 4,
                   .stripes = 0,
                   // Up to 64 tokens memory sets the pace.
                   .ahead = problem.m <= 32   ? 4
                            : problem.m <= 64 ? 3
                                              : 1};
    if (!readsInputDirectly(problem))
      choice.arrangement = Arrangement::Rows;
  }
  // Every block of tokens decodes all weights. Where that takes a scale for
  // each of them it is more work than the products, and more registers than
  // there are; elsewhere it hides behind them.
  choice.tile.dense = WeightDecoder::isDifficult(problem);
  if (choice.tile.dense) {
    // 16 bits a weight: fewer of them at a time.
    choice.tile.rowTiles = 1;
    choice.tile.ahead = 1;
    choice.tile.stages = 3;
  }
  choice.tile.stripes = stripesOf(problem, choice.tile);
  return choice;
}

/// Rows of x in a group of one expert's.
static int64_t groupTokens(const Choice &choice) {
  return choice.kind == Kind::Skinny ? choice.skinny.tokenTiles * kTokens
                                     : choice.tile.tokens;
}

/// Tokens that x is padded to.
static int64_t arrangedTokens(const Choice &choice) {
  return choice.arrangement == Arrangement::Tiles ? choice.tile.tokens : 1;
}

MemRefType kernels::operandType(MLIRContext *context,
                                const LinearProblem &problem, Operand operand) {
  Builder b(context);
  const Scheme &scheme = problem.scheme;
  int64_t groups = scheme.numGroups(problem.k);
  Type scaleType = lowbit::getScaleType(context, scheme.scaleType);
  int64_t matrices = std::max<int64_t>(problem.experts, 1);
  switch (operand) {
  case Operand::Codes:
    return MemRefType::get(
        {matrices * codeBytes(problem.n, problem.k, scheme.bits)},
        b.getI8Type());
  case Operand::Scales:
    return MemRefType::get({matrices * numScales(problem.n, groups)},
                           scaleType);
  case Operand::Offsets:
    if (scheme.zero == ZeroKind::Minimum)
      return MemRefType::get({matrices * numScales(problem.n, groups)},
                             scaleType);
    return MemRefType::get(
        {matrices * rowTiles(problem.n) * groups * zeroBytes(scheme.bits)},
        b.getI8Type());
  case Operand::X:
    return MemRefType::get({problem.m, problem.k},
                           getFloatType(context, problem.x));
  case Operand::Y:
    return MemRefType::get({problem.m, problem.n},
                           getFloatType(context, problem.y));
  case Operand::Arranged:
    return MemRefType::get(
        {arrangedBytes(problem, arrangedTokens(choose(problem)))},
        b.getI8Type());
  case Operand::Dense:
    return MemRefType::get(
        {rowTiles(problem.n) * columnBlocks(problem.k) * kDenseBlockBytes},
        b.getI8Type());
  case Operand::Partials:
    return MemRefType::get({sharedSums(problem, choose(problem).tile)},
                           b.getF32Type());
  case Operand::Arrivals:
    return MemRefType::get({sharedBlocks(problem, choose(problem).tile)},
                           b.getI32Type());
  case Operand::Routing:
    return MemRefType::get({problem.m}, b.getI64Type());
  case Operand::Experts:
    return MemRefType::get({problem.experts}, b.getI64Type());
  case Operand::Groups:
    return MemRefType::get(
        {3 * maxGroups(problem, groupTokens(choose(problem))) + problem.m},
        b.getI32Type());
  }
  llvm_unreachable("an operand of a kernel");
}

LinearPlan kernels::emitLinear(mlir::gpu::GPUModuleOp module,
                               const LinearProblem &problem) {
  Choice choice = choose(problem);
  LinearPlan plan;
  if (problem.experts)
    plan.push_back(emitRoute(module, problem, groupTokens(choice)));
  if (choice.arrangement)
    plan.push_back(emitArrange(module, problem, *choice.arrangement,
                               arrangedTokens(choice)));
  if (choice.tile.dense)
    plan.push_back(emitDequantize(module, problem));
  switch (choice.kind) {
  case Kind::Skinny:
    plan.push_back(emitSkinny(module, problem, choice.skinny));
    break;
  case Kind::Tiled:
    plan.push_back(emitTiled(module, problem, choice.tile));
    break;
  case Kind::Warpgroup:
    plan.push_back(emitWarpgroup(module, problem, choice.tile));
    break;
  }
  return plan;
}
