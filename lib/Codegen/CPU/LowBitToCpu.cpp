//===- LowBitToCpu.cpp - Linears become calls of CPU kernels --------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Codegen/CPU/Passes.h"

#include "EpilogueMatch.h"
#include "Kernels.h"

#include "quantopt/Codegen/Common/LinearOperands.h"
#include "quantopt/Dialect/LowBit/IR/Lookup.h"
#include "quantopt/Dialect/LowBit/IR/PlaneMemory.h"
#include "quantopt/Dialect/LowBit/IR/WeightLayout.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/SmallBitVector.h"

#include <map>

namespace quantopt::cpu {
#define GEN_PASS_DEF_LOWBITTOCPU
#include "quantopt/Codegen/CPU/Passes.h.inc"
} // namespace quantopt::cpu

using namespace mlir;
using namespace quantopt;
using namespace quantopt::codegen;
using namespace quantopt::cpu;

/// Linears that read one x, or the experts of a chain.
using Group = SmallVector<lowbit::LinearOp, 3>;

/// The scheme in which the layout of CPUs holds the weight of `linear`.
static std::optional<Scheme> packedScheme(lowbit::LinearOp linear) {
  auto type = cast<lowbit::WeightType>(linear.getWeight().getType());
  lowbit::SchemeInterface scheme = type.getScheme();
  if (type.getPlaneLayout() != Layout::Cpu)
    scheme = scheme.getSchemeIn(type.getN(), type.getK(), Layout::Cpu);
  return scheme ? schemeOf(scheme) : std::nullopt;
}

static LinearProblem describe(ArrayRef<lowbit::LinearOp> group,
                              const Target &target, const Products &products) {
  lowbit::LinearOp first = group.front();
  RankedTensorType x = first.getInput().getType();
  LinearProblem problem;
  problem.k = first.getK();
  problem.m = 1;
  for (int64_t size : x.getShape().drop_back())
    problem.m = ShapedType::isDynamic(size) || ShapedType::isDynamic(problem.m)
                    ? ShapedType::kDynamic
                    : problem.m * size;
  problem.x = *getFloatKind(x.getElementType());
  problem.y = *getFloatKind(first.getResult().getType().getElementType());
  problem.products = bestProducts(products, target, problem.m);
  problem.target = target;
  if (first.isRouted()) {
    problem.experts.first = *first.getExpert();
    problem.experts.count = group.size();
    group = group.take_front();
  }
  for (lowbit::LinearOp linear : group)
    problem.weights.push_back({*packedScheme(linear), linear.getN()});
  return problem;
}

std::string cpu::canLower(lowbit::LinearOp linear, const Target &target,
                          const Products &products) {
  if (!linear.getWeight().getDefiningOp<lowbit::WeightOp>())
    return "its quantized weight is not a lowbit.weight";
  std::optional<Scheme> scheme = packedScheme(linear);
  if (!scheme)
    return "its groups run on across rows";
  return verify(describe(linear, target, products));
}

/// Linears in the order of the graph, with those together that can share a
/// call: experts if their numbers follow each other.
static SmallVector<Group> collectGroups(ArrayRef<lowbit::LinearOp> linears,
                                        const Products &products) {
  SmallVector<Group> groups;
  DenseMap<Operation *, size_t> groupOfExpert;
  auto addExpert = [&](lowbit::LinearOp linear) {
    auto before = linear.getOthers().getDefiningOp<lowbit::LinearOp>();
    auto it = groupOfExpert.find(before);
    bool joins = it != groupOfExpert.end() && continuesChain(before, linear) &&
                 *linear.getExpert() == *before.getExpert() + 1;
    size_t index = joins ? it->second : groups.size();
    if (!joins)
      groups.emplace_back();
    groups[index].push_back(linear);
    groupOfExpert[linear] = index;
  };
  std::map<std::tuple<void *, Block *, const void *, int64_t>, size_t> known;
  for (lowbit::LinearOp linear : linears) {
    if (linear.isRouted()) {
      addExpert(linear);
      continue;
    }
    int64_t segment = segmentLength(describe(linear, Target(), products),
                                    *packedScheme(linear));
    Type element = linear.getResult().getType().getElementType();
    std::tuple<void *, Block *, const void *, int64_t> key(
        linear.getInput().getAsOpaquePointer(), linear->getBlock(),
        element.getAsOpaquePointer(), segment);
    auto [it, isNew] = known.insert({key, groups.size()});
    if (isNew)
      groups.emplace_back();
    groups[it->second].push_back(linear);
  }
  return groups;
}

