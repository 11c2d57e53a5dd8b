//===- LinearKernels.cpp - The function of linears that read one x --------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "llvm/ADT/SmallBitVector.h"

#include <numeric>

using namespace mlir;
using namespace quantopt;
using namespace quantopt::cpu;
using line::ceilDiv;

StringRef cpu::computeName(Compute compute) {
  switch (compute) {
  case Compute::F32:
    return "f32";
  case Compute::BF16:
    return "bf16";
  case Compute::I8:
    return "i8";
  }
  llvm_unreachable("all handled");
}

std::optional<Compute> cpu::parseCompute(StringRef name) {
  for (Compute compute : {Compute::F32, Compute::BF16, Compute::I8})
    if (computeName(compute) == name)
      return compute;
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// How the sum is cut, and x in the workspace
//===----------------------------------------------------------------------===//

int64_t cpu::segmentLength(const LinearProblem &problem, const Scheme &scheme) {
  int64_t k = problem.k, group = scheme.groupLength(k);
  int64_t padded = line::columnBlocks(k) * line::kBlockK;
  bool isBytes = problem.products.compute == Compute::I8;
  if (group >= k)
    return isBytes ? std::min(problem.products.inputGroup, padded) : padded;
  if (group % line::kBlockK != 0) {
    int64_t length = std::gcd(group, line::kBlockK);
    return length < line::kDot ? 0 : length;
  }
  if (!isBytes)
    return group;
  for (int64_t length = std::min(problem.products.inputGroup, group);;
       length -= line::kBlockK)
    if (group % length == 0)
      return length;
}

Segments::Segments(const LinearProblem &problem, const Scheme &scheme)
    : k(problem.k), length(segmentLength(problem, scheme)),
      group(scheme.groupLength(k)) {}

InputLayout::InputLayout(const Segments &segments, Compute compute) {
  int64_t bytesPerColumn = compute == Compute::I8     ? 1
                           : compute == Compute::BF16 ? 2
                                                      : 4;
  int64_t array = 4 * segments.count();
  sums = compute == Compute::I8 ? array : 0;
  realSums = compute == Compute::I8 ? 2 * array : 0;
  words = ceilDiv(realSums + array, line::kLineBytes) * line::kLineBytes;
  wordsPerBlock = line::kBlockK * bytesPerColumn / 4;
  int64_t lines = words / line::kLineBytes +
                  ceilDiv(line::columnBlocks(segments.k) * wordsPerBlock * 4,
                          line::kLineBytes);
  // An odd number of lines: rows do not all fall into the same sets of a cache.
  rowBytes = (lines | 1) * line::kLineBytes;
}

int64_t cpu::workspaceRowBytes(const LinearProblem &problem) {
  Segments segments(problem, problem.weights[0].scheme);
  return InputLayout(segments, problem.products.compute).rowBytes;
}

//===----------------------------------------------------------------------===//
// Names and types
//===----------------------------------------------------------------------===//

std::string cpu::verify(const Products &products) {
  if (products.inputGroup < line::kBlockK ||
      products.inputGroup % line::kBlockK != 0 || products.inputGroup > 4096)
    return "activations are quantized in groups of a multiple of 32, up to "
           "4096";
  return "";
}

std::string cpu::verify(const LinearProblem &problem) {
  if (problem.weights.empty() || problem.k < 1 ||
      (problem.m < 0 && !ShapedType::isDynamic(problem.m)))
    return "a matrix is empty";
  if (problem.products.compute == Compute::BF16 && !problem.target.bf16)
    return "the target has no dot products of bf16 - compute in f32";
  if (problem.products.compute == Compute::BF16 &&
      problem.target.isa != Isa::Avx512)
    return "bf16 is multiplied with AVX-512 alone";
  if (std::string message = verify(problem.products); !message.empty())
    return message;
  for (const LinearWeight &weight : problem.weights) {
    const Scheme &scheme = weight.scheme;
    if (std::string message = scheme.verify(); !message.empty())
      return message;
    if (weight.n < 1)
      return "a matrix is empty";
    if (scheme.nesting != Nesting::None ||
        scheme.granularity == Granularity::Flat ||
        scheme.granularity == Granularity::Tensor ||
        scheme.scaleType == ScaleKind::E8M0 ||
        scheme.scaleType == ScaleKind::E4M3)
      return "CPU kernels take scales of f16, bf16 or f32 for each channel or "
             "group, as lowbit-pack leaves them";
    int64_t length = segmentLength(problem, scheme);
    if (length == 0)
      return "groups of " + std::to_string(scheme.groupSize) +
             " do not begin at multiples of 4";
    if (length != segmentLength(problem, problem.weights[0].scheme))
      return "linears that read one x have groups of different lengths";
    if (line::codeBytes(weight.n, problem.k, 8) >= int64_t(1) << 31)
      return "a matrix has 2 GiB or more";
  }
  llvm::SmallBitVector taken(problem.weights.size());
  for (const Epilogue &epilogue : problem.epilogues)
    for (unsigned weight : epilogue.weights) {
      if (weight >= problem.weights.size() || taken[weight])
        return "a linear has two epilogues";
      taken.set(weight);
      if (problem.weights[weight].n != problem.weights[epilogue.weights[0]].n)
        return "linears of an epilogue have different sizes";
    }
  return "";
}

std::string cpu::schemeName(const Scheme &scheme) {
  std::string name = "w" + std::to_string(scheme.bits);
  if (scheme.granularity == Granularity::Group)
    name += "g" + std::to_string(scheme.groupSize);
  switch (scheme.zero) {
  case ZeroKind::Symmetric:
    name += "s";
    break;
  case ZeroKind::Integer:
    name += "z";
    break;
  case ZeroKind::Minimum:
    name += "m";
    break;
  }
  name += scheme.scaleType == ScaleKind::F16    ? "h"
          : scheme.scaleType == ScaleKind::BF16 ? "b"
                                                : "f";
  if (scheme.table != CodeTable::Linear)
    name += "t" + std::to_string(static_cast<int>(scheme.table));
  return name;
}

static std::string problemName(const LinearProblem &problem) {
  std::string name = ("lowbit_linear_" + isaName(problem.target.isa) + "_" +
                      computeName(problem.products.compute))
                         .str();
  if (problem.products.compute == Compute::I8)
    name +=
        "g" + std::to_string(segmentLength(problem, problem.weights[0].scheme));
  auto kind = [](FloatKind kind) {
    return std::to_string(bitWidth(kind)) +
           (kind == FloatKind::BF16 ? "b" : "");
  };
  name += "_x" + kind(problem.x) + "y" + kind(problem.y) + "_";
  name += ShapedType::isDynamic(problem.m) ? "m" : std::to_string(problem.m);
  for (const LinearWeight &weight : problem.weights)
    name += "_" + std::to_string(weight.n) + schemeName(weight.scheme);
  name += "_" + std::to_string(problem.k);
  for (const Epilogue &epilogue : problem.epilogues) {
    name += "_" + epilogueName(epilogue);
    for (unsigned weight : epilogue.weights)
      name += "_" + std::to_string(weight);
  }
  return name;
}

static Type scaleType(MLIRContext *context, ScaleKind kind) {
  switch (kind) {
  case ScaleKind::F16:
    return Float16Type::get(context);
  case ScaleKind::BF16:
    return BFloat16Type::get(context);
  default:
    return Float32Type::get(context);
  }
}

namespace {
/// Weights whose tiles are computed one after the other, at the same place.
struct Unit {
  SmallVector<unsigned, 2> weights;
  const Epilogue *epilogue = nullptr;
};
} // namespace

/// In the order of their first weights.
static SmallVector<Unit> collectUnits(const LinearProblem &problem) {
  SmallVector<Unit> units;
  llvm::SmallBitVector taken(problem.weights.size());
  for (unsigned weight = 0; weight < problem.weights.size(); ++weight) {
    if (taken[weight])
      continue;
    Unit unit{{weight}};
    for (const Epilogue &epilogue : problem.epilogues)
      if (llvm::is_contained(epilogue.weights, weight))
        unit = {epilogue.weights, &epilogue};
    for (unsigned member : unit.weights)
      taken.set(member);
    units.push_back(unit);
  }
  return units;
}

static bool hasEpilogue(const LinearProblem &problem, unsigned weight) {
  return llvm::any_of(problem.epilogues, [&](const Epilogue &epilogue) {
    return llvm::is_contained(epilogue.weights, weight);
  });
}

FunctionType cpu::linearType(MLIRContext *context,
                             const LinearProblem &problem) {
  KernelBuilder b(UnknownLoc::get(context), context);
  SmallVector<Type> types;
  auto flat = [&](int64_t size, Type type) {
    types.push_back(MemRefType::get({size}, type));
  };
  types.push_back(
      MemRefType::get({problem.m, problem.k}, b.floatType(problem.x)));
  flat(ShapedType::isDynamic(problem.m)
           ? ShapedType::kDynamic
           : problem.m * workspaceRowBytes(problem),
       b.getI8Type());
  auto matrix = [&](bool hasRows, bool hasColumns, int64_t n, FloatKind kind) {
    SmallVector<int64_t, 2> shape;
    if (hasRows)
      shape.push_back(problem.m);
    if (hasColumns)
      shape.push_back(n);
    types.push_back(MemRefType::get(shape, b.floatType(kind)));
  };
  for (auto [index, weight] : llvm::enumerate(problem.weights)) {
    const Scheme &scheme = weight.scheme;
    int64_t numScales = line::numScales(weight.n, scheme.numGroups(problem.k));
    Type scale = scaleType(context, scheme.scaleType);
    flat(line::codeBytes(weight.n, problem.k, scheme.bits), b.getI8Type());
    flat(numScales, scale);
    if (scheme.zero != ZeroKind::Symmetric)
      flat(numScales, scheme.zero == ZeroKind::Integer ? b.getI8Type() : scale);
    if (!hasEpilogue(problem, index))
      matrix(true, true, weight.n, problem.y);
  }
  for (const Epilogue &epilogue : problem.epilogues) {
    int64_t n = problem.weights[epilogue.weights[0]].n;
    for (const Epilogue::Operand &operand : epilogue.operands)
      matrix(operand.hasRows, operand.hasColumns, n, operand.type);
    matrix(true, true, n, epilogue.y);
  }
  return FunctionType::get(context, types, {});
}

/// LLVM may use the widest registers in these functions.
static void allowWideVectors(func::FuncOp function) {
  OpBuilder b(function.getContext());
  auto pair = [&](StringRef key, StringRef value) {
    return b.getStrArrayAttr({key, value});
  };
  function->setAttr("passthrough",
                    b.getArrayAttr({pair("min-legal-vector-width", "512"),
                                    pair("prefer-vector-width", "512"),
                                    b.getStringAttr("noinline")}));
}

func::FuncOp cpu::startFunction(ModuleOp module, StringRef name,
                                unsigned numPointers, bool hasCount) {
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  SmallVector<Type> types(numPointers,
                          LLVM::LLVMPointerType::get(module.getContext()));
  if (hasCount)
    types.push_back(builder.getI64Type());
  auto function = func::FuncOp::create(builder, module.getLoc(), name,
                                       builder.getFunctionType(types, {}));
  function.setPrivate();
  function->setAttr(
      "llvm.linkage",
      LLVM::LinkageAttr::get(module.getContext(), LLVM::Linkage::Internal));
  function.addEntryBlock();
  allowWideVectors(function);
  return function;
}

//===----------------------------------------------------------------------===//
// The choice
//===----------------------------------------------------------------------===//

namespace {
/// Tiles that cover m rows: `count` of each shape, one after the other.
struct RowTiles {
  int64_t rows, count;
};
/// What a number of rows is computed with.
struct Choice {
  int64_t vectors, split;
  bool prefetches;
  SmallVector<RowTiles, 2> tiles;
};
} // namespace

/// Rows of the largest tile for `vectors`: sums, operands and one word of x
/// have to be in registers; the totals too, if they are needed often.
static int64_t maxRows(const VectorTarget &target, int64_t vectors,
                       bool keepsTotals) {
  return (target.registers() - 2 * vectors - 2) /
         (vectors * (keepsTotals ? 2 : 1));
}

/// Segments that are this short make it worth to keep totals in registers.
static constexpr int64_t kShortSegment = 64;

static Choice choose(const LinearProblem &problem, int64_t rows) {
  VectorTarget target(problem.target);
  bool isWide = target.registers() == 32;
  bool isBytes = problem.products.compute == Compute::I8;
  int64_t segment = segmentLength(problem, problem.weights[0].scheme);
  Choice choice{2, 1, 4 < rows && rows <= 64, {}};
  bool keepsTotals = segment <= kShortSegment;
  if (rows == 1) {
    // Memory decides: one stream of codes for each thread.
    choice.vectors = 1;
    choice.split = 4;
  } else if (rows <= 4) {
    choice.vectors = isWide ? 4 : 2;
  } else if (!isBytes && isWide) {
    // Operands cost a lookup each, and serve as many rows as there are
    // registers; words of x come from the first-level cache.
    choice.vectors = 1;
    keepsTotals = true;
  }
  int64_t most = maxRows(target, choice.vectors, keepsTotals);
  int64_t tiles = ceilDiv(rows, most), each = rows / tiles, more = rows % tiles;
  if (more)
    choice.tiles.push_back({each + 1, more});
  choice.tiles.push_back({each, tiles - more});
  return choice;
}

/// Of rows that are counted when called: tiles of 8, then 4, 2 and 1.
static constexpr int64_t kDynamicRows[] = {8, 4, 2, 1};

//===----------------------------------------------------------------------===//
// The function
//===----------------------------------------------------------------------===//

/// Words of x below which one thread arranges them: a fork takes longer.
static constexpr int64_t kSerialInput = 1 << 13;

namespace {
class LinearFunction {
public:
  LinearFunction(ModuleOp module, const LinearProblem &problem,
                 func::FuncOp function)
      : b(function.getLoc(), function.getContext()), module(module),
        problem(problem), function(function) {
    b.setInsertionPointToEnd(&function.getBody().front());
  }

  void emit();

private:
  struct Planes {
    Value codes, scales, offsets;
  };
  /// What a unit reads beside planes, and writes.
  struct Arrays {
    Values operands;
    Value y;
  };
  Value pointer(Value buffer);
  void takeArguments(ArrayRef<Unit> units);
  void arrange();
  /// All rows of x for vectors [first, first + vectors) of a unit.
  void panel(const Unit &unit, const Arrays &arrays, Value first,
             const Choice &choice, bool masked);
  void tile(const Unit &unit, const Arrays &arrays, Value first, Value row,
            const TileShape &shape);

  KernelBuilder b;
  ModuleOp module;
  const LinearProblem &problem;
  func::FuncOp function;
  Value x, workspace, rows;
  SmallVector<Planes> planes; // of each weight
  SmallVector<Arrays> arrays; // of each unit
};
} // namespace

Value LinearFunction::pointer(Value buffer) {
  Value index = memref::ExtractAlignedPointerAsIndexOp::create(b, buffer);
  Value number = arith::IndexCastOp::create(b, b.getI64Type(), index);
  return LLVM::IntToPtrOp::create(b, b.pointerType(), number);
}

void LinearFunction::arrange() {
  func::FuncOp callee = emitArrange(module, problem);
  int64_t xBytes = problem.k * bitWidth(problem.x) / 8;
  int64_t rowBytes = workspaceRowBytes(problem);
  auto row = [&](Value index) {
    func::CallOp::create(
        b, callee,
        ValueRange{b.advance(x, b.mul(index, xBytes)),
                   b.advance(workspace, b.mul(index, rowBytes))});
  };
  if (!ShapedType::isDynamic(problem.m) &&
      problem.m * problem.k <= kSerialInput)
    b.loop(rows, 1, {}, [&](Value index, ValueRange) {
      row(index);
      return Values();
    });
  else
    b.parallel(rows, row);
}

void LinearFunction::tile(const Unit &unit, const Arrays &arrays, Value first,
                          Value row, const TileShape &shape) {
  int64_t lanes = VectorTarget(problem.target).lanes();
  int64_t perTile = line::kBlockRows / lanes;
  Value tile = b.div(first, perTile);
  Value part = arith::SubIOp::create(b, first, b.mul(tile, perTile));
  auto at = [&](Value plane, int64_t tileBytes, int64_t laneBytes) {
    Value start = b.advance(plane, b.mul(tile, tileBytes));
    return perTile == 1 ? start
                        : b.advance(start, b.mul(part, lanes * laneBytes));
  };
  Values arguments = {
      b.advance(workspace, b.mul(row, workspaceRowBytes(problem)))};
  for (unsigned index : unit.weights) {
    const Scheme &scheme = problem.weights[index].scheme;
    const Planes &plane = planes[index];
    int64_t scales = scheme.numGroups(problem.k) * line::kBlockRows;
    int64_t scaleBytes = bitWidth(scheme.scaleType) / 8;
    arguments.push_back(at(
        plane.codes, line::rowTileBytes(problem.k, scheme.bits), line::kDot));
    arguments.push_back(at(plane.scales, scales * scaleBytes, scaleBytes));
    if (plane.offsets) {
      int64_t bytes = scheme.zero == ZeroKind::Integer ? 1 : scaleBytes;
      arguments.push_back(at(plane.offsets, scales * bytes, bytes));
    }
  }
  int64_t n = problem.weights[unit.weights[0]].n;
  Value column = b.mul(first, lanes);
  auto inArray = [&](Value array, bool hasRows, bool hasColumns,
                     FloatKind kind) {
    int64_t bytes = bitWidth(kind) / 8;
    if (hasRows)
      array = b.advance(array, b.mul(row, (hasColumns ? n : 1) * bytes));
    if (hasColumns)
      array = b.advance(array, b.mul(column, bytes));
    arguments.push_back(array);
  };
  if (unit.epilogue)
    for (auto [operand, array] :
         llvm::zip_equal(unit.epilogue->operands, arrays.operands))
      inArray(array, operand.hasRows, operand.hasColumns, operand.type);
  inArray(arrays.y, true, true, unit.epilogue ? unit.epilogue->y : problem.y);
  if (shape.masked)
    arguments.push_back(arith::SubIOp::create(b, b.constant(n), column));
  func::FuncOp callee =
      unit.epilogue
          ? emitFinishedTile(module, problem, *unit.epilogue, shape)
          : emitTile(module, problem, problem.weights[unit.weights[0]], shape);
  func::CallOp::create(b, callee, arguments);
}

void LinearFunction::panel(const Unit &unit, const Arrays &arrays, Value first,
                           const Choice &choice, bool masked) {
  int64_t vectors = masked ? 1 : choice.vectors;
  auto tilesOf = [&](Value begin, Value count, int64_t size, int64_t split) {
    TileShape shape{size, vectors, split, choice.prefetches, masked};
    b.loop(count, 1, {}, [&](Value index, ValueRange) {
      tile(unit, arrays, first, b.add(begin, b.mul(index, size)), shape);
      return Values();
    });
    return b.add(begin, b.mul(count, size));
  };
  Value begin = b.constant(0);
  if (!ShapedType::isDynamic(problem.m)) {
    for (const RowTiles &tiles : choice.tiles)
      begin = tilesOf(begin, b.constant(tiles.count), tiles.rows, choice.split);
    return;
  }
  Value left = rows;
  for (int64_t size : kDynamicRows) {
    Value count = b.div(left, size);
    begin = tilesOf(begin, count, size, 1);
    left = arith::SubIOp::create(b, rows, begin);
  }
}

void LinearFunction::takeArguments(ArrayRef<Unit> units) {
  auto next = function.args_begin();
  x = pointer(*next++);
  workspace = pointer(*next++);
  if (ShapedType::isDynamic(problem.m)) {
    Value size = memref::DimOp::create(b, function.getArgument(0), 0);
    rows = arith::IndexCastOp::create(b, b.getI64Type(), size);
  } else {
    rows = b.constant(problem.m);
  }
  arrays.resize(units.size());
  for (auto [index, weight] : llvm::enumerate(problem.weights)) {
    Planes &plane = planes.emplace_back();
    plane.codes = pointer(*next++);
    plane.scales = pointer(*next++);
    if (weight.scheme.zero != ZeroKind::Symmetric)
      plane.offsets = pointer(*next++);
    if (!hasEpilogue(problem, index)) {
      const Unit *unit = llvm::find_if(
          units, [&](const Unit &u) { return u.weights[0] == index; });
      arrays[unit - units.begin()].y = pointer(*next++);
    }
  }
  for (const Epilogue &epilogue : problem.epilogues) {
    const Unit *unit = llvm::find_if(
        units, [&](const Unit &u) { return u.epilogue == &epilogue; });
    Arrays &array = arrays[unit - units.begin()];
    for (size_t i = 0; i < epilogue.operands.size(); ++i)
      array.operands.push_back(pointer(*next++));
    array.y = pointer(*next++);
  }
}

void LinearFunction::emit() {
  SmallVector<Unit> units = collectUnits(problem);
  takeArguments(units);
  arrange();
  Choice choice = choose(problem, ShapedType::isDynamic(problem.m)
                                      ? kDynamicRows[0]
                                      : std::max<int64_t>(problem.m, 1));
  int64_t lanes = VectorTarget(problem.target).lanes();
  auto numWhole = [&](const Unit &unit) {
    return problem.weights[unit.weights[0]].n / (lanes * choice.vectors);
  };
  auto numRest = [&](const Unit &unit) {
    int64_t n = problem.weights[unit.weights[0]].n;
    return ceilDiv(n - numWhole(unit) * lanes * choice.vectors, lanes);
  };
  // Panels of all units, one after the other: those of whole tiles, then
  // vectors that are left.
  int64_t panels = 0;
  for (const Unit &unit : units)
    panels += numWhole(unit) + numRest(unit);
  b.parallel(b.constant(panels), [&](Value panelIndex) {
    int64_t begin = 0;
    for (auto [unit, array] : llvm::zip_equal(units, arrays)) {
      auto part = [&](int64_t count, int64_t vectors, int64_t firstVector,
                      bool masked) {
        if (count == 0)
          return;
        Value index = arith::SubIOp::create(b, panelIndex, b.constant(begin));
        // Unsigned: a panel before the part is behind its end.
        Value inside = arith::CmpIOp::create(b, arith::CmpIPredicate::ult,
                                             index, b.constant(count));
        b.when(inside, [&] {
          Value first = b.add(b.mul(index, vectors), b.constant(firstVector));
          panel(unit, array, first, choice, masked);
        });
        begin += count;
      };
      part(numWhole(unit), choice.vectors, 0, false);
      part(numRest(unit), 1, numWhole(unit) * choice.vectors, true);
    }
  });
  func::ReturnOp::create(b);
}

func::FuncOp cpu::declareLinear(ModuleOp module, const LinearProblem &problem) {
  std::string name = problemName(problem);
  if (auto found = module.lookupSymbol<func::FuncOp>(name))
    return found;
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  auto function = func::FuncOp::create(
      builder, module.getLoc(), name, linearType(module.getContext(), problem));
  function.setPrivate();
  return function;
}

func::FuncOp cpu::emitLinear(ModuleOp module, const LinearProblem &problem) {
  func::FuncOp function = declareLinear(module, problem);
  if (!function.isExternal())
    return function;
  function.addEntryBlock();
  allowWideVectors(function);
  LinearFunction(module, problem, function).emit();
  return function;
}
