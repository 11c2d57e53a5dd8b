//===- LinearKernels.cpp - The function of linears that read one x --------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

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

int64_t cpu::inputRowBytes(const LinearProblem &problem) {
  Segments segments(problem, problem.weights[0].scheme);
  return InputLayout(segments, problem.products.compute).rowBytes;
}

int64_t cpu::workspaceRowBytes(const LinearProblem &problem) {
  // Experts keep the number of each row beside it.
  return inputRowBytes(problem) + (problem.experts.count ? 8 : 0);
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

Products cpu::bestProducts(const Products &products, const Target &target,
                           int64_t m) {
  Products best = products;
  if (target.isa == Isa::Amx && m == 1 && best.compute == Compute::BF16)
    best.compute = Compute::F32;
  return best;
}

std::string cpu::verify(const LinearProblem &problem) {
  if (problem.weights.empty() || problem.k < 1 ||
      (problem.m < 0 && !ShapedType::isDynamic(problem.m)))
    return "a matrix is empty";
  if (problem.products.compute == Compute::BF16 && !problem.target.bf16)
    return "the target has no dot products of bf16 - compute in f32";
  if (problem.products.compute == Compute::BF16 &&
      !isAvx512(problem.target.isa))
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
  if (problem.experts.count &&
      (problem.weights.size() > 1 || !problem.epilogues.empty()))
    return "experts are multiplied alone";
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
  if (problem.experts.count)
    name += "_e" + std::to_string(problem.experts.first) + "to" +
            std::to_string(problem.experts.first + problem.experts.count);
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
  int64_t copies = std::max<int64_t>(problem.experts.count, 1);
  if (problem.experts.count)
    flat(problem.m, b.getI64Type());
  for (auto [index, weight] : llvm::enumerate(problem.weights)) {
    const Scheme &scheme = weight.scheme;
    int64_t numScales =
        copies * line::numScales(weight.n, scheme.numGroups(problem.k));
    Type scale = scaleType(context, scheme.scaleType);
    flat(copies * line::codeBytes(weight.n, problem.k, scheme.bits),
         b.getI8Type());
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
// The function
//===----------------------------------------------------------------------===//

namespace {
class LinearFunction {
public:
  LinearFunction(ModuleOp module, const LinearProblem &problem,
                 func::FuncOp function)
      : b(function.getLoc(), function.getContext()), module(module),
        problem(problem), function(function),
        choice(chooseTiles(problem, problem.m)) {
    b.setInsertionPointToEnd(&function.getBody().front());
  }

  void emit();

private:
  /// What a unit reads beside planes, and writes.
  struct Arrays {
    Values operands;
    Value y;
  };
  void takeArguments(ArrayRef<Unit> units);
  /// Tiles of rows of x for vectors [first, first + vectors) of a unit.
  void panel(const Unit &unit, const Arrays &arrays,
             std::pair<Value, Value> tiles, Value first, bool masked);
  void tile(const Unit &unit, const Arrays &arrays, Value first, Value row,
            const TileShape &shape);

  KernelBuilder b;
  ModuleOp module;
  const LinearProblem &problem;
  func::FuncOp function;
  const TileChoice choice;
  Value x, workspace, rows;
  SmallVector<WeightPlanes> planes; // of each weight
  SmallVector<Arrays> arrays;       // of each unit
};
} // namespace

void LinearFunction::tile(const Unit &unit, const Arrays &arrays, Value first,
                          Value row, const TileShape &shape) {
  int64_t lanes = VectorTarget(problem.target).lanes();
  Values arguments = {b.advance(workspace, b.mul(row, inputRowBytes(problem)))};
  for (unsigned index : unit.weights)
    planes[index].appendFrom(b, problem, problem.weights[index], first,
                             arguments);
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

void LinearFunction::panel(const Unit &unit, const Arrays &arrays,
                           std::pair<Value, Value> tiles, Value first,
                           bool masked) {
  int64_t vectors = masked ? 1 : choice.vectors;
  forTiles(b, choice, rows, tiles, [&](Value row, const RowTiles &size) {
    TileShape shape{size.rows, vectors, size.split, choice.prefetches, masked};
    shape.matrix = size.matrix;
    tile(unit, arrays, first, row, shape);
  });
}

void LinearFunction::takeArguments(ArrayRef<Unit> units) {
  auto next = function.args_begin();
  rows = b.sizeOf(*next, 0);
  x = b.pointerTo(*next++);
  workspace = b.pointerTo(*next++);
  arrays.resize(units.size());
  for (auto [index, weight] : llvm::enumerate(problem.weights)) {
    planes.push_back(WeightPlanes::take(b, weight, next));
    if (!hasEpilogue(problem, index)) {
      const Unit *unit = llvm::find_if(
          units, [&](const Unit &u) { return u.weights[0] == index; });
      arrays[unit - units.begin()].y = b.pointerTo(*next++);
    }
  }
  for (const Epilogue &epilogue : problem.epilogues) {
    const Unit *unit = llvm::find_if(
        units, [&](const Unit &u) { return u.epilogue == &epilogue; });
    Arrays &array = arrays[unit - units.begin()];
    for (size_t i = 0; i < epilogue.operands.size(); ++i)
      array.operands.push_back(b.pointerTo(*next++));
    array.y = b.pointerTo(*next++);
  }
}

/// Panels that a block of rows goes past before the next block does.
static constexpr int64_t kPanelsTogether = 16;

void LinearFunction::emit() {
  SmallVector<Unit> units = collectUnits(problem);
  takeArguments(units);
  arrangeRows(b, module, problem, x, workspace, rows,
              [](Value row) { return row; });
  SmallVector<Panels> panels; // of all units, one after the other
  int64_t numPanels = 0;
  for (const Unit &unit : units) {
    panels.push_back(Panels(problem, problem.weights[unit.weights[0]], choice));
    numPanels += panels.back().count();
  }
  // A few panels, for each block of rows, and then the next few: both are read
  // from caches but once, and neighbouring shares of threads have as much to
  // do.
  RowBlocks blocks(b, choice, rows);
  Value total = b.mul(blocks.count, numPanels);
  Value perGroup = b.mul(blocks.count, kPanelsTogether);
  b.parallel(total, [&](Value index) {
    Value group = b.div(index, perGroup);
    Value firstPanel = b.mul(group, kPanelsTogether);
    Value size = b.min(b.constant(kPanelsTogether),
                       b.sub(b.constant(numPanels), firstPanel));
    Value inGroup = b.sub(index, b.mul(group, perGroup));
    Value block = b.div(inGroup, size);
    std::pair<Value, Value> tiles = blocks.tiles(b, block);
    Value place = b.add(firstPanel, b.sub(inGroup, b.mul(block, size)));
    for (auto [unit, array, own] : llvm::zip_equal(units, arrays, panels)) {
      own.visit(b, place, [&](Value first, bool masked) {
        panel(unit, array, tiles, first, masked);
      });
      place = b.sub(place, b.constant(own.count()));
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
  if (problem.experts.count)
    emitExperts(module, problem, function);
  else
    LinearFunction(module, problem, function).emit();
  return function;
}