namespace {
class Lowering {
public:
  Lowering(ModuleOp module, const Target &target, const Products &products)
      : module(module), target(target), products(products),
        memory(module.getContext()
                   ->getLoadedDialect<lowbit::LowBitDialect>()
                   ->getPlaneMemory()) {}

  FailureOr<LinearProblem> lower(Group group) {
    if (group.front().isRouted())
      return lowerExperts(group);
    return lowerLinears(group);
  }

private:
  FailureOr<LinearProblem> lowerLinears(Group group);
  FailureOr<LinearProblem> lowerExperts(Group group);
  Value plane(lowbit::WeightOp weight, unsigned index, MemRefType type,
              OpBuilder &builder);

  ModuleOp module;
  Target target;
  Products products;
  lowbit::PlaneMemory &memory;
  /// Weights that several linears share are constants once.
  DenseMap<std::pair<Operation *, unsigned>, Value> planes;
};
} // namespace

Value Lowering::plane(lowbit::WeightOp weight, unsigned index, MemRefType type,
                      OpBuilder &builder) {
  Value &constant = planes[{weight, index}];
  if (!constant) {
    // The weight may stand behind the first linear of its group.
    auto function = weight->getParentOfType<FunctionOpInterface>();
    OpBuilder before = OpBuilder::atBlockBegin(&function.front());
    auto tensor = RankedTensorType::get(type.getShape(), type.getElementType());
    constant = arith::ConstantOp::create(
        before, weight.getLoc(),
        cast<TypedAttr>(
            reshaped(memory.place(weight.getPlaneAttrs()[index]), tensor)));
  }
  return bufferization::ToBufferOp::create(builder, weight.getLoc(), type,
                                           constant, /*read_only=*/true);
}

/// The same elements, in row-major order, as another type; `sizes` are those of
/// `type`.
static Value reshape(OpBuilder &builder, Value value, RankedTensorType type,
                     ArrayRef<OpFoldResult> sizes) {
  auto from = cast<RankedTensorType>(value.getType());
  if (from == type)
    return value;
  auto all = [](int64_t rank) {
    SmallVector<ReassociationIndices> groups;
    if (rank > 0)
      groups.push_back(llvm::to_vector(llvm::seq<int64_t>(0, rank)));
    return groups;
  };
  if (from.getRank() != 1) {
    auto flat = RankedTensorType::get(
        {from.hasStaticShape() ? from.getNumElements() : ShapedType::kDynamic},
        from.getElementType());
    value = tensor::CollapseShapeOp::create(builder, value.getLoc(), flat,
                                            value, all(from.getRank()));
  }
  if (type.getRank() == 1)
    return value;
  return tensor::ExpandShapeOp::create(builder, value.getLoc(), type, value,
                                       all(type.getRank()), sizes);
}

/// An operand of an epilogue in the shape that the kernel takes.
static Value reshapeOperand(OpBuilder &builder, Value value, MemRefType buffer,
                            Value x) {
  SmallVector<OpFoldResult> sizes;
  for (int64_t size : buffer.getShape())
    sizes.push_back(ShapedType::isDynamic(size)
                        ? tensor::getMixedSize(builder, x.getLoc(), x, 0)
                        : OpFoldResult(builder.getIndexAttr(size)));
  return reshape(
      builder, value,
      RankedTensorType::get(buffer.getShape(), buffer.getElementType()), sizes);
}

static Value asTensor(OpBuilder &builder, Value output) {
  auto buffer = cast<MemRefType>(output.getType());
  return bufferization::ToTensorOp::create(
      builder, output.getLoc(),
      RankedTensorType::get(buffer.getShape(), buffer.getElementType()), output,
      /*restrict=*/true, /*writable=*/true);
}

/// Erases an op and all that reads it.
static void eraseWithUsers(Operation *op) {
  while (!op->use_empty())
    eraseWithUsers(*op->getUsers().begin());
  op->erase();
}

FailureOr<LinearProblem> Lowering::lowerLinears(Group group) {
  SmallVector<lowbit::WeightOp> weights;
  for (lowbit::LinearOp linear : group) {
    auto weight = linear.getWeight().getDefiningOp<lowbit::WeightOp>();
    if (failed(lowbit::convertLayout(weight, Layout::Cpu)) ||
        failed(weight.getPlaneData()))
      return failure();
    weights.push_back(weight);
  }
  LinearProblem problem = describe(group, target, products);
  SmallVector<EpilogueMatch> matches = matchEpilogues(group);
  llvm::SmallBitVector finished(group.size());
  for (const EpilogueMatch &match : matches) {
    problem.epilogues.push_back(match.epilogue);
    for (unsigned weight : match.epilogue.weights)
      finished.set(weight);
  }
  func::FuncOp function = declareLinear(module, problem);

  lowbit::LinearOp first = group.front();
  Location loc = first.getLoc();
  Operation *user = firstUser(group);
  OpBuilder builder(user ? user : first);
  Value input = flatten(builder, first.getInput(), 2);
  FunctionType type = function.getFunctionType();
  auto next = type.getInputs().begin();
  auto takeType = [&] { return cast<MemRefType>(*next++); };
  auto read = [&](MemRefType type, Value value) -> Value {
    return bufferization::ToBufferOp::create(builder, loc, type, value,
                                             /*read_only=*/true);
  };
  SmallVector<Value> arguments;
  Value x = read(takeType(), input);
  arguments.push_back(x);
  SmallVector<Value, 1> rows, workspaceBytes;
  if (ShapedType::isDynamic(problem.m)) {
    rows.push_back(memref::DimOp::create(builder, loc, x, 0));
    Value perRow = arith::ConstantIndexOp::create(builder, loc,
                                                  workspaceRowBytes(problem));
    workspaceBytes.push_back(
        arith::MulIOp::create(builder, loc, rows[0], perRow));
  }
  arguments.push_back(
      memref::AllocOp::create(builder, loc, takeType(), workspaceBytes));
  auto addOutput = [&] {
    arguments.push_back(
        memref::AllocOp::create(builder, loc, takeType(), rows));
    return arguments.back();
  };
  SmallVector<Value> outputs, finals;
  for (auto [index, weight] : llvm::enumerate(weights)) {
    for (unsigned at = 0; at < weight.getPlaneAttrs().size(); ++at)
      arguments.push_back(plane(weight, at, takeType(), builder));
    outputs.push_back(finished[index] ? Value() : addOutput());
  }
  for (const EpilogueMatch &match : matches) {
    for (Value operand : match.operands) {
      MemRefType type = takeType();
      arguments.push_back(
          read(type, reshapeOperand(builder, operand, type, input)));
    }
    finals.push_back(addOutput());
  }
  func::CallOp::create(builder, loc, function, arguments);
  for (auto [linear, output] : llvm::zip_equal(group, outputs))
    if (output)
      linear.getResult().replaceAllUsesWith(
          unflatten(builder, asTensor(builder, output),
                    linear.getResult().getType(), linear.getInput()));
  for (auto [match, output] : llvm::zip_equal(matches, finals)) {
    OpBuilder behind(match.op);
    auto type = cast<RankedTensorType>(match.op->getResult(0).getType());
    Value y =
        reshape(behind, asTensor(builder, output), type,
                tensor::getMixedSizes(behind, loc, match.op.getDpsInits()[0]));
    match.op->getResult(0).replaceAllUsesWith(y);
  }
  for (lowbit::LinearOp linear : group)
    eraseWithUsers(linear);
  return problem;
}

FailureOr<LinearProblem> Lowering::lowerExperts(Group group) {
  auto weights = llvm::map_to_vector(group, [](lowbit::LinearOp linear) {
    return linear.getWeight().getDefiningOp<lowbit::WeightOp>();
  });
  auto planes = lowbit::joinPlanes(weights, Layout::Cpu);
  if (failed(planes))
    return failure();
  LinearProblem problem = describe(group, target, products);
  func::FuncOp function = declareLinear(module, problem);

  lowbit::LinearOp first = group.front(), last = group.back();
  Location loc = last.getLoc();
  OpBuilder builder(last);
  auto next = function.getArgumentTypes().begin();
  SmallVector<Value> arguments;
  auto addInput = [&](Value value) {
    arguments.push_back(bufferization::ToBufferOp::create(
        builder, loc, *next++, value, /*read_only=*/true));
  };
  addInput(flatten(builder, first.getInput(), 2));
  SmallVector<Value, 1> workspaceBytes;
  if (ShapedType::isDynamic(problem.m)) {
    Value rows = memref::DimOp::create(builder, loc, arguments[0], 0);
    Value perRow = arith::ConstantIndexOp::create(builder, loc,
                                                  workspaceRowBytes(problem));
    workspaceBytes.push_back(arith::MulIOp::create(builder, loc, rows, perRow));
  }
  arguments.push_back(memref::AllocOp::create(
      builder, loc, cast<MemRefType>(*next++), workspaceBytes));
  addInput(flatten(builder, first.getRouting(), 1));
  for (ElementsAttr plane : *planes) {
    auto type = cast<MemRefType>(*next);
    auto tensor = RankedTensorType::get(type.getShape(), type.getElementType());
    addInput(arith::ConstantOp::create(
        builder, loc, cast<TypedAttr>(reshaped(plane, tensor))));
  }
  // Rows of no expert stay as they are.
  Value others = flatten(builder, first.getOthers(), 2);
  Value start = bufferization::AllocTensorOp::create(
      builder, loc, cast<RankedTensorType>(others.getType()), ValueRange(),
      others);
  Value y = bufferization::ToBufferOp::create(builder, loc, *next, start);
  arguments.push_back(y);
  func::CallOp::create(builder, loc, function, arguments);
  last.getResult().replaceAllUsesWith(unflatten(builder, asTensor(builder, y),
                                                last.getResult().getType(),
                                                last.getInput()));
  for (lowbit::LinearOp linear : llvm::reverse(group))
    linear.erase();
  return problem;
}

FailureOr<SmallVector<LinearProblem>>
cpu::lowerLinears(ModuleOp module, ArrayRef<lowbit::LinearOp> linears,
                  const Target &target, const Products &products) {
  Lowering lowering(module, target, products);
  SmallVector<LinearProblem> problems;
  for (const Group &group : collectGroups(linears, products)) {
    FailureOr<LinearProblem> problem = lowering.lower(group);
    if (failed(problem))
      return failure();
    problems.push_back(*problem);
  }
  return problems;
}

namespace {
struct LowBitToCpuPass
    : public quantopt::cpu::impl::LowBitToCpuBase<LowBitToCpuPass> {
  using LowBitToCpuBase::LowBitToCpuBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    std::optional<Isa> parsed = parseIsa(isa);
    if (!parsed) {
      module.emitError("lowbit-to-cpu knows no instructions '")
          << isa << "' - give isa=amx, avx512, avxvnni, avx2, neon or generic";
      return signalPassFailure();
    }
    std::optional<Compute> kind = parseCompute(compute);
    if (!kind) {
      module.emitError("lowbit-to-cpu cannot multiply in '")
          << compute << "' - give compute=f32, bf16 or i8";
      return signalPassFailure();
    }
    Products products{*kind, inputGroup};
    Target target{*parsed, bf16 && isAvx512(*parsed)};
    SmallVector<lowbit::LinearOp> linears;
    WalkResult known = module.walk([&](lowbit::LinearOp linear) -> WalkResult {
      if (!linear.isQuantized())
        return WalkResult::advance();
      std::string reason = canLower(linear, target, products);
      if (!reason.empty())
        return linear.emitError("layer '")
               << linear.getName() << "' has no CPU kernel: " << reason;
      linears.push_back(linear);
      return WalkResult::advance();
    });
    if (known.wasInterrupted())
      return signalPassFailure();
    auto problems = lowerLinears(module, linears, target, products);
    if (failed(problems))
      return signalPassFailure();
    for (const LinearProblem &problem : *problems)
      emitLinear(module, problem);
    if (failed(lowbit::lowerLookups(module)))
      return signalPassFailure();
    eraseUnusedWeights(module);
  }
};
} // namespace
